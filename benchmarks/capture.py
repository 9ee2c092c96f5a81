"""Time what it costs to capture while decoding, against plain generation, on the default model and the bank's prompts.

PYTHONPATH=scripts python benchmarks/capture.py --prompts 96 --rounds 5 --threads 2

Both answer the same prompts by the same number of tokens each and write their files, in one process and in turn; which
of the two comes first changes from round to round, and a ratio is of one round. Five rows an example at the study's
blocks, the same at every block, then every token at every block; before that plain generation against itself, which
shows how far chance alone takes a ratio. Process seconds stand beside wall seconds, since other work spoils the latter.
Where that is too much for either, there is the share of process seconds that the captures' own steps take within one
run: writing to the slots, copying out of them, roles and files. It leaves out that slots with more in them take longer
to grow and to move. It measures and asserts nothing.
"""

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch
from generation import MODEL, ROOT, Time, seconds
from transformers.utils import logging

from candor import models, tables
from candor.activations.files import Header
from candor.config.captures import Capture
from candor.config.samplings import Sampling
from candor.generations import attention, capturing
from candor.generations.capturing import Chunk, answer, write
from candor.generations.job import respond
from candor.generations.transformers_engine import TransformersEngine
from candor.hardware import auto_device, auto_dtype
from candor.models import Subject
from candor.schemas.generation import GENERATION

FRAMINGS = ("normal", "eval_aware", "deceptive")
Item = tuple[str, int, list[dict[str, str]]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--prompts", type=int, default=96, help="prompts of the bank, taken evenly")
    parser.add_argument("--new-tokens", type=int, default=40, help="tokens of each response")
    parser.add_argument("--layers", type=int, nargs="+", default=[7, 15, 22], help="blocks; without it the study's")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--device", default=auto_device())
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    logging.disable_progress_bar()
    place = {"device": args.device, "dtype": auto_dtype(args.device)}
    subject = models.load(MODEL.model_copy(update=place), models.fetch(MODEL)._asdict())
    engine = TransformersEngine(subject, ends=frozenset())  # no text ends before its length
    sampling = Sampling(temperature=0.8, max_new_tokens=args.new_tokens)
    items = prompts(args.prompts)
    print(
        f"{MODEL.name}, {place['dtype']} on {args.device}, {args.threads} threads: {len(items)} prompts, "
        f"{args.new_tokens} new tokens each"
    )
    even = {"store": "positions", "positions": "even", "k": 5, "of": "response"}
    captures = {
        f"5 rows at blocks {', '.join(map(str, args.layers))}": capture_of(layers=args.layers, **even),
        "5 rows at every block": capture_of(layers="all", **even),
        "every token at every block": capture_of(layers="all", store="tokens"),
    }
    with tempfile.TemporaryDirectory() as folder:
        work = Work(engine, subject, sampling, items, Path(folder))
        work.plain()  # once unmeasured: kernels are chosen at first use
        report("plain generation again", [paired(work.plain, work.plain, n % 2) for n in range(args.rounds)])
        for name, capture in captures.items():
            captured = partial(work.captured, capture)
            captured()
            report(name, [paired(work.plain, captured, n % 2) for n in range(args.rounds)])
            print(f"{name}: its own steps take {own_share(captured):.1%} of the rest's process seconds")


class Work:
    """The ways to the same files."""

    def __init__(
        self, engine: TransformersEngine, subject: Subject, sampling: Sampling, items: Sequence[Item], folder: Path
    ) -> None:
        self._engine, self._subject, self._sampling, self._items = engine, subject, sampling, items
        self._folder = folder

    def plain(self) -> None:
        """Generate alone."""
        rows = respond(self._engine, self._subject.tokenizer, self._sampling, self._items)
        tables.write(self._folder / "G.parquet", rows, GENERATION, {})

    def captured(self, capture: Capture) -> None:
        """Generate and capture in one pass."""
        header = header_of(capture)
        found = answer(self._engine, self._subject.tokenizer, self._sampling, capture, header, self._items)
        write(Chunk.of(self._folder, 0), found, header, {})


def paired(one: Callable[[], Any], other: Callable[[], Any], swapped: int) -> tuple[Time, Time]:
    """Seconds of both, the second one first where they are swapped."""
    if swapped:
        later = seconds(other)
        return seconds(one), later
    return seconds(one), seconds(other)


def report(name: str, pairs: Sequence[tuple[Time, Time]]) -> None:
    """Print how much longer the second of each pair took."""
    wall, process = ([other[i] / one[i] for one, other in pairs] for i in range(2))
    print(
        f"{name}: takes {statistics.median(wall):.3f} times as long as plain generation (rounds {min(wall):.3f} to "
        f"{max(wall):.3f}), {statistics.median(process):.3f} times by process seconds ({min(process):.3f} to "
        f"{max(process):.3f})"
    )


def own_share(captured: Callable[[], None]) -> float:
    """Process seconds of the steps that a run with a capture has beside those of one without, by those of the rest."""
    spent = 0.0

    def timed(step: Callable[..., Any], counts: Callable[..., bool] = lambda *_: True) -> Callable[..., Any]:
        def run(*arguments: Any) -> Any:
            nonlocal spent
            start = time.process_time()
            found = step(*arguments)
            spent += (time.process_time() - start) * counts(*arguments)
            return found

        return run

    steps = [
        (attention.Pass, "write", timed(attention.Pass.write, lambda _, name, __: name[0] == "residual")),
        (attention.Slots, "take", timed(attention.Slots.take)),
        (capturing, "prompt_roles", timed(capturing.prompt_roles)),
        (capturing, "Draft", timed(capturing.Draft)),
        (capturing.Draft, "put", timed(capturing.Draft.put)),
        (capturing.Draft, "flush", timed(capturing.Draft.flush)),
    ]
    with ExitStack() as patched:
        for holder, name, step in steps:
            patched.enter_context(patch.object(holder, name, step))
        taken = seconds(captured).process
    return spent / (taken - spent)


def prompts(count: int) -> list[Item]:
    """Prompts of the bank, evenly over its files, as conversations of one turn."""
    files = sorted((ROOT / "resources" / "inner_state").glob("*.jsonl"))
    rows = [json.loads(line) for file in files for line in file.read_text(encoding="utf-8").splitlines()]
    texts = [row[framing] for row in rows for framing in FRAMINGS]
    chosen = [texts[i * len(texts) // count] for i in range(count)]
    return [(str(i), 0, [{"role": "user", "content": text}]) for i, text in enumerate(chosen)]


def capture_of(**keys: Any) -> Capture:
    return Capture(subject="default", sampling="drawn", **keys)


def header_of(capture: Capture) -> Header:
    return Header(
        subject="default",
        revision=None,
        hook="residual",
        layers=capture.stored_layers(MODEL.blocks),
        mean_layers=[],
        store=capture.store,
        width=MODEL.width,
        blocks=MODEL.blocks,
        dtype=auto_dtype(auto_device()),
        dataset="prompts",
        dataset_sha256="",
        shard="000-of-001",
        example_ids=[],
        sample_indices=[],
    )


if __name__ == "__main__":
    main()
