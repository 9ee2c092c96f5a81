"""From ragged projections to scores: by a family's own way through the rows, or padded here, in blocks, and masked."""

from types import ModuleType
from typing import Any

import torch
from torch import Tensor

from candor.probes.features import Features
from candor.probes.texts import Texts, WithGradient

ROWS = 1024
"""Rows that a family with a `score_rows` is given at a time."""
PADDED_TOGETHER = 16
"""Examples of about the same length, so that padding stays small."""


def projections_of(family: ModuleType, probe: Any) -> int:
    """How many projections of each token a family reads: fixed, or by its config where it has `projections(probe)`."""
    found = family.projections(probe) if hasattr(family, "projections") else family.PROJECTIONS
    return int(found)


def scoring_of(family: ModuleType, probe: Any) -> int:
    """How many projections, the first ones, carry a score: a shift of each shifts the score by as much."""
    return int(family.scoring(probe)) if hasattr(family, "scoring") else 1


def mean_rows(features: Features) -> Features:
    """One row for each example: the mean of its rows."""
    parts = features.x.split(features.lengths.tolist())
    return Features(torch.stack([part.mean(0) for part in parts]), torch.ones_like(features.lengths))


def mean_by_example(values: Tensor, lengths: Tensor) -> Tensor:
    """The mean [n, …] over each example's rows of values [rows, …]; lengths int64 [n] are their numbers."""
    owner = torch.repeat_interleave(lengths)
    total = values.new_zeros(len(lengths), *values.shape[1:]).index_add(0, owner, values)
    return total / lengths.view(-1, *[1] * (values.dim() - 1)).to(values.dtype)


def pool_rows(z: Tensor, texts: Texts, family: ModuleType, probe: Any, width: int) -> WithGradient:
    """Scores [p, n] of z [projections, p, rows], and the way back from their gradient to that of z.

    By the family's own `pool_rows`, or by autograd through its `pool`, for examples of about the same length at a time.
    """
    if hasattr(family, "pool_rows"):
        found: WithGradient = family.pool_rows(z, texts, probe, width)
        return found
    z = z.detach().requires_grad_()
    pooled = []
    with torch.enable_grad():
        for rows, lengths in texts.runs(PADDED_TOGETHER):
            mask = torch.arange(int(lengths.max())) < lengths[:, None]
            padded = z.new_zeros(*z.shape[:2], mask.numel())
            padded = padded.index_copy(2, mask.flatten().nonzero().squeeze(1), z[:, :, rows])
            given = padded.view(*z.shape[:2], *mask.shape).permute(2, 3, 0, 1)
            pooled.append(family.pool(given, mask, probe, width))
        scored = torch.cat(pooled).T
    return scored.detach(), lambda of_scores: torch.autograd.grad(scored, z, of_scores)[0]


def scores(features: Features, weight: Tensor, bias: Tensor, family: ModuleType, probe: Any) -> Tensor:
    """Scores [n, p] of one layer's examples.

    weight [projections, width, p] and bias [p], in the dtype of the features.
    """
    if hasattr(family, "score_rows"):
        rows = [family.score_rows(block, weight) for block in features.x.split(ROWS)]
        return mean_by_example(torch.cat(rows), features.lengths) + bias
    projections, width, problems = weight.shape
    # as linear() of contiguous rows of weights, for so few of them a third of the time of x @ columns; the layout also
    # decides how autograd forms the weights' gradient
    z = torch.nn.functional.linear(features.x, weight.transpose(1, 2).contiguous().view(-1, width))
    lengths = features.lengths
    longest = int(lengths.max())
    mask = torch.arange(longest, device=z.device)[None, :] < lengths[:, None]
    padded = z.new_zeros(len(lengths) * longest, projections * problems)
    padded = padded.index_copy(0, mask.flatten().nonzero().squeeze(1), z)
    pooled: Tensor = family.pool(padded.view(len(lengths), longest, projections, problems), mask, probe, width)
    return pooled + bias


def scores_in_blocks(
    features: Features, weight: Tensor, bias: Tensor, family: ModuleType, probe: Any, examples: int = 256
) -> Tensor:
    """`scores`, for so many examples at a time that padding stays small."""
    n = len(features.lengths)
    parts = [
        scores(features.block(start, min(start + examples, n)), weight, bias, family, probe)
        for start in range(0, n, examples)
    ]
    return torch.cat(parts)
