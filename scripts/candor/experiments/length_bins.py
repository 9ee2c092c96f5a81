"""AUROC by length of the text, of several monitors on the same examples.

x is the fewest tokens of a bin, which ends before the next one's; the last has no end. Tokens are those that the
selected probe has read, for every monitor, so that a bin holds the same examples for all: of a text that was cut, those
that were left. Texts that are shorter than the first bin, or of unknown length, are skipped and counted.

The dataset `mean` is the examples of all sets out of distribution in one ranking, each set resampled on its own: a bin
of one set often holds too few, or one class, and has a row that says so.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from candor.config.experiments import LengthBins
from candor.experiments.score_context import Examples, Monitor, Point, ScoreContext, curve_row
from candor.metrics.measuring import ONE_CLASS
from candor.metrics.points import Floats
from candor.schemas.metric import MEAN_DATASET

POOLED = "the examples of all sets out of distribution, pooled"
EMPTY = "no text of this length"


def run(context: ScoreContext) -> list[dict[str, Any]]:
    """Rows of the curve table."""
    experiment: LengthBins = context.experiment
    rows = []
    edges = sorted(set(experiment.edges))
    for monitor in context.monitors(experiment.monitors):
        read = {part: _read(context, monitor, part) for part in context.task.evaluation}
        pooled = _pooled([read[part] for part in context.outside])
        for place, (examples, scores) in [*read.items(), (MEAN_DATASET, pooled)]:
            for low, high in zip(edges, [*edges[1:], np.inf], strict=True):
                point = _point(examples, scores, low, high, edges[0])
                found = context.estimate([point.sample], monitor.id) if point.sample else None
                remark = POOLED if place == MEAN_DATASET else None
                x = float(low)
                rows.append(
                    curve_row(
                        context, monitor.id, place, "auroc", {place: point}, found, monitor=monitor, x=x, remark=remark
                    )
                )
    return rows


def _read(context: ScoreContext, monitor: Monitor, part: str) -> tuple[Examples, Floats]:
    """The examples of a part that a monitor has scored, and the scores [runs, n]."""
    scored = context.scored(monitor, part)
    return context.examples(part).take(scored.usable), scored.score[:, scored.usable]


def _pooled(read: Sequence[tuple[Examples, Floats]]) -> tuple[Examples, Floats]:
    """Several sets as one; a group belongs to one set, whose draws it has."""
    offsets = np.cumsum([0, *(int(examples.groups.max(initial=-1)) + 1 for examples, _ in read)])
    sets = [examples for examples, _ in read]
    pooled = Examples(
        index=sets[0].index.append([each.index for each in sets[1:]]),
        label=np.concatenate([each.label for each in sets]),
        groups=np.concatenate([each.groups + offset for each, offset in zip(sets, offsets, strict=False)]),
        weights=np.concatenate([each.weights for each in sets], axis=1),
        tokens=np.concatenate([each.tokens for each in sets]),
        ratings=np.concatenate([each.ratings for each in sets]),
        n_skipped=sum(each.n_skipped for each in sets),
    )
    return pooled, np.concatenate([scores for _, scores in read], axis=1)


def _point(examples: Examples, scores: Floats, low: float, high: float, shortest: float) -> Point:
    """The AUROC of a bin; skipped are the examples that are in no bin."""
    inside = (examples.tokens >= low) & (examples.tokens < high)
    unbinned = int((~(examples.tokens >= shortest)).sum())
    chosen = examples.take(inside)
    counted = chosen.counted(len(scores))._replace(n_skipped=examples.n_skipped + unbinned)
    sample = chosen.auroc(scores[:, inside])
    remark = None if sample else ONE_CLASS if counted.n else EMPTY
    return Point(sample, counted, remark)
