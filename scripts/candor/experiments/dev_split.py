"""AUROC on evaluation sets for a probe that also learns from labelled examples of their own kind (Fig. 5 and 18).

Three usages: fine-tune goes on from the task's probe, each run from a copy of the same one; only trains a new probe on
the development examples alone; combine trains one on the training set and on the development examples, repeated. Every
usage, size and run of a set is measured on the same examples, of which none was ever trained on. x = 0 is the task's
probe as it is. A monitor that reads no activations is a line without x.
"""

import importlib
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from candor.data.folds import group_folds
from candor.errors import CandorError
from candor.experiments.curves import Found, Line, Sheet, point
from candor.experiments.drawing import Ordering, complaint, note
from candor.experiments.evaluation_context import EvaluationContext, Usable
from candor.experiments.refitting import (
    Refitted,
    Scale,
    Weights,
    go_on,
    joined,
    own_weights,
    refit,
    scale_of,
    scored,
    taken,
)
from candor.probes.features import Features, read_features
from candor.probes.files import SavedProbe

Draws = Sequence[Sequence[int]]
"""Examples of each run, by index."""
CLOSED_FORM = "a closed form has no weights to go on from"


class Halves(NamedTuple):
    """What is drawn from, and what is measured on."""

    pool: Usable
    test: Usable


class Pool(NamedTuple):
    """What development examples are drawn from, with their features."""

    of: Usable
    features: Features


class Trained(NamedTuple):
    """The task's probe, and what it was trained on."""

    probe: Any
    saved: SavedProbe
    layer: int
    train: Usable
    features: Features
    scale: Scale | None
    """None where no usage needs it."""


def run(context: EvaluationContext) -> list[dict[str, Any]]:
    """Rows of the curve table: for each usage, size and evaluation set, and for the mean over sets."""
    experiment, task = context.experiment, context.task
    monitor, probe, saved, layer = context.probe(experiment.probe)
    family = importlib.import_module(f"candor.probes.families.{probe.family}")
    train = context.usable(context.train, probe)
    features = read_features(train.part, layer, family.FEATURES, train.at)
    scale = scale_of(features) if "fine-tune" in experiment.usages and not hasattr(family, "fit") else None
    trained = Trained(probe, saved, layer, train, features, scale)
    sizes = sorted(set(experiment.sizes))
    found: dict[tuple[str, int], dict[str, Found]] = {}
    lines: dict[str, dict[str, Found]] = {}
    progress = context.progress(f"dev-split {context.id}", len(experiment.development), "sets")
    seeds = [task.seed + each for each in range(experiment.runs)]
    for number, (name, development) in enumerate(experiment.development.items(), start=1):
        halves = halves_of(context, probe, name, development)
        sheet = context.sheet(name, halves.test)
        pool = Pool(halves.pool, read_features(halves.pool.part, layer, family.FEATURES, halves.pool.at))
        orderings = [Ordering(halves.pool.groups, halves.pool.y, seed) for seed in seeds]
        weights: dict[tuple[str, int], Weights] = {}
        remarks: dict[tuple[str, int], list[str]] = {}
        drawn = {size: [ordering.first(size) for ordering in orderings] for size in sizes}
        refused = {size: complaint(draws, halves.pool.y, size, len(halves.pool.at)) for size, draws in drawn.items()}
        wanted = {size: [each.examples for each in drawn[size]] for size in sizes if refused[size] is None}
        for usage in experiment.usages:
            done: dict[int, Refitted] = {}
            if wanted and (usage != "fine-tune" or scale is not None):
                done = USAGES[usage](trained, pool, wanted, seeds, context)
            for size in sizes:
                if size in done:
                    weights[usage, size] = done[size].found
                    remarks[usage, size] = [*note(drawn[size], size), *done[size].remarks]
                else:
                    remarks[usage, size] = [refused[size] or CLOSED_FORM]
        weights["", 0], remarks["", 0] = own_weights(saved, layer), []
        scores = scored(halves.test, weights, layer, probe)
        for key, said in remarks.items():
            of = sheet.found(scores[key], said) if key in scores else sheet.undefined("; ".join(said))
            found.setdefault(key, {})[name] = of
        for id, table in context.baselines.items():
            lines.setdefault(id, {})[name] = _of_baseline(table, name, halves.test, sheet)
        progress.update(number)
    outside = context.outside(list(experiment.development))
    rows = []
    for usage in experiment.usages:
        line = Line(f"{monitor}/{usage}", monitor, layer)
        if usage != "only":  # which without examples is nothing
            rows += point(context.id, line, 0, found["", 0], outside, task.seed)
        for size in sizes:
            rows += point(context.id, line, size, found[usage, size], outside, task.seed)
    for id, of_baseline in lines.items():
        rows += point(context.id, Line(id, id, None), None, of_baseline, outside, task.seed)
    return rows


def halves_of(context: EvaluationContext, probe: Any, name: str, development: str | None) -> Halves:
    """What is drawn from and what is measured on: the development part and the set, or two halves of the set's groups.

    Halves are balanced in labels, and depend on the task's seed and the groups' names alone.
    """
    whole = context.usable(context.evaluation[name], probe)
    if development is not None:
        pool = context.usable(context.development[development], probe)
        shared = sorted({row["example_id"] for row in _rows(pool)} & {row["example_id"] for row in _rows(whole)})
        if shared and pool.part.name.split("@")[0] == whole.part.name.split("@")[0]:
            raise CandorError(
                f"experiments.{context.id}.development: {len(shared)} examples are in {name} and in {development}, "
                f"first {shared[0]}; what is trained on must not be measured on."
            )
        return Halves(pool, whole)
    folds = group_folds(whole.groups, [str(label) for label in whole.y], 2, context.task.seed)
    return Halves(whole.of(np.flatnonzero(folds == 0).tolist()), whole.of(np.flatnonzero(folds == 1).tolist()))


def _rows(usable: Usable) -> list[dict[str, Any]]:
    return [usable.part.rows[i] for i in usable.at]


def _fine_tuned(
    trained: Trained, pool: Pool, draws: Mapping[int, Draws], seeds: Sequence[int], context: EvaluationContext
) -> dict[int, Refitted]:
    """By size, copies of the task's probe trained further; run r goes on from the task's seed number r, in turn."""
    assert trained.scale is not None
    own, found = own_weights(trained.saved, trained.layer), {}
    for size, of_size in draws.items():
        at = [run % len(own.weights) for run in range(len(of_size))]
        start = Weights([own.weights[i].clone() for i in at], [own.biases[i].clone() for i in at])
        epochs, seed = context.experiment.epochs, context.task.seed
        gone_on = go_on(pool.features, pool.of.y, of_size, start, trained.scale, trained.probe, epochs, seed)
        found[size] = Refitted(gone_on, [])
    return found


def _only(
    trained: Trained, pool: Pool, draws: Mapping[int, Draws], seeds: Sequence[int], context: EvaluationContext
) -> dict[int, Refitted]:
    """By size, new probes of the development examples alone."""
    return {
        size: refit(pool.features, pool.of.y, pool.of.groups, of_size, seeds, trained.probe, context.task.seed)
        for size, of_size in draws.items()
    }


def _combined(
    trained: Trained, pool: Pool, draws: Mapping[int, Draws], seeds: Sequence[int], context: EvaluationContext
) -> dict[int, Refitted]:
    """By size, new probes of both parts, all sizes as one problem: most of what they are trained on is the same.

    Only training groups are held out for early stopping, for a repeated example would stand on both sides.
    """
    train = trained.train
    n, used = len(train.at), sorted({i for of_size in draws.values() for draw in of_size for i in draw})
    repeated = [i for _ in range(context.experiment.repeat) for i in used]
    features = joined(trained.features, taken(pool.features, repeated))
    y = np.concatenate([train.y, pool.of.y[repeated]])
    # names that cannot meet where both parts number their groups
    groups = [f"train {group}" for group in train.groups] + [f"development {pool.of.groups[i]}" for i in repeated]
    both = [
        [*range(n), *(n + at for at, i in enumerate(repeated) if i in chosen)]
        for of_size in draws.values()
        for chosen in map(set, of_size)
    ]
    may_watch, seed = np.arange(len(y)) < n, context.task.seed
    fitted = refit(features, y, groups, both, [*seeds] * len(draws), trained.probe, seed, may_watch)
    runs, found = len(seeds), {}
    for number, size in enumerate(draws):
        of_size = slice(number * runs, (number + 1) * runs)
        own = Weights(fitted.found.weights[of_size], fitted.found.biases[of_size])
        found[size] = Refitted(own, fitted.remarks)
    return found


USAGES = {"fine-tune": _fine_tuned, "only": _only, "combine": _combined}


def _of_baseline(table: pa.Table, name: str, test: Usable, sheet: Sheet) -> Found:
    """A baseline's AUROC on the test half, from its scores of the whole set."""
    dataset, split = name.rsplit("@", 1)
    frame = table.to_pandas()
    frame = frame[(frame["dataset"] == dataset) & (frame["split"] == split) & frame["token_index"].isna()]
    if frame.empty:
        return sheet.undefined("no scores of this set")
    ids = [row["example_id"] for row in _rows(test)]
    by_seed = [part.set_index("example_id")["score"].reindex(ids) for _, part in frame.groupby("seed", dropna=False)]
    return sheet.found(np.stack([scores.to_numpy(dtype=np.float64) for scores in by_seed]))
