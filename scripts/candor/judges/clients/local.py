"""A job's client on this machine: a subject of the study, run by the generation engine."""

from argparse import Namespace
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from pydantic import TypeAdapter

from candor.chat.local import client_of_job
from candor.chat.messages import Client
from candor.config.clients import Local, tracked
from candor.config.models import Model
from candor.errors import CandorError
from candor.generations.loading import PACKAGES, Files, load
from candor.judges.preparing import Judging, Prepared


def prepare(args: Namespace, id: str, entry: Mapping[str, Any], judging: Callable[[Client], Judging]) -> Prepared:
    """A judge that asks a subject, which is loaded now; a budget has no bearing on it."""
    config = Local.model_validate({key: value for key, value in entry.items() if key != "budget_usd"})
    if not args.model:
        raise CandorError(
            f"judge {args.judge!r} asks the client {id!r}, which runs {config.subject!r} here; name its files "
            "with --model, --adapter and --directions."
        )
    files = Files.of(args)
    model: Model = TypeAdapter(Model).validate_python(args.spec["models"])
    loaded = load(files, model, "transformers", config.batch_size, args.threads)

    @contextmanager
    def opened(made: Mapping[str, Any]) -> Iterator[Judging]:
        job = [made, args.judge, args.shard]
        with client_of_job(loaded, tracked(config), args.partial, job) as client:
            yield judging(client)

    return Prepared(opened, inputs=files.read(), packages=PACKAGES, facts=loaded.facts)
