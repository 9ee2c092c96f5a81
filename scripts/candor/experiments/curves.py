"""Points of a curve: AUROC on each evaluation set and their mean, over runs, with intervals over groups and runs."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from candor.experiments.resampling import ONE_CLASS, ONE_GROUP
from candor.metrics.intervals import Sample, group_weights, independent_pairs, mean_estimate, rng_of, share_interval
from candor.metrics.points import Bools, Floats, auroc_weighted
from candor.schemas.metric import MEAN_DATASET

METRIC = "auroc"


class Line(NamedTuple):
    """A line of a figure: its name, the monitor, and the layer that it reads."""

    curve: str
    monitor: str
    layer: int | None


class Found(NamedTuple):
    """AUROC on one evaluation set, or why there is none: `sample` by run, and what it rests on."""

    sample: Sample | None
    n: int
    n_positive: int
    n_groups: int
    n_skipped: int
    remarks: tuple[str, ...]


class Sheet:
    """One evaluation set and its draws of groups, the same for every point, so that points are paired.

    `positive` bool [n] and `groups` are of the examples; `n_skipped` others carry no score or no label.
    """

    def __init__(
        self, name: str, positive: Bools, groups: Sequence[str], n_skipped: int, draws: int, seed: int
    ) -> None:
        self.positive, self.n_skipped = positive, n_skipped
        self._codes = np.unique(np.asarray(groups, dtype=str), return_inverse=True)[1]
        self._weights = np.ones((1 + draws, len(positive)))
        if len(positive):
            self._weights[1:] = group_weights(self._codes, positive, draws, rng_of(seed, "groups", name))

    def found(self, scores: Floats, remarks: Sequence[str] = ()) -> Found:
        """AUROC of scores [runs, n]; examples that a run has no score of (nan) are left out and counted."""
        usable = np.isfinite(scores).all(axis=0) if len(scores) else np.zeros(len(self.positive), dtype=bool)
        positive, codes = self.positive[usable], self._codes[usable]
        skipped = self.n_skipped + int((~usable).sum())
        counts = (len(positive), int(positive.sum()), len(np.unique(codes)), skipped)
        if not positive.any() or positive.all():
            return Found(None, *counts, (*remarks, ONE_CLASS))
        values = np.stack([auroc_weighted(run, positive, self._weights[:, usable]) for run in scores[:, usable]], 1)
        sample = Sample(values[0], values[1:], counts[2], independent_pairs(codes, positive))
        return Found(sample, *counts, tuple(remarks))

    def undefined(self, remark: str) -> Found:
        """No AUROC, and why."""
        groups = len(np.unique(self._codes))
        return Found(None, len(self.positive), int(self.positive.sum()), groups, self.n_skipped, (remark,))


def point(
    experiment: str, line: Line, x: float | None, found: Mapping[str, Found], outside: Sequence[str], seed: int
) -> list[dict[str, Any]]:
    """Rows of the curve table for one x: one for each evaluation set, and the mean over those of `outside`.

    The mean is undefined where it is on one of the sets: a line must not jump for want of a set.
    """
    rows = [_row(experiment, line, name, x, [of], of.remarks, seed) for name, of in found.items()]
    inside = {name: found[name] for name in outside}
    remarks = [f"{name}: {remark}" for name, of in inside.items() for remark in of.remarks]
    return [*rows, _row(experiment, line, MEAN_DATASET, x, list(inside.values()), remarks, seed)]


def _row(
    experiment: str,
    line: Line,
    dataset: str,
    x: float | None,
    found: Sequence[Found],
    remarks: Sequence[str],
    seed: int,
) -> dict[str, Any]:
    samples = [each.sample for each in found if each.sample is not None]
    value: dict[str, float | None] = dict.fromkeys(("value", "low", "high"))
    said = list(remarks)
    whole = len(samples) == len(found)
    if whole:
        estimate = mean_estimate(samples, rng_of(seed, "runs", line.curve))
        ends = share_interval(estimate)
        value["value"] = estimate.value
        if np.isnan(ends.low):
            said.append(ONE_GROUP)
        else:
            value["low"], value["high"] = ends
    return {
        "experiment": experiment,
        "curve": line.curve,
        "monitor": line.monitor,
        "layer": line.layer,
        "dataset": dataset,
        "x": x,
        "metric": METRIC,
        **value,
        "flops": None,
        "n": sum(each.n for each in found),
        "n_positive": sum(each.n_positive for each in found),
        "n_groups": sum(each.n_groups for each in found),
        "n_skipped": sum(each.n_skipped for each in found),
        "n_runs": len(samples[0].values) if whole else 0,
        "remark": "; ".join(dict.fromkeys(said)) or None,
    }
