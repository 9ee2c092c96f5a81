"""Point values of metrics, from scores and labels: what a monitor's ranking and its probabilities are worth.

Scores are float [n], labels bool [n] (true: positive), weights count how often each example is taken, [n] or, for the
bootstrap, [draws, n]. A metric that is undefined (one class only, no example) is nan. Every function of a ranking goes
through `counts`, so that a point value and its draws are computed by the same lines.
"""

from collections.abc import Iterator
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]
Weights = Floats | npt.NDArray[np.int64]
Rule = Literal["at_most", "nearest"]

SLACK = 1e-9
"""Share of an example by which target x n may be missed: .29 x 100 is 28.999999999999996 in floating point."""
_CELLS = 1 << 14
"""Cells of draws x examples that are ranked at a time: arrays of 128 KB stay in a core's cache."""


class Counts(NamedTuple):
    """Examples flagged at each threshold, highest first: float [draws, thresholds + 1], from none to all flagged."""

    true_positives: Floats
    false_positives: Floats


class Curve(NamedTuple):
    """A ROC curve: [points], from (0, 0) to (1, 1). A point flags the scores >= its threshold; the first is inf."""

    fpr: Floats
    tpr: Floats
    threshold: Floats


class RankMetrics(NamedTuple):
    """Metrics of a ranking, one value per draw: float [draws]."""

    auroc: Floats
    tpr_at_fpr: Floats
    tpr_at_fpr_nearest: Floats
    tpr_at_5_fpr: Floats
    realised_fpr: Floats


def counts(score: Floats, label: Bools, weights: Weights) -> Counts:
    """Weighted numbers of true and false positives at every distinct score; equal scores are flagged together."""
    order = np.argsort(-score, kind="stable")
    descending = score[order]
    last = np.flatnonzero(np.append(descending[1:] != descending[:-1], True))
    sorted_weights = np.asarray(weights, dtype=np.float64)[:, order]
    positive = np.where(label[order], sorted_weights, 0.0)
    return Counts(*(_cumulative(part, last) for part in (positive, sorted_weights - positive)))


def _cumulative(weights: Floats, last: npt.NDArray[np.intp]) -> Floats:
    running = np.zeros((weights.shape[0], len(last) + 1))
    running[:, 1:] = np.cumsum(weights, axis=1)[:, last]
    return running


def auroc(score: Floats, label: Bools, weight: Weights | None = None) -> float:
    """Area under the ROC curve: the share of pairs in which the positive scores higher, ties counting half."""
    return float(auroc_weighted(score, label, _one_draw(score, weight))[0])


def auroc_weighted(score: Floats, label: Bools, weights: Weights) -> Floats:
    """AUROC of each draw; O(draws x n) after one sort. Weights [draws, n], result [draws]."""
    return np.concatenate([_auroc(counts(score, label, chunk)) for chunk in _chunks(weights)])


def tpr_at_fpr(
    score: Floats, label: Bools, target: float, rule: Rule = "at_most", weight: Weights | None = None
) -> float:
    """True positive rate at a false positive rate.

    at_most: the highest TPR whose FPR is at most `target`. nearest: TPR at the first point of the ROC curve whose FPR
    is nearest to `target`, as the stakes paper's code takes it; the point can lie above `target`, and with fewer than
    1/(2 target) negatives it is the curve's start, where TPR is 0.
    """
    found = counts(score, label, _one_draw(score, weight))
    return float((_at_most(found, target)[0] if rule == "at_most" else _nearest(found, target))[0])


def rank_metrics(score: Floats, label: Bools, weights: Weights, target: float) -> RankMetrics:
    """All metrics of a ranking at once, for each draw. Weights [draws, n]; `target` is the FPR of `tpr_at_fpr`."""
    chunks = []
    for chunk in _chunks(weights):
        found = counts(score, label, chunk)
        tpr, fpr = _at_most(found, target)
        chunks.append((_auroc(found), tpr, _nearest(found, target), _at_most(found, 0.05)[0], fpr))
    return RankMetrics(*(np.concatenate(column) for column in zip(*chunks, strict=True)))


def roc_curve(score: Floats, label: Bools, weight: Weights | None = None) -> Curve:
    """The ROC curve's points; nan rates where a class is absent."""
    found = counts(score, label, _one_draw(score, weight))
    tpr, fpr = (_share(part, part[:, -1:])[0] for part in found)
    return Curve(fpr, tpr, np.append(np.inf, np.unique(score)[::-1]))


def threshold_at_fpr(control_scores: Floats, target: float) -> float:
    """The smallest t with a share of at most `target` of the benign scores above it; flag what scores > t."""
    if not len(control_scores):
        return float("nan")
    allowed = int(np.floor(target * len(control_scores) + SLACK))
    return float(np.sort(control_scores)[::-1][allowed]) if allowed < len(control_scores) else float("-inf")


def share_weighted(hit: Bools, weights: Weights) -> Floats:
    """Weighted share of hits [n] in each draw, nan in a draw without examples. Weights [draws, n], result [draws]."""
    cast = np.asarray(weights, dtype=np.float64)
    return _share(cast @ hit, cast.sum(axis=1))


def accuracy(probability: Floats, label: Bools) -> float:
    """Share of examples on the right side of a probability of one half."""
    return _mean((probability > 0.5) == label)


def brier(probability: Floats, label: Bools) -> float:
    """Brier score: mean squared distance of the probability from 1 (positive) or 0 (negative)."""
    return _mean((probability - label) ** 2)


def ece(probability: Floats, label: Bools, bins: int = 10) -> float:
    """Expected calibration error: mean over examples of |mean probability - share of positives| of their bin.

    Bins are of equal width over [0, 1]; a border belongs to the bin above it, 1 to the last bin.
    """
    bin_of = np.minimum((probability * bins).astype(int), bins - 1)
    excess = np.bincount(bin_of, weights=probability - label, minlength=bins)
    return float(np.abs(excess).sum() / len(label)) if len(label) else float("nan")


def _auroc(found: Counts) -> Floats:
    tp, fp = found
    area = np.einsum("bk,bk->b", fp[:, 1:] - fp[:, :-1], tp[:, 1:] + tp[:, :-1]) / 2
    return _share(area, tp[:, -1] * fp[:, -1])


def _at_most(found: Counts, target: float) -> tuple[Floats, Floats]:
    """TPR and FPR of the last threshold whose FPR is at most `target`."""
    fp = found.false_positives
    # FP grows with k, so the number of thresholds within the target is the index after the last of them.
    last = (fp <= target * fp[:, -1:] + SLACK).sum(axis=1) - 1
    return _point(found, last)


def _nearest(found: Counts, target: float) -> Floats:
    """TPR of the first point nearest to `target` on the curve that scikit-learn's roc_curve gives by default.

    That curve leaves out thresholds between two equal steps, which can be the nearest ones; the paper's numbers are so.
    """
    tp, fp = found
    distance = np.abs(_share(fp, fp[:, -1:]) - target)
    distance[:, 2:-1][~_bends(tp) & ~_bends(fp)] = np.inf
    return _point(found, np.argmin(distance, axis=1))[0]


def _bends(running: Floats) -> Bools:
    """Whether the step into each threshold differs from the step out of it; the first and the last are left out."""
    return np.asarray(np.diff(running[:, 1:], n=2) != 0)


def _point(found: Counts, at: npt.NDArray[np.intp]) -> tuple[Floats, Floats]:
    """TPR and FPR at one threshold per draw; both nan where a class is absent."""
    rows = np.arange(len(at))
    tpr, fpr = (_share(part[rows, at], part[:, -1]) for part in found)
    return np.where(np.isnan(fpr), np.nan, tpr), np.where(np.isnan(tpr), np.nan, fpr)


def _share(part: Floats, whole: Floats) -> Floats:
    part, whole = np.broadcast_arrays(part, whole)
    return np.asarray(np.divide(part, whole, out=np.full(part.shape, np.nan), where=whole > 0))


def _mean(values: Floats | Bools) -> float:
    return float(np.mean(values)) if len(values) else float("nan")


def _one_draw(score: Floats, weight: Weights | None) -> Floats:
    return (np.ones(len(score)) if weight is None else np.asarray(weight, dtype=np.float64))[None, :]


def _chunks(weights: Weights) -> Iterator[Weights]:
    rows = max(1, _CELLS // max(1, weights.shape[1]))
    for start in range(0, weights.shape[0], rows):
        yield weights[start : start + rows]
