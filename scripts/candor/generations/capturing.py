"""One job that generates and captures: a subject answers, and its residual stream is read as it does.

Rows of activations are copied out of the engine's slots as each text finishes, the wanted positions alone. A call of
the engine is a chunk: when it is done, its responses and its activations are written as two files, each of which can be
read by itself; a job that was killed goes on after the last whole chunk, and at the end the chunks are put together.
How many rows there are is known only then. The texts are those that generate.py writes for the same calls.
"""

from argparse import Namespace
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from itertools import accumulate
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import pyarrow as pa
import torch
from pydantic import TypeAdapter
from torch import Tensor

from candor import models, provenance, tables
from candor.activations.files import DTYPES, Activations, Draft, Header, join
from candor.activations.places import places, prompt_roles
from candor.chat_text import ROLE_CODES
from candor.config.captures import Capture
from candor.config.capturing import unfit_sampling
from candor.config.models import Model
from candor.config.samplings import Sampling
from candor.errors import CandorError
from candor.generations.engine import Engine, GenerationError, Request, Watch
from candor.generations.job import respond
from candor.generations.loading import PACKAGES, Files, Loaded, load
from candor.generations.responding import Item, Row, counts_of, items_of, prefill_of
from candor.partial import workplace
from candor.progress import Progress
from candor.schemas.generation import GENERATION

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

LOST = ("invalid", "not_finite")
"""What becomes of responses that have no activations."""


class Seen(NamedTuple):
    """What is kept of one text: its prompt, the positions that are stored, layer -> [positions, width] on the CPU."""

    prompt: list[int]
    positions: list[int]
    layers: dict[int, Tensor]


class Answer(NamedTuple):
    """A row of the generation table, and what an activations file holds of the text."""

    row: Row
    columns: dict[str, list[int]]
    layers: dict[int, Tensor]
    status: str


class Chunk(NamedTuple):
    """The files of one call of the engine; the table is written last, so that with it all is there."""

    activations: Path
    generations: Path

    @classmethod
    def of(cls, folder: Path, number: int) -> "Chunk":
        """The files of a call, by its number."""
        return cls(folder / f"{number:05d}.safetensors", folder / f"{number:05d}.parquet")

    def whole(self) -> bool:
        """Whether both files are there and undamaged."""
        try:
            tables.read(self.generations, GENERATION)
            Activations([self.activations])
        except CandorError:
            return False
        return True


def generate_and_capture(args: Namespace) -> dict[str, dict[str, int]]:
    """Answer a shard of a dataset table with the sampling, capture and model of the spec; return counts by status."""
    sampling = Sampling.model_validate(args.spec["samplings"])
    capture = Capture.model_validate(args.spec["captures"])
    model: Model = TypeAdapter(Model).validate_python(args.spec["models"])
    _refuse_unfit(capture, sampling)
    items = items_of(args.data, args.shard, sampling.n)
    files = Files.of(args)
    loaded = load(files, model, sampling.engine, sampling.batch_size, args.threads)
    made = provenance.record(__file__, args.code, args.spec, [*files.read(), args.data], PACKAGES, **loaded.facts)
    made["script"] = "generate_and_capture.py"
    header = _header(args, files, loaded, capture, items)
    size = capture.checkpoint_every or loaded.engine.at_once
    calls = [items[at : at + size] for at in range(0, len(items), size)]
    with workplace(args.partial / provenance.digest([made, args.shard])[:24]) as folder:
        chunks = [Chunk.of(folder, number) for number in range(len(calls))]
        done = next((number for number, chunk in enumerate(chunks) if not chunk.whole()), len(chunks))
        progress = Progress(f"generate {args.data.stem}", len(items), "responses", args.progress, done=done * size)
        with loaded.around:
            for number, call in enumerate(calls[done:], start=done):
                told = partial(_say, progress, number * size)
                answers = answer(loaded.engine, loaded.tokenizer, sampling, capture, header, call, told)
                write(chunks[number], answers, header, made)
        return _put_together(chunks, header, made, args.output, args.activations)


def _say(progress: Progress, before: int, finished: int) -> None:
    progress.update(before + finished)


def _refuse_unfit(capture: Capture, sampling: Sampling) -> None:
    if capture.sampling is None:
        raise GenerationError("the capture has no `sampling`; extract_activations.py reads texts as they stand")
    for problem in unfit_sampling(sampling):
        raise GenerationError(f"sampling {capture.sampling} {problem}")


def _header(args: Namespace, files: Files, loaded: Loaded, capture: Capture, items: Sequence[Item]) -> Header:
    facts, dtype = models.read_facts(files.model), loaded.facts["dtype"]
    return Header(
        subject=capture.subject,
        revision=facts["revision"] or provenance.digest(facts["files"])[:16],
        hook=capture.hook,
        layers=capture.stored_layers(facts["blocks"]),
        mean_layers=[],
        store=capture.store,
        width=facts["width"],
        blocks=facts["blocks"],
        dtype=dtype if dtype in DTYPES else "float32",
        dataset=args.data.stem,
        dataset_sha256=provenance.sha256(args.data),
        shard=args.shard,
        example_ids=[example_id for example_id, _, _ in items],
        sample_indices=[sample for _, sample, _ in items],
    )


def answer(
    engine: Engine,
    tokenizer: "PreTrainedTokenizerBase",
    sampling: Sampling,
    capture: Capture,
    header: Header,
    items: Sequence[Item],
    finished: Callable[[int], None] = lambda _: None,
) -> list[Answer]:
    """What an engine answers, one response an item and in their order, with the activations that a capture stores.

    The layers and the dtype of the activations are the header's.
    """
    seen: dict[str, Seen] = {}
    dtype = getattr(torch, header.dtype)

    def see(request: Request, positions: Sequence[int], held: dict[int, Tensor]) -> None:
        kept = {layer: values.to("cpu", dtype) for layer, values in held.items()}
        seen[request.example_id] = Seen(request.prompt, list(positions), kept)

    watch = Watch(header.layers, see, lambda request, read: places(capture, len(request.prompt), read))
    rows = respond(engine, tokenizer, sampling, items, finished, watch)
    found = []
    for (example_id, _, messages), row in zip(items, rows, strict=True):
        text = None if row["status"] in LOST else seen.get(example_id)
        if text is None or not text.positions:
            found.append(Answer(row, {}, {}, row["status"] if row["status"] in LOST else "empty"))
            continue
        roles = prompt_roles(messages, tokenizer, prefill_of(messages, sampling))
        ids, assistant = text.prompt + row["token_ids"], ROLE_CODES["assistant"]
        columns = {
            "token_ids": [ids[p] for p in text.positions],
            "positions": text.positions,
            "roles": [roles[p] if p < len(roles) else assistant for p in text.positions],
        }
        finite = all(bool(values.isfinite().all()) for values in text.layers.values())
        # a response that reached its longest length is cut, but all of it was read: the table of responses says so
        found.append(Answer(row, columns, text.layers, "ok" if finite else "not_finite"))
    return found


def write(chunk: Chunk, answers: Sequence[Answer], header: Header, made: dict[str, Any]) -> None:
    """Write a chunk's files, which name themselves the only shard: each can be read by itself."""
    own = replace(
        header,
        shard="000-of-001",
        example_ids=[each.row["example_id"] for each in answers],
        sample_indices=[each.row["sample_index"] for each in answers],
    )
    lengths = [len(each.columns.get("positions", [])) for each in answers]
    with tables.draft(chunk.activations) as unfinished:
        draft = Draft(unfinished, own, [0, *accumulate(lengths)], made)
        for number, each in enumerate(answers):
            draft.put(number, each.columns, each.layers, {})
        draft.describe(lengths, [each.status for each in answers])
        draft.flush()
    tables.write(chunk.generations, [each.row for each in answers], GENERATION, made)


def _put_together(
    chunks: Sequence[Chunk], header: Header, made: dict[str, Any], output: Path, activations: Path
) -> dict[str, dict[str, int]]:
    """Write both files of a job from its chunks; return the number of responses, and of texts read, by status."""
    responses = pa.concat_tables([tables.read(chunk.generations, GENERATION) for chunk in chunks])
    counts = counts_of(responses.to_pylist())
    with tables.draft(activations) as unfinished:
        join([chunk.activations for chunk in chunks], unfinished, header, made)
    tables.write(output, responses, GENERATION, {**made, **counts})
    read = Counter(status for chunk in chunks for status in Activations([chunk.activations]).statuses)
    return {"generations": counts["statuses"], "activations": dict(sorted(read.items()))}
