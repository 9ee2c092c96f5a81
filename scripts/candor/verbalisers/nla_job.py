"""The rows of an activation verbaliser: one of each chosen token, its words first, then how much of it they keep.

Two models take part, the verbaliser and the reconstructor, and only one is in memory at a time: all activations are put
into words, then the verbaliser is let go, and the reconstructor reads the words. Both work in fixed chunks that are
journalled, so that a job that was killed goes on with the next one; a model whose chunks are all done is not loaded.
"""

import gc
from argparse import Namespace
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import torch
from pydantic import TypeAdapter
from torch import Tensor

from candor import models, provenance
from candor.activations.files import Activations
from candor.config.models import Model
from candor.config.samplings import Sampling
from candor.config.verbalisers import READABLE
from candor.config.verbalisers import ActivationVerbaliser as Config
from candor.data.parts import texts_of
from candor.partial import journalled, workplace
from candor.progress import Progress
from candor.schemas.status import SCORED
from candor.verbalisers import nla, reconstruct, scores
from candor.verbalisers.explanation import Explanation
from candor.verbalisers.nla import VerbaliserError
from candor.verbalisers.preparing import Prepared, Row
from candor.verbalisers.sidecar import NAME, Sidecar, read_sidecar

PACKAGES = ("torch", "transformers", "safetensors", "PyYAML")
AT_ONCE = 256
"""Texts that are reconstructed between two entries of the journal."""
BLOCK = 4096
"""Activations that are averaged at once: a few hundred MB in float64 at a width of 3584."""


class Token(NamedTuple):
    """An activation to be put into words: `row` in the file, `position` in the text as the subject read it.

    For an example that has none, both are -1, and `absent` is the status of its one row.
    """

    example_id: str
    sample_index: int
    position: int
    row: int
    absent: str | None = None

    @property
    def name(self) -> str:
        """What its draws depend on, beside the seed."""
        return f"{self.example_id}/{self.sample_index}/{self.position}"


class _Pair(NamedTuple):
    """A model's entry in the config, its facts, and its sidecar."""

    model: Model
    facts: dict[str, Any]
    folder: Path
    sidecar: Sidecar

    def record(self) -> dict[str, Any]:
        """What names it; its files, those beside the weights too, are pinned by its facts, an input of the table."""
        return {"revision": self.facts["revision"]}


def prepare(args: Namespace, config: Config, examples: Sequence[Mapping[str, Any]]) -> Prepared:
    """The sidecars and the activations, held against each other before a model is loaded."""
    if not args.activations or not args.model:
        raise VerbaliserError(
            f"verbaliser {args.verbaliser!r} reads activations; name all shards of them with --activations, and the "
            "verbaliser's files with --model."
        )
    if bool(config.reconstructor) != bool(args.reconstructor):
        raise VerbaliserError(
            f"verbaliser {args.verbaliser!r}: its `reconstructor` is {config.reconstructor!r}, and the flag "
            f"--reconstructor {'is not given' if config.reconstructor else 'is given'}; say the same in both."
        )
    entries = args.spec["models"] if config.reconstructor else {config.model: args.spec["models"]}
    verbaliser = _pair(entries[config.model], Path(args.model), "verbaliser")
    reconstructor = None
    if config.reconstructor:
        reconstructor = _pair(entries[config.reconstructor], Path(args.reconstructor), "reconstructor")
        _same_pair(verbaliser, reconstructor)
    activations = fitting(args.activations, config, verbaliser.sidecar, texts_of(args.data, args.data.stem).sha256)
    tokens = tokens_of(activations, config, {row["example_id"] for row in examples})
    vectors = activations.layer(config.layer)
    mean_mse = config.mean_mse
    if reconstructor is not None and mean_mse is None:
        mean_mse = _mean_mse(activations, vectors, config)
    if args.threads:
        torch.set_num_threads(args.threads)
    device, dtype = models.placement(verbaliser.model)
    facts: dict[str, Any] = {
        "reads": "the activation",
        "verbaliser": verbaliser.record(),
        "reconstructor": None if reconstructor is None else reconstructor.record(),
        "mean_mse": mean_mse,
        "device": device,
        "dtype": dtype,
        "threads": torch.get_num_threads(),
    }
    inputs = [*args.activations, Path(args.model), *([Path(args.reconstructor)] if reconstructor else [])]

    @contextmanager
    def opened(made: Mapping[str, Any]) -> Iterator[tuple[list[Row], Mapping[str, Any]]]:
        folder = args.partial / provenance.digest([made, args.verbaliser, args.shard])[:24]
        with workplace(folder):
            said = iter(_words(folder, verbaliser, config, [t for t in tokens if t.absent is None], vectors, args))
            rows = [_row(token, next(said) if token.absent is None else None) for token in tokens]
            if reconstructor is not None and mean_mse is not None:
                _score(folder, reconstructor, rows, tokens, vectors, mean_mse, args)
            yield rows, {}

    return Prepared(opened, inputs, PACKAGES, facts)


def fitting(paths: Sequence[Path], config: Config, sidecar: Sidecar, dataset_sha256: str) -> Activations:
    """The activations; VerbaliserError unless they are what the verbaliser was made to read."""
    if config.layer != sidecar.extraction_layer_index:
        raise VerbaliserError(
            f"the verbaliser {config.model!r} was made for layer {sidecar.extraction_layer_index}, as its {NAME} says, "
            f"and the config says `layer: {config.layer}`; correct the config, and capture that layer."
        )
    activations = Activations(paths)
    header, path = activations.header, activations.paths[0]
    if header.width != sidecar.d_model:
        raise VerbaliserError(
            f"{path}: has width {header.width}, and the verbaliser {config.model!r} reads {sidecar.d_model}; take one "
            f"that was made for {header.subject}."
        )
    if header.subject != config.subject:
        raise VerbaliserError(
            f"{path}: holds activations of {header.subject!r}, and the verbaliser was made for {config.subject!r}; its "
            "words on another model would mean nothing."
        )
    if header.hook != "residual":
        raise VerbaliserError(
            f"{path}: holds activations at hook {header.hook}, and verbalisers read `hook: residual`; capture that."
        )
    if header.store not in READABLE:
        raise VerbaliserError(
            f"{path}: stores {header.store}, and a verbaliser reads tokens; capture with `store: positions`."
        )
    if config.layer not in header.layers:
        raise VerbaliserError(
            f"{path}: holds layers {header.layers}, and the verbaliser reads layer {config.layer}; add it to the "
            "`layers` of the capture."
        )
    return activations.expect(dataset_sha256=dataset_sha256)


def tokens_of(activations: Activations, config: Config, examples: set[str]) -> list[Token]:
    """The activations of some examples that are put into words, in the file's order.

    A token is taken once. An example without any keeps the status that the capture gave it; one whose rows are all left
    out is empty.
    """
    samples = [sample for header in activations.headers for sample in header.sample_indices]
    positions = activations.index("positions").tolist()
    found: list[Token] = []
    end = 0
    for number, stored in enumerate(activations.lengths().tolist()):
        id, status = activations.example_ids[number], activations.statuses[number]
        rows, end = range(end, end + stored), end + stored
        if id not in examples:
            continue
        wanted = [rows[i] for i in config.rows if -stored <= i < stored] if config.rows else list(rows)
        # a span that the text lacks has no position, and two spans may be the same token
        kept = {positions[row]: row for row in sorted(wanted, reverse=True) if positions[row] >= 0}
        found += [Token(id, samples[number], positions[row], row) for row in sorted(kept.values())]
        if not kept:
            found.append(Token(id, samples[number], -1, -1, "empty" if status in SCORED else status))
    return found


def _pair(entry: Mapping[str, Any], facts_path: Path, role: Any) -> _Pair:
    model: Model = TypeAdapter(Model).validate_python(entry)
    facts = models.read_facts(facts_path)
    folder = models.folder_of(model, facts)
    return _Pair(model, facts, folder, read_sidecar(folder, role))


def _same_pair(verbaliser: _Pair, reconstructor: _Pair) -> None:
    for key in ("d_model", "extraction_layer_index"):
        one, other = getattr(verbaliser.sidecar, key), getattr(reconstructor.sidecar, key)
        if one != other:
            raise VerbaliserError(
                f"{reconstructor.folder / NAME}: says {key}: {other}, and the verbaliser's says {one}; take the "
                "two that were released as a pair."
            )


def _mean_mse(activations: Activations, vectors: Tensor, config: Config) -> float:
    """The error of the mean direction of the capture's own activations, over all examples and shards."""
    there = (activations.index("positions") >= 0).nonzero()[:, 0]
    found = scores.mse_of_mean(vectors[rows].float().numpy() for rows in there.split(BLOCK))
    if found <= 1e-6:
        raise VerbaliserError(
            f"{activations.paths[0]}: its activations of layer {config.layer} have no variance to be explained; give "
            "`mean_mse` in the verbaliser's entry."
        )
    return found


def _words(
    folder: Path, verbaliser: _Pair, config: Config, tokens: Sequence[Token], vectors: Tensor, args: Namespace
) -> list[Explanation]:
    """What is said of each activation."""
    sampling = Sampling(
        temperature=config.temperature,
        top_p=config.top_p,
        top_k=config.top_k,
        max_new_tokens=config.max_new_tokens,
        seed=config.seed,
    )
    device, _ = models.placement(verbaliser.model)
    size = (16 if device == "cpu" else 64) if config.batch_size == "auto" else config.batch_size

    def loaded() -> Callable[[Sequence[Token]], list[Any]]:
        speaker = nla.load(verbaliser.model, verbaliser.facts)

        def say(chunk: Sequence[Token]) -> list[Any]:
            try:
                said = speaker.verbalise(vectors[[t.row for t in chunk]], [t.name for t in chunk], sampling)
            except torch.OutOfMemoryError:
                raise VerbaliserError(
                    f"{size} activations side by side do not fit into the device's memory; lower the verbaliser's "
                    "`batch_size`."
                ) from None
            return [list(each) for each in said]

        return say

    progress = Progress(f"verbalise {args.data.stem}", len(tokens), "activations", args.progress)
    done = _in_chunks(folder / "words.jsonl", tokens, size, loaded, progress)
    return [Explanation(*each) for each in done]


def _score(
    folder: Path,
    reconstructor: _Pair,
    rows: Sequence[Row],
    tokens: Sequence[Token],
    vectors: Tensor,
    mean_mse: float,
    args: Namespace,
) -> None:
    """Fill in how much of each activation its words keep."""
    scored = [number for number, row in enumerate(rows) if row["status"] in SCORED]

    def loaded() -> Callable[[Sequence[int]], list[Any]]:
        maker = reconstruct.load(reconstructor.model, reconstructor.facts)

        def score(chunk: Sequence[int]) -> list[Any]:
            made = maker.reconstruct([rows[number]["text"] for number in chunk])
            real = vectors[[tokens[number].row for number in chunk]].float()
            finite = made.isfinite().all(-1).tolist()
            found = scores.scores(made.nan_to_num(0, 0, 0).numpy(), real.numpy(), mean_mse)
            return [list(each) if ok else None for each, ok in zip(found, finite, strict=True)]

        return score

    progress = Progress(f"reconstruct {args.data.stem}", len(scored), "activations", args.progress)
    done = _in_chunks(folder / "scores.jsonl", scored, AT_ONCE, loaded, progress)
    for number, each in zip(scored, done, strict=True):
        if each is not None:
            rows[number].update(zip(("mse", "cosine", "fve"), each, strict=True))


def _in_chunks(
    journal: Path,
    items: Sequence[Any],
    size: int,
    load: Callable[[], Callable[[Sequence[Any]], list[Any]]],
    progress: Progress,
) -> list[Any]:
    """What a model makes of each item, in chunks that the journal keeps; the model is gone when this returns."""
    chunks = [items[at : at + size] for at in range(0, len(items), size)]
    with journalled(journal) as kept:
        found = [each for chunk in kept.done for each in chunk]
        work = load() if len(kept.done) < len(chunks) else None
        for chunk in chunks[len(kept.done) :]:
            assert work is not None
            fresh = work(chunk)
            kept.add(fresh)
            found += fresh
            progress.update(len(found))
    work = None
    gc.collect()  # a loaded model holds cycles
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    return found


def _row(token: Token, said: Explanation | None) -> Row:
    """The row of an activation, or of an example that has none."""
    return {
        "example_id": token.example_id,
        "sample_index": token.sample_index,
        "token_index": None if said is None else token.position,
        "text": "" if said is None else said.text,
        "status": token.absent if said is None else said.status,
        "mse": None,
        "cosine": None,
        "fve": None,
    }
