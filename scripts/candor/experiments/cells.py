"""Values of a monitor on examples of several classes, with intervals over groups, as rows of the cell table.

An example counts once, however many tokens of it were read; whole groups are drawn, the same for all monitors of the
examples, so that their differences are paired.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, cast

import numpy as np

from candor.experiments.resampling import ONE_CLASS, ONE_GROUP
from candor.metrics.intervals import (
    Estimate,
    Sample,
    SeedTerm,
    difference,
    difference_interval,
    group_weights,
    independent_pairs,
    mean_estimate,
    rng_of,
    share_interval,
)
from candor.metrics.points import Bools, Floats, auroc_weighted
from candor.schemas.metric import MACRO

NOTHING = "no example"


class Found(NamedTuple):
    """A quantity on some examples: by run, or why there is none, and what it rests on."""

    sample: Sample | None
    n: int
    n_positive: int | None
    n_groups: int
    n_skipped: int
    remark: str | None = None


class Drawn:
    """Examples with class indices y int64 [n] and groups, and `draws` draws of whole groups that hold every class."""

    def __init__(self, y: np.ndarray, groups: Sequence[str], n_skipped: int, draws: int, seed: int, name: str) -> None:
        self.y, self.n_skipped = y, n_skipped
        self._codes = np.unique(np.asarray(groups, dtype=str), return_inverse=True)[1]
        self.n_groups = len(set(groups))
        self.weights: Floats = np.ones((1 + draws, len(y)))
        if len(y):
            # of more than two classes each is kept as well
            self.weights[1:] = group_weights(self._codes, cast(Bools, y), draws, rng_of(seed, "groups", name))

    def auroc(self, scores: Floats, positive: Bools) -> Found:
        """AUROC of scores [runs, n] that hold apart the `positive` [n] from the others."""
        counts = (len(positive), int(positive.sum()), self.n_groups, self.n_skipped)
        if not positive.any() or positive.all():
            return Found(None, *counts, ONE_CLASS if len(positive) else NOTHING)
        values = np.stack([auroc_weighted(run, positive, self.weights) for run in scores], 1)
        return Found(Sample(values[0], values[1:], self.n_groups, independent_pairs(self._codes, positive)), *counts)

    def mean(self, values: Floats, of: Bools | None = None) -> Found:
        """The mean of values [runs, n] in [0, 1] over the examples, or over those `of` a mask [n]."""
        at = np.ones(len(self.y), dtype=bool) if of is None else of
        groups = len(np.unique(self._codes[at]))
        counts = (int(at.sum()), None, groups, self.n_skipped)
        if not at.any():
            return Found(None, *counts, NOTHING)
        weights = self.weights[:, at]
        whole = weights.sum(1)
        shares = np.divide(
            weights @ values[:, at].T,
            whole[:, None],
            out=np.full((len(weights), len(values)), np.nan),
            where=whole[:, None] > 0,
        )
        return Found(Sample(shares[0], shares[1:], groups, groups), *counts)


def by_class(drawn: Drawn, scores: Floats, classes: Sequence[str]) -> dict[tuple[str, str | None], Found]:
    """(metric, class) -> what scores [runs, n, c] are worth: AUROC of each scored class and of all, and accuracy.

    With two classes there is one score, of the second class, and no mean over classes; the decision is its sign. With
    more it is the class with the highest score.
    """
    if scores.shape[2] == 1:
        hits = (scores[..., 0] > 0) == (drawn.y == 1)
        return {
            ("auroc", classes[1]): drawn.auroc(scores[..., 0], drawn.y == 1),
            ("accuracy", None): drawn.mean(hits.astype(np.float64)),
        }
    found: dict[tuple[str, str | None], Found] = {
        ("auroc", name): drawn.auroc(scores[..., k], drawn.y == k) for k, name in enumerate(classes)
    }
    found["auroc", MACRO] = macro(list(found.values()))
    found["accuracy", None] = drawn.mean((scores.argmax(2) == drawn.y).astype(np.float64))
    return found


def macro(classes: Sequence[Found]) -> Found:
    """The mean over classes; undefined where one of them is."""
    samples = [each.sample for each in classes if each.sample is not None]
    first = classes[0]._replace(n_positive=None)
    if len(samples) < len(classes):
        return first._replace(sample=None, remark=next(each.remark for each in classes if each.sample is None))
    values, draws = (np.mean([getattr(each, name) for each in samples], 0) for name in ("values", "draws"))
    return first._replace(sample=Sample(values, draws, samples[0].n_groups, min(each.trials for each in samples)))


def valued(found: Sequence[Found], seed: int, name: str, *, sets_vary: bool = False) -> dict[str, Any]:
    """Value, interval, counts and remark of a quantity: of one set of examples, or the mean over several.

    `sets_vary`: the claim is about sets like these, and not about these alone, so that the interval is `over_sets`.
    """
    samples = [each.sample for each in found if each.sample is not None]
    if len(samples) < len(found) or not found:
        return _row(found, None, None, None, found)
    estimate = mean_estimate(samples, rng_of(seed, "runs", name))
    if sets_vary:
        estimate = over_sets(estimate, [float(sample.values.mean()) for sample in samples])
    return _row(found, estimate.value, *share_interval(estimate), found)


def over_sets(estimate: Estimate, values: Sequence[float]) -> Estimate:
    """A mean over sets that are a sample themselves: Student's t over the sets' own values, and seeds as before.

    The spread of the values holds both how much sets differ and what is not known of each, so that groups are not drawn
    as well. A bootstrap of few sets would be too narrow: of nine it has 8/9 of the variance, and the normal's tails.
    """
    n = len(values)
    spread = SeedTerm(float(np.var(values, ddof=1)) / n, n - 1)
    return estimate._replace(
        group_draws=np.zeros_like(estimate.group_draws), freedom=n - 1, seed_terms=(spread, *estimate.seed_terms)
    )


def compared(
    one: Sequence[Found], other: Sequence[Found], seed: int, names: tuple[str, str], *, sets_vary: bool = False
) -> dict[str, Any]:
    """As `valued`, of one monitor's quantity less another's on the same draws."""
    sides = [[each.sample for each in side if each.sample is not None] for side in (one, other)]
    if not one or any(len(samples) < len(one) for samples in sides):
        return _row(one, None, None, None, [*one, *other])
    estimates = [mean_estimate(side, rng_of(seed, "runs", name)) for side, name in zip(sides, names, strict=True)]
    gap = difference(*estimates)
    if sets_vary:
        means = [[float(sample.values.mean()) for sample in side] for side in sides]
        gap = over_sets(gap, [a - b for a, b in zip(*means, strict=True)])
    return _row(one, gap.value, *difference_interval(gap), one)


def _row(
    found: Sequence[Found], value: float | None, low: float | None, high: float | None, said: Sequence[Found]
) -> dict[str, Any]:
    remarks = [each.remark for each in said if each.remark]
    if low is not None and np.isnan(low):
        low, high = None, None
        remarks.append(ONE_GROUP)
    runs = [len(each.sample.values) for each in found if each.sample is not None]
    positives = [each.n_positive for each in found]
    return {
        "value": None if value is None else float(value),
        "low": low,
        "high": high,
        "n": sum(each.n for each in found),
        "n_positive": None if None in positives else sum(each for each in positives if each is not None),
        "n_groups": sum(each.n_groups for each in found),
        "n_skipped": sum(each.n_skipped for each in found),
        "n_runs": max(runs, default=0),
        "remark": "; ".join(dict.fromkeys(remarks)) or None,
    }


def cell(place: Mapping[str, Any], **row: Any) -> dict[str, Any]:
    """A row of the cell table; what is not given is null."""
    empty = dict.fromkeys(("layer", "target", "dataset", "class", "versus", "n_source_groups"))
    return {**empty, **place, **row}
