"""The extraction engine: one pass over a dataset reads all layers of a capture.

It stops after the deepest layer and computes no logits, unless the capture asks for log-probabilities; batches hold a
budget of tokens, filled from length-sorted examples; only real tokens are stored. A job that is killed goes on where it
was: rows are written straight into the file's final layout, and a journal beside it names the batches that are safe.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from itertools import takewhile
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from candor.activations.files import Draft, Header
from candor.activations.hooks import blocks_of, reading
from candor.activations.likelihood import log_probabilities
from candor.activations.spans import needs_generation_prompt, span_tokens
from candor.batching import token_batches
from candor.chat_text import ROLE_CODES, Encoded, encode
from candor.config.captures import Capture
from candor.errors import CandorError
from candor.models import Subject
from candor.partial import entries, workplace
from candor.progress import Progress
from candor.provenance import digest


class Rows(NamedTuple):
    """One example: columns [rows], layer -> [rows, width] and -> mean [width] on the CPU, and whether all is finite."""

    columns: dict[str, Sequence[float]]
    layers: dict[int, Tensor]
    means: dict[int, Tensor]
    finite: bool


class Plan(NamedTuple):
    """What will be stored of each example: its tokens, which of them are kept, and its rows in the file.

    `spans` are the tokens of each span of each example, with `store: spans`; `kept` are then those of any span.
    """

    encoded: list[Encoded]
    kept: list[list[int]]
    offsets: list[int]
    spans: list[list[list[int]]]


def plan(subject: Subject, messages: Sequence[Sequence[Mapping[str, str]]], capture: Capture) -> Plan:
    """Tokenise all examples and settle the file's layout, before the model runs."""
    tokenizer, by_span = subject.tokenizer, capture.store == "spans"
    prompted = [capture.generation_prompt or (by_span and needs_generation_prompt(each)) for each in messages]
    encoded = [
        encode(each, tokenizer, capture.max_tokens, capture.truncate, prompt)
        for each, prompt in zip(messages, prompted, strict=True)
    ]
    spans = [span_tokens(each, tokenizer, capture) for each in messages] if by_span else []
    kept, offsets = [], [0]
    for i, example in enumerate(encoded):
        tokens = list(range(capture.drop_first, len(example.token_ids)))
        if isinstance(capture.positions, list) and capture.store == "positions":
            found = (tokens[p] for p in capture.positions if -len(tokens) <= p < len(tokens))
            tokens = list(dict.fromkeys(found))  # 0 and -1 may name the same one
        if by_span:
            tokens = sorted({token for span in spans[i] for token in span})
        rows = {"mean": min(len(tokens), 1), "spans": len(capture.spans) if tokens else 0}
        kept.append(tokens)
        offsets.append(offsets[-1] + rows.get(capture.store, len(tokens)))
    return Plan(encoded, kept, offsets, spans)


def batches(planned: Plan, capture: Capture) -> list[list[int]]:
    """The batches of a plan: examples that keep a token, by length, within the capture's token budget."""
    alive = [i for i, tokens in enumerate(planned.kept) if tokens]
    lengths = [len(planned.encoded[i].token_ids) for i in alive]
    return [[alive[i] for i in batch] for batch in token_batches(lengths, int(capture.batch_tokens))]


def extract(
    subject: Subject, planned: Plan, capture: Capture, todo: Sequence[Sequence[int]]
) -> Iterator[dict[int, Rows]]:
    """Run the batches in `todo`; yield example -> rows, a batch at a time."""
    device = next(subject.model.get_input_embeddings().parameters()).device
    blocks = len(blocks_of(subject.model))
    layers, means = capture.stored_layers(blocks), capture.means(blocks)
    with reading(subject.model, capture.hook, sorted({*layers, *means}), capture.log_probs) as reader:
        for batch in todo:
            seen = reader.read(_padded(batch, planned).to(device))
            found = _rows(seen, batch, planned, capture.store, layers, means)
            if reader.top is not None:
                found = _with_log_probs(found, subject, reader.top, planned, capture.store)
            yield found


def _padded(batch: Sequence[int], planned: Plan) -> Tensor:
    """Token ids [batch, length], each example padded on the right with its own last token.

    The pad is never seen, since causal attention looks left and padded rows are dropped; but masked attention weighs
    it with 0, and 0 times NaN is NaN, so a token that another example might not survive is no pad.
    """
    ids = [planned.encoded[i].token_ids for i in batch]
    length = max(map(len, ids))
    return torch.tensor([each + each[-1:] * (length - len(each)) for each in ids])


def _rows(
    seen: Mapping[int, Tensor],
    batch: Sequence[int],
    planned: Plan,
    store: str,
    layers: Sequence[int],
    means: Sequence[int],
) -> dict[int, Rows]:
    """Gather the kept tokens of a whole batch at once, and deal them out to its examples."""
    length = next(iter(seen.values())).shape[1]
    # what is averaged, and checked for finite numbers: all kept tokens of an example, or those of each span
    segments = [planned.spans[i] if store == "spans" else [planned.kept[i]] for i in batch]
    counts = [len(tokens) for own in segments for tokens in own]
    flat = torch.tensor([row * length + t for row, own in enumerate(segments) for tokens in own for t in tokens])
    finite = torch.ones(len(batch), dtype=torch.bool)
    stored: dict[int, Sequence[Tensor]] = {}
    averaged: dict[int, Tensor] = {}
    for layer, hidden in seen.items():
        kept = hidden.reshape(-1, hidden.shape[-1]).index_select(0, flat.to(hidden.device))
        average = torch.stack([_mean(part) for part in kept.split(counts)]).cpu().view(len(batch), -1, kept.shape[-1])
        finite &= average.isfinite().all(2).all(1)  # a sum of finite half-precision numbers is finite in float32
        averaged[layer] = average
        if store in ("tokens", "positions") and layer in layers:
            stored[layer] = kept.cpu().split(counts)
    found = {}
    for row, i in enumerate(batch):
        own = {k: stored[k][row] if k in stored else averaged[k][row] for k in layers}
        found[i] = Rows(_columns(planned, i, store), own, {k: averaged[k][row, 0] for k in means}, bool(finite[row]))
    return found


def _with_log_probs(
    found: dict[int, Rows], subject: Subject, top: Tensor, planned: Plan, store: str
) -> dict[int, Rows]:
    """Rows of a batch with what the model made of each kept token, from the state at the token before it.

    top [batch, length, width] is the output after the final norm.
    """
    kept = [planned.kept[i] for i in found]
    before = torch.tensor([row * top.shape[1] + t - 1 for row, own in enumerate(kept) for t in own])
    ids = torch.tensor([planned.encoded[i].token_ids[t] for i, own in zip(found, kept, strict=True) for t in own])
    states = top.reshape(-1, top.shape[-1]).index_select(0, before.to(top.device))
    given = log_probabilities(subject.model, states, ids).split([len(own) for own in kept])
    return {
        i: rows._replace(
            columns={**rows.columns, "log_probs": [own.mean().item()] if store == "mean" else own.tolist()},
            finite=rows.finite and bool(own.isfinite().all()),
        )
        for (i, rows), own in zip(found.items(), given, strict=True)
    }


def _mean(rows: Tensor) -> Tensor:
    """The mean of rows [n, width] in float32; zeros where there are none."""
    return rows.mean(0, dtype=torch.float32) if len(rows) else rows.new_zeros(rows.shape[1], dtype=torch.float32)


def _columns(planned: Plan, i: int, store: str) -> dict[str, Sequence[float]]:
    """What says of each row of an example which token it stands for: the last one of a span, -1 for none."""
    example, tokens = planned.encoded[i], planned.kept[i]
    if store == "mean":
        tokens = [-1]
    elif store == "spans":
        tokens = [max(span, default=-1) for span in planned.spans[i]]
    return {
        "token_ids": [-1 if t < 0 else example.token_ids[t] for t in tokens],
        "positions": tokens,
        "roles": [ROLE_CODES["template"] if t < 0 else example.roles[t] for t in tokens],
    }


def status_of(example: Encoded, kept: Sequence[int]) -> str:
    """What became of an example before the model ran."""
    return "empty" if not kept else "truncated" if example.truncated else "ok"


def extract_to_file(
    subject: Subject,
    messages: Sequence[Sequence[Mapping[str, str]]],
    capture: Capture,
    header: Header,
    made: Mapping[str, Any],
    output: Path,
    partial: Path,
    descriptor: int,
) -> dict[str, int]:
    """Extract every example and write the activations file; return the number of examples by status.

    Unfinished work lies in `partial` under a folder named by all that bears on the numbers, and is taken up again.
    Examples whose activations are not finite are stored and marked; CandorError when that is all of them.
    """
    planned = plan(subject, messages, capture)
    work = batches(planned, capture)
    n_tokens = [len(tokens) for tokens in planned.kept]
    bearing = [asdict(header), capture.model_dump(), dict(made), planned.offsets]
    with workplace(partial / digest(bearing)[:24]) as folder:
        unfinished, journal = folder / "activations.safetensors", folder / "journal.jsonl"
        draft = Draft(unfinished, header, planned.offsets, made)
        done = list(takewhile(_names_a_batch, entries(journal))) if draft.resumed else []
        broken = {i for entry in done for i in entry["not_finite"]}
        tokens = sum(n_tokens[i] for batch in work[: len(done)] for i in batch)
        progress = Progress(f"extract {header.dataset}", sum(n_tokens), "tokens", descriptor, done=tokens)
        with journal.open("w", encoding="utf-8") as log:
            log.writelines(json.dumps(entry) + "\n" for entry in done)  # without a last line that was cut off
            log.flush()
            for rows in extract(subject, planned, capture, work[len(done) :]):
                for i, row in rows.items():
                    draft.put(i, row.columns, row.layers, row.means)
                bad = [i for i, row in rows.items() if not row.finite]
                broken.update(bad)
                tokens += sum(n_tokens[i] for i in rows)
                log.write(json.dumps({"not_finite": bad}) + "\n")
                log.flush()
                progress.update(tokens)
        if broken and len(broken) == sum(map(len, work)):
            raise CandorError(
                f"all {len(broken)} examples of {header.dataset} have activations that are not finite; "
                f"try dtype: float32 for {header.subject}"
            )
        statuses = [
            "not_finite" if i in broken else status_of(example, kept)
            for i, (example, kept) in enumerate(zip(planned.encoded, planned.kept, strict=True))
        ]
        draft.describe(n_tokens, statuses)
        draft.flush()
        output.parent.mkdir(parents=True, exist_ok=True)
        unfinished.replace(output)
        journal.unlink()
    return {status: statuses.count(status) for status in sorted(set(statuses))}


def _names_a_batch(entry: Any) -> bool:
    """Whether a journal's line is one of ours: a file that was damaged can hold other JSON."""
    return isinstance(entry, dict) and isinstance(entry.get("not_finite"), list)
