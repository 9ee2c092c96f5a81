"""The rows of a chat verbaliser: one of each example, or of each response where responses are shown.

The client of a job is opened by candor.verbalisers.clients.remote or .local, which are imported by name: neither's code
bears on the texts of the other.
"""

import importlib
import math
from argparse import Namespace
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from candor import tables
from candor.config.verbalisers import ChatVerbaliser
from candor.errors import CandorError
from candor.progress import Progress
from candor.schemas.generation import GENERATION
from candor.verbalisers.chat import Said, Shown, verbalise
from candor.verbalisers.preparing import Opened, Prepared, Row
from candor.verbalisers.templates import read_template


def prepare(args: Namespace, config: ChatVerbaliser, examples: Sequence[Mapping[str, Any]]) -> Prepared:
    """The template, the client that the spec and the flag --pace tell of, and what it is asked about."""
    path = Path(args.template or config.template)
    template = read_template(path, config)
    entry = {**args.spec.get("clients", {}), **args.pace}
    if "provider" not in entry:
        raise CandorError(
            f"verbaliser {args.verbaliser!r} asks the client {config.client!r}, of which the spec says nothing; give "
            'its entry as "clients" in --spec.'
        )
    places, texts = _texts(args, config, examples)
    module = "local" if entry["provider"] == "local" else "remote"
    opening = importlib.import_module(f"candor.verbalisers.clients.{module}")
    client: Opened = opening.prepare(args, config.client, entry)

    @contextmanager
    def opened(made: Mapping[str, Any]) -> Iterator[tuple[list[Row], Mapping[str, Any]]]:
        with client.opened(made) as asked:
            progress = Progress(f"verbalise {args.data.stem}", len(texts), "texts", args.progress)
            said = verbalise(texts, config, asked, template, progress.update)
            yield [_row(*place, each) for place, each in zip(places, said, strict=True)], _costs(said)

    shown = args.generations if config.response else []
    reads = "the prompt and the response" if config.response else "the prompt"
    return Prepared(opened, [*shown, path, *client.inputs], client.packages, {**client.facts, "reads": reads})


def _texts(
    args: Namespace, config: ChatVerbaliser, examples: Sequence[Mapping[str, Any]]
) -> tuple[list[tuple[str, int]], list[Shown]]:
    """Example and sample of each row, and what is shown for it."""
    if not config.response:
        return [(each["example_id"], 0) for each in examples], [Shown(each["messages"]) for each in examples]
    if not args.generations:
        raise CandorError(
            f"verbaliser {args.verbaliser!r} is shown what the subject answered; name the table with --generations."
        )
    answers: dict[str, list[Mapping[str, Any]]] = {}
    for path in args.generations:
        for row in tables.read(path, GENERATION).to_pylist():
            answers.setdefault(row["example_id"], []).append(row)
    lacking = [each["example_id"] for each in examples if each["example_id"] not in answers]
    if lacking:
        raise CandorError(
            f"{len(lacking)} examples have no generation, first {lacking[0]!r}; give the generations on this dataset, "
            "the same shard or all shards."
        )
    places, texts = [], []
    for example in examples:
        for row in answers[example["example_id"]]:
            places.append((example["example_id"], row["sample_index"]))
            texts.append(Shown(example["messages"], row["text"], row["status"]))
    return places, texts


def _row(example_id: str, sample_index: int, said: Said) -> Row:
    return {
        "example_id": example_id,
        "sample_index": sample_index,
        "token_index": None,
        "text": said.explanation.text,
        "status": said.explanation.status,
        "mse": None,
        "cosine": None,
        "fve": None,
    }


def _costs(said: Sequence[Said]) -> dict[str, Any]:
    """Requests ever sent, over all runs, and what the replies cost when they were paid for."""
    completions = [each.completion for each in said if each.completion is not None]
    return {
        "attempts": sum(each.attempts for each in completions),
        "usd": round(math.fsum(each.usd for each in completions), 9),
    }
