"""How training reads a layer's rows: scores of blocks of examples, and the way back from scores to weights.

Every step reads many activations and does little with them. So they are copied once, in the order in which training
takes them, and the first two kinds of reader do so in bfloat16 where this machine multiplies it fast and the rows are
more than its caches hold. What is done with their projections is kept small. Weights, pooling and AdamW are in float32.

- `Pooled` serves every family with a `pool`: projections, then their pooling and its gradient.
- `Largest` serves families with `candidates`, whose score is the largest projection among these rows: the copy tells
  which row that is, and only that row, as it was given, makes the score and has a gradient.
- `Single` serves families with one candidate for each example.
- `TokenRows` gives a network every row.
"""

from collections.abc import Callable
from types import ModuleType
from typing import Any, NamedTuple

import torch
from torch import Tensor

from candor.hardware import auto_dtype
from candor.probes.features import Features
from candor.probes.pooling import mean_by_example, pool_rows
from candor.probes.texts import Texts

CACHED_BYTES = 32 * 2**20
"""What a CPU's caches hold: fewer rows are read fast enough in float32."""


class Scored(NamedTuple):
    """Scores [n, q] without the bias, and the way from their gradient [n, q] to that of the weight [k, q, width]."""

    scores: Tensor
    back: Callable[[Tensor], Tensor]


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
        self._texts: dict[tuple[int, int], Texts] = {}

    def block(self, start: int, stop: int) -> Tensor:
        return self.x[self.bounds[start] : self.bounds[stop]]

    def texts(self, start: int, stop: int) -> Texts:
        if (start, stop) not in self._texts:
            self._texts[start, stop] = Texts(self.lengths[start:stop])
        return self._texts[start, stop]

    def project(self, start: int, stop: int, weight: Tensor) -> Tensor:
        """w·x of each row of a block, [k, q, rows], by weight [k, q, width]."""
        x, flat = self.block(start, stop), weight.flatten(0, 1)
        if x.dtype == flat.dtype:
            # as linear() of contiguous rows of weights, for so few of them a third of the time of x @ columns
            found = torch.nn.functional.linear(x, flat).T.contiguous()
        else:
            found = (flat.to(x.dtype) @ x.T).to(flat.dtype)  # in bfloat16 this way round is the fast one
        return found.view(*weight.shape[:2], -1)


class Pooled:
    """Scores by the family's pooling."""

    def __init__(self, rows: _Rows, family: ModuleType, probe: Any, scoring: int) -> None:
        self.rows, self.family, self.probe, self.scoring = rows, family, probe, scoring

    def read(self, start: int, stop: int, weight: Tensor) -> Scored:
        """Scores of examples start to stop by weight [k, q, width]."""
        z, texts = self.rows.project(start, stop, weight), self.rows.texts(start, stop)
        scores, way = pool_rows(z, texts, self.family, self.probe, weight.shape[2])
        shift, scoring = self.rows.shift, weight[: self.scoring].sum(0)

        def back(of_scores: Tensor) -> Tensor:
            x = self.rows.block(start, stop)
            of_z = way(of_scores.T.contiguous()).flatten(0, 1)
            # laid out as [rows, k * q]: a tenth faster in bfloat16
            of_z = of_z.new_empty(of_z.shape[::-1], dtype=x.dtype).copy_(of_z.T)
            found = (of_z.T @ x).to(weight.dtype).view_as(weight)
            found[: self.scoring] += of_scores.sum(0)[:, None] * shift
            return found

        return Scored(scores.T + scoring @ shift, back)


class Largest:
    """The sum over projections of the largest one among an example's candidates."""

    def __init__(self, rows: _Rows, candidates: Features, order: Tensor) -> None:
        self.rows, self.candidates = rows, candidates.x
        starts = (candidates.lengths.cumsum(0) - candidates.lengths)[order]
        # from a row of the copy to that of the candidates
        self.moved = starts - torch.tensor(rows.bounds[:-1])

    def read(self, start: int, stop: int, weight: Tensor) -> Scored:
        """Scores of examples start to stop by weight [k, q, width]."""
        z, texts = self.rows.project(start, stop, weight), self.rows.texts(start, stop)
        at = texts.argmax(z) + self.moved[start:stop] + self.rows.bounds[start]
        x = self.candidates.index_select(0, at.flatten()).view(*at.shape, -1)
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
    if hasattr(family, "candidates") and bool((rows.lengths == 1).all()):
        return Single(rows, order)
    dtype = auto_dtype("cpu") if probe.dtype == "auto" else probe.dtype
    low = rows.x.numel() * rows.x.element_size() > CACHED_BYTES and dtype == "bfloat16"
    copied = _Rows(rows, order, center, low)
    return Largest(copied, rows, order) if hasattr(family, "candidates") else Pooled(copied, family, probe, scoring)
