"""A cheap monitor reads everything and routes a share of it to an expensive one (docs/high_stakes.md; Fig. 6 and 13).

Routed are, within an evaluation set, the round(share x n) examples whose rank by the cheap score is nearest to the
median rank (`median`), or highest (`top`), or lowest (`bottom`); equal scores are ranked by chance. What is routed does
not change between draws of the bootstrap.

A routed example has the mean or the larger of both monitors' probabilities, or the expensive one's (`replace`); the
others keep the cheap probability. A monitor without probabilities gets them from a Platt curve through its out-of-fold
training scores. Without such scores its rank within the set, between 0 and 1, stands for one. Where all values are of
one monitor its own scores are ranked: share 0 is the cheap monitor, share 1 with `replace` the expensive one. A routed
example that the expensive monitor gives no score keeps the cheap one, and is counted as skipped.

Cost is what is spent on an example on average: the cheap monitor on all, the expensive one on what is routed. A probe
costs what it adds, for the model whose activations it reads runs anyway; any other monitor costs its passes of the
model that it asks. `flops_rule: paper` counts a multiply-add of a probe once, which halves it.

Curves are `name/selection/merge`, with x the share: `auroc`, and `auroc_difference` to the expensive monitor alone on
the examples that both have scored. Each monitor alone is a curve of its own, with x null. Both monitors' seeds are
paired in their order, the fewer ones repeated; draws of groups and of seeds make up the interval together.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import floor, hypot
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from scipy.stats import rankdata

from candor.config.experiments import Cascade
from candor.experiments.score_context import (
    Examples,
    Monitor,
    Point,
    ScoreContext,
    auroc_point,
    curve_rows,
    mean_cost,
)
from candor.metrics import intervals
from candor.metrics.calibration import platt
from candor.metrics.intervals import Estimate, Sample
from candor.metrics.measuring import ONE_CLASS
from candor.metrics.points import Bools, Floats

BY_CURVE = "a Platt curve through its out-of-fold training scores stands for the probability of {}"
BY_RANK = "the rank within the set stands for the probability of {}"


class Stage(NamedTuple):
    """One monitor on a part's examples, each array [runs, n]; `remark` says what stands for its probabilities."""

    score: Floats
    probability: Floats
    flops: Floats
    remark: str | None


@dataclass(frozen=True)
class Pair:
    """Both monitors on the examples of a part that the cheap one has scored; of those, `both` [n] have both scores.

    ranks [runs, n] are those of the cheap scores, 0 the lowest. `alone` is the expensive monitor's AUROC where both
    have scored.
    """

    examples: Examples
    cheap: Stage
    expensive: Stage
    ranks: npt.NDArray[np.intp]
    both: Bools
    alone: Sample | None


class Cascaded(NamedTuple):
    """A cascade on one part: its AUROC, its difference to the expensive monitor alone, and the samples of the two.

    `same` says that it is the expensive monitor.
    """

    auroc: Point
    difference: Point
    sides: tuple[Sample | None, Sample | None]
    same: bool


def run(context: ScoreContext) -> list[dict[str, Any]]:
    """Rows of the curve table."""
    experiment: Cascade = context.experiment
    parts = context.task.evaluation
    rows: list[dict[str, Any]] = []
    for monitor in context.monitors(
        [name for each in experiment.cascades.values() for name in (each.cheap, each.expensive)]
    ):
        points = {part: auroc_point(context, monitor, part) for part in parts}
        halved = {part: point._replace(flops=_by_rule(context, monitor, point.flops)) for part, point in points.items()}
        rows += curve_rows(context, monitor.id, "auroc", halved, monitor=monitor)
    for name, stages in experiment.cascades.items():
        cheap, expensive = context.monitor(stages.cheap), context.monitor(stages.expensive)
        pairs = {part: _pair(context, cheap, expensive, part) for part in parts}
        for selection in dict.fromkeys(experiment.selections):
            for merge in dict.fromkeys(experiment.merges):
                for share in dict.fromkeys(experiment.shares):
                    found = {part: _cascaded(pair, selection, merge, share) for part, pair in pairs.items()}
                    rows += _rows(context, f"{name}/{selection}/{merge}", share, found)
    return rows


def routed(ranks: npt.NDArray[np.intp], selection: str, share: float) -> Bools:
    """Which examples are routed, from ranks [runs, n]: round(share x n) of each run; of two as near, the lower rank."""
    n = ranks.shape[1]
    above = ranks - (n - 1) / 2
    order = {"median": np.abs(above) + 0.25 * (above > 0), "top": -above, "bottom": above}[selection]
    return np.asarray(order.argsort(axis=1).argsort(axis=1) < floor(share * n + 0.5))


def _rows(context: ScoreContext, curve: str, share: float, found: Mapping[str, Cascaded]) -> list[dict[str, Any]]:
    def difference(parts: Sequence[str]) -> Estimate:
        return _difference(context, curve, [found[part] for part in parts])

    aurocs = {part: one.auroc for part, one in found.items()}
    differences = {part: one.difference for part, one in found.items()}
    return curve_rows(context, curve, "auroc", aurocs, x=share) + curve_rows(
        context, curve, "auroc_difference", differences, difference, x=share, interval=intervals.difference_interval
    )


def _difference(context: ScoreContext, curve: str, found: Sequence[Cascaded]) -> Estimate:
    """The cascade less the expensive monitor, run by run, since both share the seeds of a run."""
    samples = [one.difference.sample for one in found if one.difference.sample]
    cascades, alone = (context.estimate([side for one in found if (side := one.sides[i])], curve) for i in (0, 1))
    below, above = hypot(cascades.below, alone.above), hypot(cascades.above, alone.below)
    if all(one.same for one in found):
        below = above = 0.0
    return context.estimate(samples, curve)._replace(below=below, above=above)


def _pair(context: ScoreContext, cheap: Monitor, expensive: Monitor, part: str) -> Pair:
    scored = [context.scored(monitor, part) for monitor in (cheap, expensive)]
    usable, runs = scored[0].usable, max(one.n_runs for one in scored)
    examples = context.examples(part).take(usable)
    first, second = (_stage(context, monitor, part, usable, runs) for monitor in (cheap, expensive))
    both = np.asarray(np.isfinite(second.score).all(axis=0))
    chance = context.rng("ranks", part).permutation(len(examples.label))
    ranks = np.array([np.lexsort((chance, score)) for score in first.score]).argsort(axis=1)
    return Pair(examples, first, second, ranks, both, examples.take(both).auroc(second.score[:, both]))


def _stage(context: ScoreContext, monitor: Monitor, part: str, usable: Bools, runs: int) -> Stage:
    scored = context.scored(monitor, part)
    run = np.arange(runs) % scored.n_runs
    score, probability = scored.score[run][:, usable], scored.probability[run][:, usable]
    flops = np.array([_by_rule(context, monitor, each) for each in scored.flops[run][:, usable]])
    if np.isfinite(probability[np.isfinite(score)]).all():
        return Stage(score, probability, flops, None)
    trained = context.out_of_fold(monitor)
    if trained:
        return Stage(score, platt(*trained)(score), flops, BY_CURVE.format(monitor.id))
    n_scored = np.isfinite(score).sum(axis=1, keepdims=True)
    return Stage(
        score, (rankdata(score, axis=1, nan_policy="omit") - 0.5) / n_scored, flops, BY_RANK.format(monitor.id)
    )


def _by_rule(context: ScoreContext, monitor: Monitor, flops: Any) -> Any:
    """A cost by the experiment's rule: the paper's counts the multiply-adds of a probe once."""
    once = context.experiment.flops_rule == "paper" and context.is_probe(monitor)
    return flops if flops is None or not once else flops / 2


def _cascaded(pair: Pair, selection: str, merge: str, share: float) -> Cascaded:
    cheap, expensive, examples, both = pair.cheap, pair.expensive, pair.examples, pair.both
    chosen = routed(pair.ranks, selection, share)
    answered = chosen & np.isfinite(expensive.score)
    same = merge == "replace" and bool(answered.all())
    if same or not answered.any():
        scores = expensive.score if same else cheap.score
    else:
        scores = np.where(answered, _merged(cheap.probability, expensive.probability, merge), cheap.probability)
    n_kept = int((chosen & ~answered).any(axis=0).sum())
    remarks = [cheap.remark, expensive.remark, f"{n_kept} routed without an expensive score" if n_kept else None]
    remark = "; ".join(filter(None, remarks)) or None
    # an answer that failed costs what is known of it
    spent = np.where(np.isfinite(expensive.score), expensive.flops, np.nan_to_num(expensive.flops))
    flops = mean_cost(cheap.flops + np.where(chosen, spent, 0))

    sample = examples.auroc(scores)
    counted = examples.counted(len(scores))
    auroc = Point(
        sample, counted._replace(n_skipped=counted.n_skipped + n_kept), remark if sample else ONE_CLASS, flops
    )

    common = examples.take(both)
    one, other = sample if both.all() else common.auroc(scores[:, both]), pair.alone
    gap = None
    if one and other:
        gap = one._replace(values=one.values - other.values, draws=one.draws - other.draws)
    difference = Point(gap, common.counted(len(scores)), remark if gap else ONE_CLASS, flops)
    return Cascaded(auroc, difference, (one, other), same)


def _merged(cheap: Floats, expensive: Floats, merge: str) -> Floats:
    if merge == "replace":
        return expensive
    return np.maximum(cheap, expensive) if merge == "max" else (cheap + expensive) / 2
