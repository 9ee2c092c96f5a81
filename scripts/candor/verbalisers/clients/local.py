"""A job's client on this machine: a subject of the study, run by the generation engine."""

from argparse import Namespace
from collections.abc import Mapping
from contextlib import AbstractContextManager
from typing import Any

from pydantic import TypeAdapter

from candor.chat.local import client_of_job
from candor.chat.messages import Client
from candor.config.clients import Local, tracked
from candor.config.models import Model
from candor.errors import CandorError
from candor.generations.loading import PACKAGES, Files, load
from candor.verbalisers.preparing import Opened


def prepare(args: Namespace, id: str, entry: Mapping[str, Any]) -> Opened:
    """A subject, which is loaded now; a budget has no bearing on it."""
    config = Local.model_validate({key: value for key, value in entry.items() if key != "budget_usd"})
    if not args.model:
        raise CandorError(
            f"verbaliser {args.verbaliser!r} asks the client {id!r}, which runs {config.subject!r} here; name its "
            "files with --model, --adapter and --directions."
        )
    files = Files.of(args)
    model: Model = TypeAdapter(Model).validate_python(args.spec["models"])
    loaded = load(files, model, "transformers", config.batch_size, args.threads)

    def opened(made: Mapping[str, Any]) -> AbstractContextManager[Client]:
        return client_of_job(loaded, tracked(config), args.partial, [made, args.verbaliser, args.shard])

    return Opened(opened, inputs=files.read(), packages=PACKAGES, facts=loaded.facts)
