"""Are a monitor's probabilities what they say? Reliability, ECE and Brier score, raw and recalibrated (Fig. 15 to 17).

Curves are `monitor/method`. `raw` takes the monitor's own probabilities; `platt` and `isotonic` make new ones of its
scores, by a curve through its out-of-fold scores on the training set: evaluation sets are never fitted to. One curve is
fitted to all seeds that have such scores, and used for every seed. A monitor without folds has none, and one that gives
margins has no raw probabilities; their `ece` and `brier` are undefined and say so.

x is the mean probability in a bin of equal width: `observed`, the share of positives there, and `rating`, the mean of
the dataset's ratings from 1 to 10. Every seed adds its examples to a bin; n counts each example once, and a bin that no
example is in has no row. `ece` and `brier` are means over seeds and have no x; `mean` is their mean over the sets out
of distribution. ECE is above 0 for a calibrated monitor too where examples are few.
"""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from candor.config.experiments import Calibration
from candor.experiments.score_context import Examples, Monitor, Point, ScoreContext, curve_row, curve_rows
from candor.metrics.calibration import (
    Bin,
    Calibrator,
    brier_weighted,
    by_seed,
    ece_weighted,
    filled_bins,
    isotonic,
    mean_in_bin,
    platt,
)
from candor.metrics.intervals import Estimate, Interval, share_interval
from candor.metrics.points import Floats

FITTED: Mapping[str, Callable[..., Calibrator]] = {"platt": platt, "isotonic": isotonic}
SCALE = (1.0, 10.0)
"""The ends of the scale of ratings; a set whose ratings go beyond has a wider one."""
NO_PROBABILITY = "the monitor gives no probability"
NO_FOLDS = "no out-of-fold training scores to fit to"
ALL_EQUAL = "all ratings are equal: no interval"
NOTHING = "no example has a score and a label"


class Predicted(NamedTuple):
    """Probabilities [seeds, n] of the examples of a part that a monitor has scored."""

    examples: Examples
    probability: Floats


def run(context: ScoreContext) -> list[dict[str, Any]]:
    """Rows of the curve table."""
    experiment: Calibration = context.experiment
    rows = []
    for monitor in context.monitors(experiment.monitors):
        for method in dict.fromkeys(experiment.methods):
            curve = f"{monitor.id}/{method}"
            predicted, undefined = _predicted(context, monitor, method)
            for part, found in predicted.items() if not undefined else ():
                for bin in filled_bins(found.probability, experiment.bins):
                    rows += _bin_rows(context, curve, monitor, part, found, bin)
            for metric in ("ece", "brier"):
                points = {part: _point(found, metric, experiment.bins, undefined) for part, found in predicted.items()}
                rows += curve_rows(context, curve, metric, points, monitor=monitor)
    return rows


def _predicted(context: ScoreContext, monitor: Monitor, method: str) -> tuple[dict[str, Predicted], str | None]:
    """The probabilities on every part, and why they are undefined, if they are."""
    trained = context.out_of_fold(monitor) if method in FITTED else None
    calibrator = FITTED[method](*trained) if trained else None
    found = {}
    for part in context.task.evaluation:
        scored = context.scored(monitor, part)
        score, own = scored.score[:, scored.usable], scored.probability[:, scored.usable]
        found[part] = Predicted(context.examples(part).take(scored.usable), calibrator(score) if calibrator else own)
    if method in FITTED:
        return found, None if calibrator else NO_FOLDS
    unknown = any(np.isnan(one.probability).any() for one in found.values())
    return found, NO_PROBABILITY if unknown else None


def _point(found: Predicted, metric: str, bins: int, undefined: str | None) -> Point:
    examples, probability = found
    counted = examples.counted(len(probability))
    if undefined or not counted.n:
        return Point(None, counted, undefined or NOTHING)
    measure = partial(ece_weighted, bins=bins) if metric == "ece" else brier_weighted
    return Point(by_seed(measure, probability, examples.label, examples.groups, examples.weights), counted)


def _bin_rows(
    context: ScoreContext, curve: str, monitor: Monitor, part: str, found: Predicted, bin: Bin
) -> list[dict[str, Any]]:
    """The share of positives in a bin, and its mean rating where the set has ratings."""
    examples = found.examples
    low, high = SCALE
    if np.isfinite(examples.ratings).any():
        low, high = min(low, float(np.nanmin(examples.ratings))), max(high, float(np.nanmax(examples.ratings)))
    rows = []
    for metric, values, ends in (
        ("observed", examples.label.astype(np.float64), (0.0, 1.0)),
        ("rating", (examples.ratings - low) / (high - low), (low, high)),
    ):
        sample = mean_in_bin(bin, values, examples.groups, examples.weights)
        if sample:
            held = bin.held.any(axis=0) & np.isfinite(values)
            counted = examples.take(held).counted(len(bin.held))._replace(n_skipped=examples.n_skipped)
            estimate, interval = _scaled(context.estimate([sample], curve), *ends)
            # equal labels have the interval of a share of 0 or 1; what equal ratings could have been is not known
            equal = metric == "rating" and np.ptp(values[held]) == 0
            rows.append(
                curve_row(
                    context,
                    curve,
                    part,
                    metric,
                    {part: Point(sample, counted, ALL_EQUAL if equal else None)},
                    estimate,
                    monitor=monitor,
                    x=bin.predicted,
                    interval=None if equal else interval,
                )
            )
    return rows


def _scaled(found: Estimate, low: float, high: float) -> tuple[Estimate, Callable[[Estimate], Interval]]:
    """An estimate of a quantity in [0, 1] on the scale from `low` to `high`, and its interval there."""
    ends = Interval(*(low + (high - low) * end for end in share_interval(found)))
    return found._replace(value=low + (high - low) * found.value), lambda _: ends
