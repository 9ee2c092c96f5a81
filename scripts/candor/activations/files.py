"""The activations file: ragged safetensors, no padding stored, mapped and sliced, never loaded whole.

Tensors: `layer_{k}` [rows, width] (the model's dtype for tokens and positions, float32 for means and spans), `mean_{k}`
float32 [n, width] (the mean over an example's kept tokens, for further layers; zeros where none is kept), `offsets`
int64 [n + 1] (rows of example i are offsets[i] to offsets[i + 1]), `token_ids` int32 [rows], `positions` int32 [rows]
(index in the text as the model read it), `roles` uint8 [rows] (chat_text.ROLE_CODES); for means the row stands for
all kept tokens and the three hold -1, -1 and 0. `log_probs` float32 [rows], where the capture asks for it: the natural
logarithm of the probability that the model gave the row's token after all tokens before it; for means the mean over
kept tokens. `n_tokens` int32 [n] (tokens kept of each example) and `status` uint8 [n] (index into STATUSES). Header:
`candor` (provenance) and `capture` (see Header).

With `store: spans` an example has a row for each of the header's spans, in their order, or none if it has none of them
(status empty). A row is the mean over the span's tokens, and the three stand for the last of these. A span that an
example lacks has a row of zeros with -1, -1 and 0; `Activations.span` never gives it out.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from itertools import accumulate
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import safe_open
from torch import Tensor

from candor.batching import parse_shard
from candor.errors import CandorError
from candor.provenance import KEY, safetensors_header
from candor.schemas.status import STATUSES

DTYPES = {"bfloat16": "BF16", "float16": "F16", "float32": "F32"}
NUMPY: dict[str, Any] = {
    "BF16": np.uint16,
    "F16": np.uint16,
    "F32": np.float32,
    "I64": np.int64,
    "I32": np.int32,
    "U8": np.uint8,
}
INDEX = {"token_ids": "I32", "positions": "I32", "roles": "U8"}
LOG_PROBS = {"log_probs": "F32"}


class ActivationsError(CandorError):
    """An activations file is damaged, or is not the one that was asked for."""


@dataclass
class Header:
    """What a file's rows are; `dataset_sha256` is the digest of the dataset's file."""

    subject: str
    revision: str | None
    hook: str
    layers: list[int]
    mean_layers: list[int]
    store: str
    width: int
    blocks: int
    dtype: str
    dataset: str
    dataset_sha256: str
    shard: str
    example_ids: list[str]
    sample_indices: list[int]
    spans: list[str] = field(default_factory=list)
    """With `store: spans`, the span of each of an example's rows."""
    log_probs: bool = False

    def tensors(self, rows: int) -> dict[str, tuple[str, list[int]]]:
        """Name -> safetensors dtype and shape, in the file's order."""
        index = {name: (dtype, [rows]) for name, dtype in {**INDEX, **(LOG_PROBS if self.log_probs else {})}.items()}
        layers = {f"layer_{k}": (DTYPES[self.dtype], [rows, self.width]) for k in self.layers}
        n = len(self.example_ids)
        means = {f"mean_{k}": ("F32", [n, self.width]) for k in self.mean_layers}
        return {
            "offsets": ("I64", [n + 1]),
            "n_tokens": ("I32", [n]),
            "status": ("U8", [n]),
            **index,
            **layers,
            **means,
        }


class Draft:
    """A file of its final size that is filled example by example, in any order, through a memory map.

    Rows that were written survive a kill of the process, so an interrupted job goes on where it was; `resumed` says
    that there was a file to go on with.
    """

    def __init__(self, path: Path, header: Header, offsets: Sequence[int], made: Mapping[str, Any]) -> None:
        tensors = header.tensors(offsets[-1])
        layout, starts, at = {}, {}, 0
        for name, (dtype, shape) in tensors.items():
            size = int(np.prod(shape)) * np.dtype(NUMPY[dtype]).itemsize
            layout[name] = {"dtype": dtype, "shape": shape, "data_offsets": [at, at + size]}
            starts[name], at = at, at + size
        metadata = {KEY: json.dumps(made, sort_keys=True), "capture": json.dumps(asdict(header), sort_keys=True)}
        text = json.dumps({"__metadata__": metadata, **layout}).encode()
        text += b" " * (-len(text) % 8)
        start = 8 + len(text)
        self.resumed = path.exists() and path.stat().st_size == start + at
        with path.open("r+b" if self.resumed else "w+b") as file:
            file.write(len(text).to_bytes(8, "little") + text)
            file.truncate(start + at)
        self._maps = {
            name: np.memmap(path, NUMPY[dtype], "r+", start + starts[name], tuple(shape))
            for name, (dtype, shape) in tensors.items()
            if 0 not in shape
        }
        self._maps["offsets"][:] = offsets
        self._offsets = offsets

    def describe(self, n_tokens: Sequence[int], statuses: Sequence[str]) -> None:
        """Fill in how many tokens each example keeps, and what became of it."""
        if n_tokens:  # a map cannot be empty
            self._maps["n_tokens"][:] = n_tokens
            self._maps["status"][:] = [STATUSES.index(status) for status in statuses]

    def put(
        self,
        example: int,
        columns: Mapping[str, Sequence[float]],
        layers: Mapping[int, Tensor],
        means: Mapping[int, Tensor],
    ) -> None:
        """Fill in one example: index columns [rows], layers [rows, width] in the file's dtype, means [width]."""
        rows = slice(self._offsets[example], self._offsets[example + 1])
        if rows.start == rows.stop:
            return
        for name, column in columns.items():
            self._maps[name][rows] = column
        for layer, values in layers.items():
            array = self._maps[f"layer_{layer}"]
            raw = values if array.dtype == np.float32 else values.view(torch.uint16)
            array[rows] = raw.numpy()
        for layer, mean in means.items():
            self._maps[f"mean_{layer}"][example] = mean.numpy()

    def put_file(self, first: int, part: "Activations") -> None:
        """Fill in all examples of another file as they are, the first of them as number `first`."""
        examples = slice(first, first + len(part.example_ids))
        rows = slice(self._offsets[examples.start], self._offsets[examples.stop])
        for name, array in self._maps.items():
            if name != "offsets":
                values = part.index(name)
                by_example = name in ("n_tokens", "status") or name.startswith("mean_")
                array[examples if by_example else rows] = (
                    values.view(torch.uint16) if array.dtype == np.uint16 else values
                ).numpy()

    def flush(self) -> None:
        """Hand the rows to the operating system."""
        for array in self._maps.values():
            array.flush()


class Activations:
    """One dataset's activations, over one or several shard files, mapped."""

    def __init__(self, paths: Sequence[Path]) -> None:
        self._files, self.headers = [], []
        for path in paths:
            self.headers.append(_header(path))
            self._files.append(safe_open(path, framework="pt"))
        self.paths, self.header = list(paths), self.headers[0]
        _refuse_mixture(paths, self.headers)
        self.example_ids = [id for header in self.headers for id in header.example_ids]
        self.statuses = [STATUSES[code] for code in self.index("status").tolist()]
        self.n_tokens: list[int] = self.index("n_tokens").tolist()

    def expect(self, *, layers: Sequence[int] = (), dataset_sha256: str | None = None, **facts: Any) -> "Activations":
        """Stop with a sentence unless the file holds these layers, of this dataset, with these header values."""
        path = self.paths[0]
        absent = sorted(set(layers) - set(self.header.layers) - set(self.header.mean_layers))
        if absent:
            raise ActivationsError(f"{path}: holds layers {self.header.layers}, not {absent}; add them to the capture.")
        if dataset_sha256 is not None and dataset_sha256 != self.header.dataset_sha256:
            raise ActivationsError(
                f"{path}: was read from another version of dataset {self.header.dataset}; delete it to make it again."
            )
        for name, expected in facts.items():
            if getattr(self.header, name) != expected:
                raise ActivationsError(f"{path}: has {name} {getattr(self.header, name)!r}, not {expected!r}.")
        return self

    def lengths(self) -> Tensor:
        """Rows stored of each example, int64 [n]."""
        return torch.cat([file.get_tensor("offsets").diff() for file in self._files])

    def layer(self, layer: int) -> Tensor:
        """All rows of one layer, [rows, width], mapped where there is one file."""
        parts = [file.get_tensor(f"layer_{layer}") for file in self._files]
        return parts[0] if len(parts) == 1 else torch.cat(parts)

    def means(self, layer: int) -> Tensor:
        """The mean over each example's kept tokens at one layer, float32 [n, width]; zeros where none is kept.

        Taken from the file where it holds them, computed from the rows of the layer where it does not.
        """
        if layer in self.header.mean_layers:
            return torch.cat([file.get_tensor(f"mean_{layer}") for file in self._files])
        if self.header.store in ("positions", "spans"):
            raise ActivationsError(
                f"{self.paths[0]}: holds chosen {self.header.store}, and no mean over tokens of layer {layer}."
            )
        lengths = self.lengths()
        parts = self.layer(layer).split(lengths.tolist())
        return torch.stack([part.float().mean(0) if len(part) else torch.zeros(self.header.width) for part in parts])

    def with_span(self, name: str) -> list[bool]:
        """Whether each example has a span."""
        rows, there = self._span_rows(name), (self.index("positions") >= 0).tolist()
        return [row is not None and there[row] for row in rows]

    def span(self, layer: int, name: str, examples: Sequence[int]) -> Tensor:
        """The mean over a span's tokens at one layer, float32 [examples, width], of examples that have the span."""
        there, rows = self.with_span(name), self._span_rows(name)
        absent = [self.example_ids[i] for i in examples if not there[i]]
        if absent:
            raise ActivationsError(f"{self.paths[0]}: {len(absent)} examples have no {name}, first {absent[0]}.")
        return self.layer(layer)[[rows[i] for i in examples]]

    def _span_rows(self, name: str) -> list[int | None]:
        """The row of each example's span; None for an example without rows."""
        if name not in self.header.spans:
            held = ", ".join(self.header.spans) or "none"
            raise ActivationsError(
                f"{self.paths[0]}: holds no span {name}, but {held}; add it to the `spans` of the capture."
            )
        lengths, at = self.lengths(), self.header.spans.index(name)
        starts = lengths.cumsum(0) - lengths
        return [s + at if n else None for s, n in zip(starts.tolist(), lengths.tolist(), strict=True)]

    def log_probs(self) -> Tensor:
        """The log-probability of each row's token, float32 [rows]; see the head of this file."""
        if not self.header.log_probs:
            raise ActivationsError(
                f"{self.paths[0]}: holds no log-probabilities of tokens; set `log_probs: true` in the capture."
            )
        return self.index("log_probs")

    def index(self, name: str) -> Tensor:
        """One of token_ids, positions, roles: [rows]; of n_tokens, status: [n]; or any other tensor by its name."""
        return torch.cat([file.get_tensor(name) for file in self._files])


def join(parts: Sequence[Path], path: Path, header: Header, made: Mapping[str, Any]) -> None:
    """Write one file of the examples of several, in their order, as `header` describes the whole."""
    files = [Activations([part]) for part in parts]
    lengths = (length for file in files for length in file.lengths().tolist())
    draft, first = Draft(path, header, [0, *accumulate(lengths)], made), 0
    for file in files:
        draft.put_file(first, file)
        first += len(file.example_ids)
    draft.flush()


def _header(path: Path) -> Header:
    if not path.exists():
        raise ActivationsError(f"{path}: no such file.")
    raw = safetensors_header(path).get("__metadata__", {})
    if "capture" not in raw:
        raise ActivationsError(f"{path}: is not an activations file.")
    try:
        return Header(**json.loads(raw["capture"]))
    except TypeError:
        raise ActivationsError(
            f"{path}: was written by another version of candor; delete it to make it again."
        ) from None


def _refuse_mixture(paths: Sequence[Path], headers: Sequence[Header]) -> None:
    own = {"shard", "example_ids", "sample_indices"}
    for path, header in zip(paths, headers, strict=True):
        for name, value in asdict(header).items():
            if name not in own and value != getattr(headers[0], name):
                first = f"{paths[0]} has {getattr(headers[0], name)!r}"
                raise ActivationsError(f"{path}: has {name} {value!r}, but {first}; shards must match.")
    shards = [parse_shard(header.shard) for header in headers]
    if shards != [(index, len(shards)) for index in range(len(shards))]:
        raise ActivationsError(
            f"{paths[0]}: {', '.join(header.shard for header in headers)} are not all shards of one dataset in order."
        )
