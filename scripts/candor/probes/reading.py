"""How training reads a layer's rows: scores of blocks of examples, and the way back from scores to weights.

Every step reads many activations and does little with them. So they are copied once, in the order in which training
takes them, and what is done with their projections is kept small.

- `Pooled` serves every family: projections, then the family's `pool` and its gradient. Its copy is in bfloat16 where
  this machine multiplies it fast and the rows are more than its caches hold; weights, pooling and AdamW are in float32.
- `Largest` serves families with `candidates`, whose score is the largest projection among these rows: only that row
  has a gradient. In float32, since a near tie's wrong winner makes worse probes.
- `Single` serves families with one candidate for each example.
"""

from collections.abc import Callable
from types import ModuleType
from typing import Any, NamedTuple

import torch
from torch import Tensor

from candor.hardware import auto_dtype
from candor.probes.features import Features
from candor.probes.pooling import mean_by_example

CACHED_BYTES = 32 * 2**20
"""What a CPU's caches hold: fewer rows are read fast enough in float32."""
PADDED_TOGETHER = 16
"""Examples of about the same length, so that padding stays small."""


class Scored(NamedTuple):
    """Scores [n, q] without the bias, and the way from their gradient [n, q] to that of the weight [k, q, width]."""

    scores: Tensor
    back: Callable[[Tensor], Tensor]


class _Chunk(NamedTuple):
    """Examples that are padded together: where their rows lie in the block, and the mask [n, t] of real places."""

    rows: slice
    mask: Tensor
    places: Tensor
    """Indices in [n * t] of the real places."""


class _Rows:
    """The rows of the examples `order`; if `low`, in bfloat16 and less a center, which keeps them small."""

    def __init__(self, features: Features, order: Tensor, center: Tensor, low: bool) -> None:
        self.shift = center if low else torch.zeros_like(center)
        self.lengths = features.lengths[order]
        self.bounds = [0, *self.lengths.cumsum(0).tolist()]
        self.x = torch.empty(self.bounds[-1], len(center), dtype=torch.bfloat16 if low else features.x.dtype)
        parts = features.x.split(features.lengths.tolist())
        for k, i in enumerate(order.tolist()):
            self.x[self.bounds[k] : self.bounds[k + 1]] = parts[i] - center if low else parts[i]
        self._chunks: dict[tuple[int, int], list[_Chunk]] = {}

    def block(self, start: int, stop: int) -> Tensor:
        return self.x[self.bounds[start] : self.bounds[stop]]

    def chunks(self, start: int, stop: int) -> list[_Chunk]:
        if (start, stop) not in self._chunks:
            found = []
            for first in range(start, stop, PADDED_TOGETHER):
                last = min(first + PADDED_TOGETHER, stop)
                lengths = self.lengths[first:last]
                mask = torch.arange(int(lengths.max()))[None, :] < lengths[:, None]
                rows = slice(self.bounds[first] - self.bounds[start], self.bounds[last] - self.bounds[start])
                found.append(_Chunk(rows, mask, mask.flatten().nonzero().squeeze(1)))
            self._chunks[start, stop] = found
        return self._chunks[start, stop]

    def project(self, start: int, stop: int, weight: Tensor) -> Tensor:
        """w·x of each row of a block, [k * q, rows], by weight [k, q, width]."""
        x, flat = self.block(start, stop), weight.flatten(0, 1)
        if x.dtype == flat.dtype:
            # as linear() of contiguous rows of weights, for so few of them a third of the time of x @ columns
            return torch.nn.functional.linear(x, flat).T
        return (flat.to(x.dtype) @ x.T).to(flat.dtype)  # in bfloat16 this way round is the fast one


class Pooled:
    """Scores by the family's `pool`."""

    def __init__(self, rows: _Rows, family: ModuleType, probe: Any, scoring: int) -> None:
        self.rows, self.family, self.probe, self.scoring = rows, family, probe, scoring

    def read(self, start: int, stop: int, weight: Tensor) -> Scored:
        """Scores of examples start to stop by weight [k, q, width]."""
        k, q, width = weight.shape
        shift, z = self.rows.shift, self.rows.project(start, stop, weight)
        chunks, padded, pooled = self.rows.chunks(start, stop), [], []
        for chunk in chunks:
            n, longest = chunk.mask.shape
            places = z.new_zeros(k * q, n * longest)
            places[:, chunk.places] = z[:, chunk.rows]
            places.requires_grad_()
            with torch.enable_grad():
                given = places.view(k, q, n, longest).permute(2, 3, 0, 1)
                pooled.append(self.family.pool(given, chunk.mask, self.probe, width))
            padded.append(places)
        scoring = weight[: self.scoring].sum(0)

        def back(of_scores: Tensor) -> Tensor:
            of_places = torch.autograd.grad(pooled, padded, of_scores.split([len(each.mask) for each in chunks]))
            of_z = torch.cat([of[:, chunk.places] for of, chunk in zip(of_places, chunks, strict=True)], 1)
            x = self.rows.block(start, stop)
            found = (of_z.to(x.dtype) @ x).to(weight.dtype).view(k, q, width)
            found[: self.scoring] += of_scores.sum(0)[:, None] * shift
            return found

        return Scored(torch.cat(pooled).detach() + scoring @ shift, back)


class Largest:
    """The sum over projections of the largest one among an example's candidates."""

    def __init__(self, rows: _Rows) -> None:
        self.rows, self.starts = rows, torch.tensor(rows.bounds[:-1])

    def read(self, start: int, stop: int, weight: Tensor) -> Scored:
        """Scores of examples start to stop by weight [k, q, width]."""
        k, q, width = weight.shape
        z, best = self.rows.project(start, stop, weight), []
        for chunk in self.rows.chunks(start, stop):
            n, longest = chunk.mask.shape
            places = z.new_full((k * q, n * longest), float("-inf"))
            places[:, chunk.places] = z[:, chunk.rows]
            best.append(places.view(k * q, n, longest).argmax(2))
        at = torch.cat(best, 1) + self.starts[start:stop]
        x = self.rows.x.index_select(0, at.flatten()).view(k, q, stop - start, width)
        scores = (x @ weight[..., None]).squeeze(3).sum(0).T
        return Scored(scores, lambda of_scores: (of_scores.T[None, :, None] @ x).squeeze(2))


class Single:
    """The sum over projections of an example's only row."""

    def __init__(self, candidates: Features, order: Tensor) -> None:
        self.x = candidates.x[order]

    def read(self, start: int, stop: int, weight: Tensor) -> Scored:
        """Scores of examples start to stop by weight [k, q, width]."""
        x = self.x[start:stop]
        scores = torch.nn.functional.linear(x, weight.sum(0))
        return Scored(scores, lambda of_scores: (of_scores.T @ x).expand(weight.shape))


class TokenRows:
    """Every row of the examples `order`, less `shift` [width], and the mean over each example's rows."""

    def __init__(self, features: Features, order: Tensor, shift: Tensor) -> None:
        self._rows = _Rows(features, order, shift, low=False)
        self._rows.x -= shift
        self.block = self._rows.block

    def average(self, start: int, stop: int, values: Tensor) -> Tensor:
        """The mean [n, …] over each of the examples start to stop of values [rows, …] of their rows."""
        return mean_by_example(values, self._rows.lengths[start:stop])


Reader = Pooled | Largest | Single


def rows_of(features: Features, family: ModuleType, probe: Any) -> Features:
    """The rows that training reads: the family's candidates where it has some."""
    found: Features = family.candidates(features, probe) if hasattr(family, "candidates") else features
    return found


def reader(rows: Features, order: Tensor, center: Tensor, family: ModuleType, probe: Any, scoring: int) -> Reader:
    """A reader of the examples `order` of `rows_of`; center [width] is somewhere in the middle of the rows.

    The first `scoring` projections carry the score: a shift of them shifts it.
    """
    if not hasattr(family, "candidates"):
        dtype = auto_dtype("cpu") if probe.dtype == "auto" else probe.dtype
        low = rows.x.numel() * rows.x.element_size() > CACHED_BYTES and dtype == "bfloat16"
        return Pooled(_Rows(rows, order, center, low), family, probe, scoring)
    if bool((rows.lengths == 1).all()):
        return Single(rows, order)
    return Largest(_Rows(rows, order, center, False))
