"""ROC curves as figures draw them: vertical averages over seeds, with a pointwise bootstrap band."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
GRID: Floats = np.unique(np.concatenate([[0.0], np.logspace(-4, 0, 201), np.linspace(0, 1, 101)]))
"""False positive rates at which a curve is taken: even on a linear and on a logarithmic axis."""
ROUNDING = 1e-9  # a rate of 3/300 must count as at most 0.01


class SeedScores(NamedTuple):
    """One seed's scores: score float64 [n], label bool [n], group int64 [n] (from 0, shared by seeds and monitors)."""

    score: Floats
    label: NDArray[np.bool_]
    group: NDArray[np.int64]


class Curve(NamedTuple):
    """TPR at the rates of GRID: mean over seeds, and the ends of its pointwise 95 % band; each float64 [len(GRID)]."""

    tpr: Floats
    low: Floats
    high: Floats


def mean_curve(seeds: Sequence[SeedScores], groups: int, draws: int, seed: int) -> Curve:
    """The vertical average over seeds, with a band over draws of groups and of seeds, both with replacement.

    The same `seed` and `groups` give the same draws of groups, so that two monitors stand on the same samples. A draw
    that loses a class has no curve and does not count for the band.
    """
    sorted_seeds = [_sorted(scores) for scores in seeds]
    tpr = np.mean([_tpr(scores, np.ones(groups)) for scores in sorted_seeds], axis=0)
    group_rng, seed_rng = (np.random.default_rng([seed, stream]) for stream in (0, 1))
    resampled = np.full((draws, len(GRID)), np.nan)
    for draw in range(draws):
        weights = np.bincount(group_rng.integers(groups, size=groups), minlength=groups).astype(np.float64)
        chosen = np.bincount(seed_rng.integers(len(seeds), size=len(seeds)), minlength=len(seeds))
        resampled[draw] = sum(k * _tpr(scores, weights) for scores, k in zip(sorted_seeds, chosen, strict=True) if k)
        resampled[draw] /= len(seeds)
    resampled = resampled[~np.isnan(resampled).any(axis=1)]
    if not len(resampled):
        return Curve(tpr, tpr, tpr)
    low, high = np.percentile(resampled, [2.5, 97.5], axis=0)
    return Curve(tpr, low, high)


class _Sorted(NamedTuple):
    label: NDArray[np.bool_]
    group: NDArray[np.int64]
    ends: NDArray[np.int64]  # last place of each run of equal scores: a threshold cannot part equal scores


def _sorted(scores: SeedScores) -> _Sorted:
    order = np.argsort(-scores.score, kind="stable")
    descending = scores.score[order]
    ends = np.flatnonzero(np.append(descending[1:] != descending[:-1], True))
    return _Sorted(scores.label[order], scores.group[order], ends)


def _tpr(scores: _Sorted, weights: Floats) -> Floats:
    """The highest TPR whose FPR is at most each rate of GRID, groups counted by weight; nan without both classes."""
    weight = weights[scores.group]
    hits = np.append(0.0, np.cumsum(weight * scores.label)[scores.ends])
    alarms = np.append(0.0, np.cumsum(weight * ~scores.label)[scores.ends])
    if hits[-1] == 0 or alarms[-1] == 0:
        return np.full(len(GRID), np.nan)
    last = np.searchsorted(alarms / alarms[-1], GRID + ROUNDING, side="right") - 1
    tpr: Floats = hits[last] / hits[-1]
    return tpr
