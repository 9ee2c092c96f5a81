"""Are probabilities what they say? Reliability, calibration error and Brier score by draw, and two recalibrations.

Probabilities are float [n] or, of several seeds, [seeds, n], labels bool [n] (true: positive), weights [draws, n] as in
points.py. Bins are of equal width over [0, 1]; a border belongs to the bin above it, 1 to the last bin.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from candor.metrics.intervals import Sample
from candor.metrics.points import Bools, Floats

Calibrator = Callable[[Floats], Floats]
"""Probabilities of scores, of any shape; nan where the score is."""


class Bin(NamedTuple):
    """The examples of one bin, met once under each seed: which they are, [seeds, n], and their mean probability."""

    held: Bools
    predicted: float


def platt(score: Floats, label: Bools) -> Calibrator:
    """A logistic curve through scores [n] of both classes, with the smoothed targets of Platt (1999).

    The targets are (N+ + 1) / (N+ + 2) for the positives and 1 / (N- + 2) for the negatives, which keeps the curve from
    becoming a step where the scores separate the classes.
    """
    from sklearn.linear_model import LogisticRegression

    n_positive, n_negative = int(label.sum()), int((~label).sum())
    target = np.where(label, (n_positive + 1) / (n_positive + 2), 1 / (n_negative + 2))
    centre, scale = float(score.mean()), float(score.std()) or 1.0
    x = ((score - centre) / scale)[:, None]
    # an example of target t is a positive of weight t and a negative of weight 1 - t
    both = np.repeat([True, False], len(score))
    fitted = LogisticRegression(C=np.inf, tol=1e-8, max_iter=1000).fit(
        np.concatenate([x, x]), both, sample_weight=np.concatenate([target, 1 - target])
    )
    slope, intercept = float(fitted.coef_[0, 0]), float(fitted.intercept_[0])

    def probability(scores: Floats) -> Floats:
        log_odds = slope * (scores - centre) / scale + intercept
        return np.asarray(1 / (1 + np.exp(-np.clip(log_odds, -700, 700))))

    return probability


def isotonic(score: Floats, label: Bools) -> Calibrator:
    """The rising steps that are nearest to the labels of scores [n], with straight lines between; flat beyond them."""
    from sklearn.isotonic import IsotonicRegression

    fitted = IsotonicRegression(y_min=0, y_max=1, out_of_bounds="clip").fit(score, label.astype(np.float64))

    def probability(scores: Floats) -> Floats:
        found = np.full(scores.shape, np.nan)
        known = np.isfinite(scores)
        found[known] = fitted.predict(scores[known])
        return found

    return probability


def bins_of(probability: Floats, bins: int) -> npt.NDArray[np.intp]:
    """The bin of each probability, from 0."""
    return np.minimum((probability * bins).astype(np.intp), bins - 1)


def ece_weighted(probability: Floats, label: Bools, weights: Floats, bins: int) -> Floats:
    """Expected calibration error of each draw [draws]: sum over bins of |sum of (probability - label)| / n.

    It is the mean over examples of how far their bin's mean probability is from its share of positives. With few
    examples it is above 0 even for a calibrated monitor, since shares of a few scatter.
    """
    of_bin = np.eye(bins)[bins_of(probability, bins)] * (probability - label)[:, None]
    return np.asarray(np.abs(weights @ of_bin).sum(axis=1) / weights.sum(axis=1))


def brier_weighted(probability: Floats, label: Bools, weights: Floats) -> Floats:
    """Brier score of each draw [draws]: mean squared distance of the probability from 1 (positive) or 0 (negative)."""
    return np.asarray(weights @ (probability - label) ** 2 / weights.sum(axis=1))


def by_seed(
    metric: Callable[[Floats, Bools, Floats], Floats],
    probability: Floats,
    label: Bools,
    groups: npt.NDArray[np.intp],
    weights: Floats,
) -> Sample:
    """The sample of `ece_weighted` or `brier_weighted`, whose first draw is all examples: probabilities [seeds, n]."""
    values = np.stack([metric(each, label, weights) for each in probability], axis=1)
    n_groups = len(np.unique(groups))
    return Sample(values[0], values[1:], n_groups, n_groups)


def filled_bins(probability: Floats, bins: int) -> list[Bin]:
    """The bins that hold any of the probabilities [seeds, n], in ascending order."""
    of = bins_of(probability, bins)
    return [Bin(of == k, float(probability[of == k].mean())) for k in range(bins) if (of == k).any()]


def mean_in_bin(bin: Bin, value: Floats, groups: npt.NDArray[np.intp], weights: Floats) -> Sample | None:
    """The mean of values [n] in [0, 1] over a bin's examples of all seeds; nan values do not count, None if all are so.

    An example counts as often as seeds put it into the bin. Between seeds the bin's examples differ in number, so that
    a seed's value is the mean plus what it adds to it to first order (the linearised ratio of sum and number).
    """
    known = np.isfinite(value)
    held = bin.held & known
    times = held.sum(axis=0)
    if not times.any():
        return None
    filled = np.where(known, value, 0.0)
    sums, numbers = held @ filled, held.sum(axis=1)
    mean = sums.sum() / numbers.sum()
    values = mean + (sums - mean * numbers) / numbers.mean()
    n_groups, whole = len(np.unique(groups[times > 0])), weights[1:] @ times
    draws = np.divide(weights[1:] @ (times * filled), whole, out=np.full(len(whole), np.nan), where=whole > 0)
    return Sample(values, draws[:, None], n_groups, n_groups)
