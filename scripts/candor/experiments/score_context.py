"""What an experiment on scores is given: the monitors' scores on evaluation sets and out of fold, and the selection.

An evaluation set's draws of groups are those of the metric table (metrics/measuring.py): the same examples in the same
order under the same seed, so that a monitor alone has the same value and interval in both tables.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa

from candor import tables
from candor.config.experiments import SELECTED
from candor.config.tasks import Measurement, dataset_of
from candor.data.parts import read_part
from candor.errors import CandorError
from candor.metrics import intervals
from candor.metrics.intervals import Estimate, Interval, Sample
from candor.metrics.measuring import ONE_CLASS, ONE_GROUP, PERFECT
from candor.metrics.points import Bools, Floats, auroc_weighted
from candor.schemas.metric import MEAN_DATASET
from candor.schemas.score import SCORE
from candor.schemas.status import SCORED

_PAIRS = 4_000_000
"""Pairs of a positive and a negative up to which they are compared in one array, of 32 MB."""
_RANKING = 100
"""Ranking an example in a draw takes as long as about so many pairs of groups."""


class Monitor(NamedTuple):
    """A monitor of the task; `layer` is the one selected for it, None where it reads none."""

    id: str
    layer: int | None


class Counted(NamedTuple):
    """What a value rests on; the names of the curve table."""

    n: int
    n_positive: int
    n_groups: int
    n_skipped: int
    n_runs: int


class Point(NamedTuple):
    """One quantity of one set: its sample, None where it is undefined and `remark` says why, and its mean cost."""

    sample: Sample | None
    counted: Counted
    remark: str | None = None
    flops: float | None = None


class OutOfFold(NamedTuple):
    """A monitor's training scores [n], each from the fit that had not seen the example's fold, and their labels."""

    score: Floats
    label: Bools


@dataclass(frozen=True)
class Examples:
    """Labelled examples [n] of one part, in the order of their ids; n_skipped others are left out.

    groups are numbered from 0. weights are [1 + draws, n]: the first row takes every example once, the others are the
    bootstrap's. tokens and ratings are nan where unknown.
    """

    index: pd.MultiIndex
    label: Bools
    groups: npt.NDArray[np.intp]
    weights: Floats
    tokens: Floats
    ratings: Floats
    n_skipped: int

    def take(self, of: Bools) -> "Examples":
        """Some of them; the others are skipped."""
        if of.all():
            return self
        arrays = (self.label[of], self.groups[of], self.weights[:, of], self.tokens[of], self.ratings[of])
        return Examples(self.index[of], *arrays, n_skipped=self.n_skipped + int((~of).sum()))

    def counted(self, n_runs: int) -> Counted:
        """What a value of all of them rests on."""
        n_groups = len(np.unique(self.groups))
        return Counted(len(self.label), int(self.label.sum()), n_groups, self.n_skipped, n_runs)

    def auroc(self, scores: Floats) -> Sample | None:
        """AUROC of scores [runs, n]; None where they are of one class, or there are none."""
        if not self.label.any() or self.label.all():
            return None
        return auroc_sample(scores, self.label, self.groups, self.weights)


@dataclass(frozen=True)
class Scored:
    """One monitor on the examples of a part: [seeds, n], nan where there is none. usable [n]: scored under each seed.

    flops is what the monitor costs as it is deployed: of a probe what it adds, since the monitored model runs anyway,
    of any other monitor the pass of the model that it asks, too.
    """

    score: Floats
    probability: Floats
    flops: Floats
    usable: Bools

    @property
    def n_runs(self) -> int:
        """The number of seeds, 1 where there is no randomness."""
        return len(self.score)


class ScoreContext:
    """The scores of a task's monitors, each at its selected layer."""

    def __init__(
        self,
        id: str,
        experiment: Any,
        task: Measurement,
        selection: Mapping[str, Any],
        scores: pa.Table,
        training: pa.Table,
        rows: Mapping[str, Sequence[Mapping[str, Any]]],
    ) -> None:
        """`scores` and `training` are score tables, `rows` the dataset's rows of each evaluation part."""
        if len(task.classes) != 2:
            raise CandorError(
                f"experiments.{id}: its task has {len(task.classes)} classes, and an experiment on scores reads those "
                "of two; name a task of two classes."
            )
        self.id, self.experiment, self.task, self.selection = id, experiment, task, selection
        self._frame = _of_whole_texts(scores, task.classes[1])
        self._training = _of_whole_texts(training, task.classes[1])
        self._rows = rows
        self.examples = cache(self._examples)
        self.scored = cache(self._scored)

    @property
    def outside(self) -> list[str]:
        """The evaluation sets that enter the mean: those out of distribution, or all where none is."""
        return [part for part in self.task.evaluation if part not in self.task.in_distribution] or self.task.evaluation

    def monitor(self, name: str) -> Monitor:
        """The monitor of an id at its selected layer; `selected` stands for the selected probe."""
        if name == SELECTED:
            return Monitor(self.selection["monitor"], self.selection["layer"])
        for section in ("probes", "controls"):
            if name in self.selection.get(section, {}):
                return Monitor(name, self.selection[section][name]["layer"])
        if name in self.task.baselines:
            return Monitor(name, None)
        raise CandorError(f"experiments.{self.id} names {name!r}, which is no monitor of its task.")

    def monitors(self, names: Sequence[str]) -> list[Monitor]:
        """Several monitors, each once."""
        return list(dict.fromkeys(map(self.monitor, names)))

    def is_probe(self, monitor: Monitor) -> bool:
        """Whether a monitor reads activations of the monitored model."""
        return monitor.id in self.task.trained

    def out_of_fold(self, monitor: Monitor) -> OutOfFold | None:
        """Out-of-fold scores on the training part, of all seeds that have any; None without some of each class.

        Rows without a fold are left out: those of the control part, and what a monitor says of examples it has seen.
        """
        rows = _of_monitor(self._training, monitor)
        rows = rows[rows["fold"].notna() & (rows["part"] == self.task.train)]
        rows = rows[rows["label"].notna() & rows["score"].notna()]
        label = rows["label"].to_numpy() == 1
        return OutOfFold(rows["score"].to_numpy(), label) if label.any() and not label.all() else None

    def rng(self, *names: str) -> np.random.Generator:
        """Random numbers of their own for each name; those of groups and a part are the metric table's."""
        return intervals.rng_of(self.task.seed, *names)

    def estimate(self, samples: Sequence[Sample], name: str) -> Estimate:
        """The mean over datasets and seeds of a quantity in [0, 1]; `name` is that of the draws of seeds."""
        return intervals.mean_estimate(samples, self.rng("seeds", name))

    def _examples(self, part: str) -> Examples:
        frame = self._frame[(self._frame["part"] == part) & self._frame["fold"].isna()]
        index = ["example_id", "sample_index"]
        labelled = frame[frame["label"].notna()].drop_duplicates([*index, "label", "group_id"]).sort_values(index)
        twice = labelled[labelled.duplicated(index)]
        if len(twice):
            raise CandorError(
                f"{part}: the monitors' scores give example {twice['example_id'].iloc[0]!r} two labels or groups; "
                "score them on the same dataset."
            )
        label = labelled["label"].to_numpy() == 1
        groups = np.unique(labelled["group_id"].to_numpy(dtype=str), return_inverse=True)[1]
        weights = np.ones((1 + self.task.bootstrap, len(label)))
        if len(label):
            weights[1:] = intervals.group_weights(groups, label, self.task.bootstrap, self.rng("groups", part))
        ratings = {row["example_id"]: row["rating"] for row in self._rows[part] if row["rating"] is not None}
        return Examples(
            index=pd.MultiIndex.from_frame(labelled[index]),
            label=label,
            groups=groups,
            weights=weights,
            tokens=self._tokens(frame, pd.MultiIndex.from_frame(labelled[index])),
            ratings=np.array([ratings.get(id, np.nan) for id in labelled["example_id"]], dtype=np.float64),
            n_skipped=len(frame.drop_duplicates(index)) - len(label),
        )

    def _tokens(self, frame: pd.DataFrame, index: pd.MultiIndex) -> Floats:
        """Tokens of examples, counted by the selected probe; where it has no scores here, by the first that counts."""
        selected = frame[frame["monitor"] == self.selection["monitor"]]
        rows = (frame if selected.empty else selected).dropna(subset=["n_tokens"])
        rows = rows[rows["monitor"] == rows["monitor"].iloc[0]] if len(rows) else rows
        of_example = rows.drop_duplicates(list(index.names)).set_index(list(index.names))["n_tokens"]
        return np.asarray(of_example.reindex(index).to_numpy(), dtype=np.float64)

    def _scored(self, monitor: Monitor, part: str) -> Scored:
        rows = _of_monitor(self._frame[self._frame["fold"].isna()], monitor)
        here = rows[rows["part"] == part]
        seeds, found = (sorted(map(int, one["seed"].dropna().unique())) for one in (rows, here))
        if here.empty or seeds != found:
            at = "" if monitor.layer is None else f" at layer {monitor.layer}"
            of = f" of the seeds {sorted(set(seeds) - set(found))}" if seeds != found and len(here) else ""
            raise CandorError(f"{part}: no scores of {monitor.id}{at}{of}; score it on this part.")
        index = self.examples(part).index
        here = here[here["label"].notna()]
        columns = index.get_indexer(pd.MultiIndex.from_frame(here[list(index.names)]))
        at_run = np.searchsorted(seeds, here["seed"].astype(int)) if seeds else np.zeros(len(here), int)
        taken = {
            "score": here["score"].where(here["status"].isin(SCORED)),
            "probability": here["probability"],
            "flops": here["flops_monitor" if self.is_probe(monitor) else "flops_total"],
        }
        arrays = {name: np.full((max(len(seeds), 1), len(index)), np.nan) for name in taken}
        for name, values in taken.items():
            arrays[name][at_run, columns] = values
        return Scored(**arrays, usable=np.isfinite(arrays["score"]).all(axis=0))


def read_rows(task: Measurement, paths: Sequence[Path]) -> dict[str, list[dict[str, Any]]]:
    """The rows of each evaluation part; `paths` are the files of its datasets, each once, in the task's order."""
    datasets = list(dict.fromkeys(map(dataset_of, task.evaluation)))
    if len(paths) != len(datasets):
        raise CandorError(f"{len(paths)} data files are given for {len(datasets)} datasets: {', '.join(datasets)}.")
    file_of = dict(zip(datasets, paths, strict=True))
    return {part: read_part(file_of[dataset_of(part)], part) for part in task.evaluation}


def read_scores(paths: Sequence[Path]) -> pa.Table:
    """Several score tables as one, which may be empty."""
    return pa.concat_tables(
        [SCORE.arrow().empty_table(), *(tables.read(path, SCORE).replace_schema_metadata(None) for path in paths)]
    )


def auroc_sample(scores: Floats, label: Bools, groups: npt.NDArray[np.intp], weights: Floats) -> Sample:
    """AUROC of scores [runs, n], by run, and in each draw its mean over runs; weights are [1 + draws, n].

    Few groups: wins are counted once for each two groups, averaged over runs, and a draw takes such a count as often as
    it takes both. Many groups: examples are ranked, run by run. Both give the same numbers.
    """
    _, first, codes = np.unique(groups, return_index=True, return_inverse=True)
    n_groups, trials = len(first), intervals.independent_pairs(groups, label)
    n_pairs = int(label.sum()) * int((~label).sum())
    if n_groups**2 > _RANKING * scores.size or n_pairs > _PAIRS:
        values = np.stack([auroc_weighted(score, label, weights) for score in scores], axis=1)
        return Sample(values[0], values[1:].mean(axis=1, keepdims=True), n_groups, trials)
    member = np.eye(n_groups)[codes]
    wins = np.stack([_wins(score, label, member) for score in scores])
    taken = weights[1:, first]
    pairs = (taken @ member[label].sum(0)) * (taken @ member[~label].sum(0))
    won = np.einsum("bg,bg->b", taken @ wins.mean(0), taken)
    draws = np.divide(won, pairs, out=np.full(len(pairs), np.nan), where=pairs > 0)
    return Sample(wins.sum((1, 2)) / n_pairs, draws[:, None], n_groups, trials)


def _wins(score: Floats, label: Bools, member: Floats) -> Floats:
    """How many pairs the positives of one group win against the negatives of another, ties half: [groups, groups]."""
    positive, negative = score[label][:, None], score[~label]
    return np.asarray(member[label].T @ ((positive > negative) + 0.5 * (positive == negative)) @ member[~label])


def curve_row(
    context: ScoreContext,
    curve: str,
    dataset: str,
    metric: str,
    points: Mapping[str, Point],
    found: Estimate | None,
    monitor: Monitor | None = None,
    x: float | None = None,
    remark: str | None = None,
    interval: Callable[[Estimate], Interval] | None = intervals.share_interval,
) -> dict[str, Any]:
    """A row of the curve table: the estimate of a quantity on one set, or of its mean over several.

    `points` are those of the sets; an estimate of None is undefined, and an interval of None is left out. `remark` is
    added to those of the points.
    """
    remarks = [remark, *_remarks(points)]
    value = low = high = None
    if found is not None:
        value = found.value
    if found is not None and interval is not None:
        low, high = (None if np.isnan(end) else end for end in interval(found))
        remarks += [ONE_GROUP] if low is None else []
        remarks += [PERFECT] if metric == "auroc" and value == 1 and low is not None else []
    costs = [point.flops for point in points.values()]
    return {
        "experiment": context.id,
        "curve": curve,
        "monitor": monitor.id if monitor else None,
        "layer": monitor.layer if monitor else None,
        "dataset": dataset,
        "x": x,
        "metric": metric,
        "value": value,
        "low": low,
        "high": high,
        "flops": None if None in costs else float(np.mean([cost for cost in costs if cost is not None])),
        **_total([point.counted for point in points.values()])._asdict(),
        "remark": "; ".join(dict.fromkeys(filter(None, remarks))) or None,
    }


def curve_rows(
    context: ScoreContext,
    curve: str,
    metric: str,
    points: Mapping[str, Point],
    estimate: Callable[[Sequence[str]], Estimate] | None = None,
    **more: Any,
) -> list[dict[str, Any]]:
    """A row for each evaluation set, and one for the mean over those out of distribution, each resampled on its own.

    `points` has one of each set. `estimate` is given the sets where the quantity is defined; without it, it is the mean
    of their samples. `more` as in `curve_row`.
    """
    rows = []
    for place, parts in [*((part, [part]) for part in points), (MEAN_DATASET, context.outside)]:
        samples = {part: sample for part in parts if (sample := points[part].sample)}
        found = None
        if samples:
            found = estimate(list(samples)) if estimate else context.estimate(list(samples.values()), curve)
        here = {part: points[part] for part in parts}
        rows.append(curve_row(context, curve, place, metric, here, found, **more))
    return rows


def _remarks(points: Mapping[str, Point]) -> list[str | None]:
    """What is to be known of a value; a mean names the sets that it leaves out, and why."""
    if len(points) == 1:
        return [point.remark for point in points.values()]
    return [
        f"{part}: {point.remark}" if point.sample else f"without {part}: {point.remark}"
        for part, point in points.items()
        if point.remark
    ]


def _total(counts: Sequence[Counted]) -> Counted:
    """Counts of several sets: sums, but for the runs, which are the same on all of them."""
    summed = Counted(*map(sum, zip(*counts, strict=True)))
    return summed._replace(n_runs=max(one.n_runs for one in counts))


def auroc_point(context: ScoreContext, monitor: Monitor, part: str) -> Point:
    """A monitor's AUROC on all the examples of a part that it has scored, and what it costs by example."""
    scored = context.scored(monitor, part)
    examples = context.examples(part).take(scored.usable)
    sample = examples.auroc(scored.score[:, scored.usable])
    cost = mean_cost(scored.flops[:, scored.usable])
    return Point(sample, examples.counted(scored.n_runs), None if sample else ONE_CLASS, cost)


def mean_cost(flops: Floats) -> float | None:
    """The mean of costs [runs, n]; None where one is unknown."""
    return float(flops.mean()) if flops.size and np.isfinite(flops).all() else None


def _of_whole_texts(scores: pa.Table, positive: str) -> pd.DataFrame:
    """The rows of whole texts and of the positive class, with `part` as a column and the label 1, 0 or nan."""
    frame = scores.to_pandas()
    frame = frame[frame["token_index"].isna() & (frame["class"] == positive)]
    return frame.assign(
        part=frame["dataset"] + "@" + frame["split"],
        label=frame["label"].map({True: 1.0, False: 0.0}).astype(float),
    )


def _of_monitor(frame: pd.DataFrame, monitor: Monitor) -> pd.DataFrame:
    rows = frame[frame["monitor"] == monitor.id]
    return rows[rows["layer"].isna() if monitor.layer is None else rows["layer"] == monitor.layer]
