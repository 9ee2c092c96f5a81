"""Agreement beyond chance of two judges and of more, with intervals over groups of texts."""

from collections.abc import Sequence

import numpy as np

from candor.metrics import intervals
from candor.metrics.intervals import Estimate
from candor.metrics.points import Floats
from candor.metrics.rates import NOTHING, Draws, Quantity, prompt_weights, quantity

ONE_CLASS = "undefined: one class only"


def cohen_kappa(one: Sequence[str], other: Sequence[str], groups: Sequence[str], draws: Draws) -> Quantity:
    """Cohen's kappa of two judges' verdicts [n] on texts in groups [n]; undefined where one of them has one verdict.

    Agreement beyond what their own shares of each verdict would give by chance, over the most that is possible beyond
    it (Cohen 1960, Educational and Psychological Measurement 20, 37-46). A judge that says the same throughout agrees
    with any other exactly as often as chance would have it: the formula gives 0, whatever the other says, or 0/0 where
    that one does the same.
    """
    n, n_groups = len(one), len(set(groups))
    if not n:
        return Quantity(None, None, None, 0, 0, NOTHING)
    if len(set(one)) == 1 or len(set(other)) == 1:
        return Quantity(None, None, None, n, n_groups, ONE_CLASS)
    classes = sorted({*one, *other})
    first, second = (
        np.array([[verdict == name for name in classes] for verdict in side], dtype=float) for side in (one, other)
    )
    value = float(_of_two(first, second, np.ones((1, n)))[0])
    return _with_interval(value, _of_two(first, second, prompt_weights(groups, draws)), n, n_groups)


def fleiss_kappa(verdicts: Sequence[Sequence[str]], groups: Sequence[str], draws: Draws) -> Quantity:
    """Fleiss' kappa of texts [n], each with the verdicts of all judges; undefined where there is one verdict only.

    The share of agreeing pairs of verdicts on a text, beyond that of pairs drawn from all verdicts, over the most that
    is possible beyond it: with n_ij of m verdicts on text i in class j,
    P_i = (sum_j n_ij^2 - m) / (m (m - 1)), p_j the mean of n_ij / m, P_e = sum_j p_j^2, and
    kappa = (mean P_i - P_e) / (1 - P_e) (Fleiss 1971, Psychological Bulletin 76, 378-382).
    """
    n, n_groups = len(verdicts), len(set(groups))
    if not n:
        return Quantity(None, None, None, 0, 0, NOTHING)
    classes = sorted({verdict for text in verdicts for verdict in text})
    if len(classes) == 1:
        return Quantity(None, None, None, n, n_groups, ONE_CLASS)
    counts = np.array([[text.count(name) for name in classes] for text in map(list, verdicts)], dtype=np.float64)
    value = float(_of_all(counts, np.ones((1, n)))[0])
    return _with_interval(value, _of_all(counts, prompt_weights(groups, draws)), n, n_groups)


def _of_all(counts: Floats, weights: Floats) -> Floats:
    """Kappa in each draw [draws], of verdicts by class [n, classes]; nan where a draw has one class only."""
    judges, total = counts[0].sum(), weights.sum(axis=1)
    agreed = weights @ ((counts**2).sum(axis=1) - judges) / (total * judges * (judges - 1))
    by_chance = ((weights @ counts / (total * judges)[:, None]) ** 2).sum(axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        found: Floats = np.where(by_chance < 1, (agreed - by_chance) / (1 - by_chance), np.nan)
    return found


def _of_two(first: Floats, second: Floats, weights: Floats) -> Floats:
    """Kappa in each draw [draws], of verdicts one-hot [n, classes]; nan where one class is all that a draw has."""
    total = weights.sum(axis=1)
    agreed = weights @ (first * second).sum(axis=1) / total
    by_chance = ((weights @ first) * (weights @ second)).sum(axis=1) / total**2
    with np.errstate(invalid="ignore", divide="ignore"):
        found: Floats = np.where(by_chance < 1, (agreed - by_chance) / (1 - by_chance), np.nan)
    return found


def _with_interval(value: float, drawn: Floats, n: int, n_groups: int) -> Quantity:
    """A kappa with the interval of its draws [draws]; one of exactly 1 has no spread, and room below instead."""
    below = intervals.room(value, n_groups)[0] if value == 1 else 0.0
    found = Estimate(value, drawn, np.zeros(len(drawn)), (), n_groups - 1, below, 0.0)
    return quantity(value, intervals.difference_interval(found), n, n_groups)
