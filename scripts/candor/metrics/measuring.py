"""The metric table of a task: what every monitor is worth on every evaluation set, with intervals and comparisons.

Values are means over a monitor's seeds, at the layer selected for it; intervals are those of intervals.py. All monitors
of an evaluation set share the draws of groups, so that comparisons are paired.

Comparisons are differences in AUROC: every monitor less the task's first baseline, and the headline monitor less every
other baseline. A family of tests for Holm's correction is all of them on one dataset (or on the mean) and one class.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa

from candor.config.tasks import Measurement
from candor.errors import CandorError
from candor.metrics import intervals, points
from candor.metrics.intervals import Estimate, Sample
from candor.metrics.points import Bools, Floats
from candor.schemas.metric import MACRO, MEAN_DATASET
from candor.schemas.status import SCORED

RANK_METRICS = points.RankMetrics._fields
FINE_NEGATIVES = 300
"""Negatives below which a rate at a false positive rate is marked as coarse."""
METRICS = (
    "auroc",
    "accuracy",
    "tpr_at_fpr",
    "tpr_at_fpr_nearest",
    "tpr_at_5_fpr",
    "realised_fpr",
    "tpr_at_control",
    "fpr_at_control",
)
"""Metrics of every monitor; those at the control set's threshold only for two classes, `macro` has only the first."""
COARSE = ("tpr_at_fpr", "tpr_at_fpr_nearest", "tpr_at_5_fpr", "realised_fpr", "fpr_at_control")
"""The metrics that are marked so."""
PERFECT = "perfect separation: the interval's upper end is 1, its lower end rests on n"
ONE_CLASS = "one class only"
ONE_GROUP = "one group only: no interval"


class MeasuringError(CandorError):
    """Scores that a task's metrics cannot be computed from; the message says why."""


class Counted(NamedTuple):
    """What a value rests on: examples with a score and a label, and those without."""

    n: int
    n_positive: int
    n_negative: int
    n_groups: int
    n_seeds: int
    n_skipped: int
    n_truncated: int


@dataclass(frozen=True)
class Panel:
    """One monitor's scores of one class on one part. Examples [n] are all that have a label, usable or not.

    score and probability are [seeds, n], nan where there is none; threshold is [seeds], nan where the control set gave
    none. An example is usable when every seed has scored it.
    """

    score: Floats
    probability: Floats
    threshold: Floats
    usable: Bools
    truncated: Bools


@dataclass(frozen=True)
class Sheet:
    """One class on one part: labels [n], groups [n] numbered from 0, and how often each draw takes each example.

    weights are [1 + draws, n]: the first row takes every example once, the others are the bootstrap's.
    """

    label: Bools
    groups: npt.NDArray[np.intp]
    weights: Floats
    n_unlabelled: int
    panels: dict[str, Panel]


@dataclass(frozen=True)
class Measured:
    """One metric of one monitor on one part: values [1 + draws, seeds] in the order of the weights, None if undefined.

    `trials` is the number of independent trials behind a value of exactly 0 or 1; `remark` says what is to be known.
    """

    values: Floats | None
    trials: int
    counted: Counted
    remark: str | None = None


def measure(
    scores: pa.Table | pd.DataFrame,
    task: Measurement,
    task_id: str,
    selection: Mapping[str, Any],
    families: Mapping[str, str],
) -> list[dict[str, Any]]:
    """Rows of the metric table, from the score tables of all monitors on all evaluation sets of a task.

    `selection` is results/selections/{task}.json, `families` names the family of each monitor. MeasuringError when a
    monitor has no scores on a set, or when scores contradict each other.
    """
    frame = _whole_texts(scores)
    layers = {
        **{probe: selection["probes"][probe]["layer"] for probe in task.probes},
        **{control: selection["controls"][control]["layer"] for control in task.controls},
        **dict.fromkeys(task.baselines),
    }
    scored = _scored_classes(task)
    thresholds = selection.get("thresholds", {}) if len(scored) == 1 else {}
    sheets = {
        (part, cls): _sheet(frame, task, part, cls, layers, thresholds) for part in task.evaluation for cls in scored
    }
    measured = {key: {monitor: _metrics(sheet, monitor, task) for monitor in layers} for key, sheet in sheets.items()}
    outside = [part for part in task.evaluation if part not in task.in_distribution] or task.evaluation

    rows: list[dict[str, Any]] = []
    for place, parts in [*((part, [part]) for part in task.evaluation), (MEAN_DATASET, outside)]:
        for cls in scored if len(scored) == 1 else [*scored, MACRO]:
            of = [cls] if cls != MACRO else scored
            at = {"dataset": place, "class": cls}
            for monitor in layers:
                for metric in _metric_names(task, cls):
                    found = {part: _macro([measured[part, one][monitor][metric] for one in of]) for part in parts}
                    rows.append({**at, "monitor": monitor, "metric": metric, **_value(found, metric, monitor, task)})
            compared = []
            for monitor, versus in _comparisons(task, selection["monitor"]):
                pairs = {
                    part: [_paired(sheets[part, one], measured[part, one], monitor, versus) for one in of]
                    for part in parts
                }
                sides = [{part: _macro([pair[i] for pair in found]) for part, found in pairs.items()} for i in (0, 1)]
                compared.append(
                    {**at, "monitor": monitor, "versus": versus, **_difference(sides, monitor, versus, task)}
                )
            for row, corrected in zip(compared, intervals.holm([row["p_value"] for row in compared]), strict=True):
                rows.append({**row, "p_holm": corrected})
    for row in rows:
        monitor = row["monitor"]
        row |= {"task": task_id, "family": families[monitor], "layer": layers[monitor]}
        row["selected"] = monitor == selection["monitor"]
    return [_nulls({"versus": None, "p_value": None, "p_holm": None, **row}) for row in rows]


def _scored_classes(task: Measurement) -> list[str]:
    """Classes that the score table has rows for: of two only the positive one."""
    return task.classes[1:] if len(task.classes) == 2 else task.classes


def _comparisons(task: Measurement, headline: str) -> list[tuple[str, str]]:
    """Pairs (monitor, versus), each once: all versus the first baseline, the headline versus all that is no probe."""
    controls = [(headline, control) for control in task.controls]
    if not task.baselines:
        return controls
    first, *others = task.baselines
    compared = [(monitor, first) for monitor in [*task.probes, *task.controls, *others]]
    return compared + controls + [(headline, other) for other in others]


def _metric_names(task: Measurement, cls: str) -> tuple[str, ...]:
    if cls == MACRO:
        return METRICS[:1]
    return METRICS if len(task.classes) == 2 else tuple(name for name in METRICS if not name.endswith("_control"))


def _whole_texts(scores: pa.Table | pd.DataFrame) -> pd.DataFrame:
    """The scores of whole texts that are not cross-validated training scores, with `part` and `example` as columns."""
    frame = scores.to_pandas() if isinstance(scores, pa.Table) else scores
    frame = frame[frame["token_index"].isna() & frame["fold"].isna()]
    return frame.assign(
        part=frame["dataset"] + "@" + frame["split"],
        example=frame.groupby(["example_id", "sample_index"]).ngroup(),
        label=frame["label"].map({True: 1.0, False: 0.0}).astype(float),
    )


def _sheet(
    frame: pd.DataFrame,
    task: Measurement,
    part: str,
    cls: str,
    layers: Mapping[str, int | None],
    thresholds: Mapping[str, Any],
) -> Sheet:
    rows = frame[(frame["part"] == part) & (frame["class"] == cls)]
    labelled = rows[rows["label"].notna()].drop_duplicates(["example", "label", "group_id"]).sort_values("example")
    if labelled["example"].duplicated().any():
        twice = labelled["example_id"][labelled["example"].duplicated()].iloc[0]
        raise MeasuringError(
            f"{part}: the monitors' scores give example {twice!r} two labels or groups; score them on the same dataset."
        )
    label = labelled["label"].to_numpy() == 1
    groups = np.unique(labelled["group_id"].to_numpy(dtype=str), return_inverse=True)[1]
    weights = np.ones((1 + task.bootstrap, len(label)))
    if len(label):
        weights[1:] = intervals.group_weights(
            groups, label, task.bootstrap, intervals.rng_of(task.seed, "groups", part)
        )
    examples = pd.Index(labelled["example"])
    panels = {
        monitor: _panel(frame, (part, cls), monitor, layer, examples, thresholds.get(monitor, {}))
        for monitor, layer in layers.items()
    }
    return Sheet(label, groups, weights, rows["example"].nunique() - len(label), panels)


def _panel(
    frame: pd.DataFrame,
    place: tuple[str, str],
    monitor: str,
    layer: int | None,
    examples: pd.Index,
    thresholds: Mapping[str, Mapping[str, Mapping[str, float]]],
) -> Panel:
    """One monitor's panel of a part and class (`place`), from all scores; thresholds are by layer, seed and class."""
    rows = frame[frame["monitor"] == monitor]
    rows = rows[rows["layer"].isna() if layer is None else rows["layer"] == layer]
    here = rows[(rows["part"] == place[0]) & (rows["class"] == place[1])]
    if here.empty:
        where = "" if layer is None else f" at layer {layer}"
        raise MeasuringError(
            f"{place[0]}: no scores of {monitor}{where} for class {place[1]!r}; score it on this part."
        )
    seeds, found = (sorted(map(int, one["seed"].dropna().unique())) for one in (rows, here))
    if seeds != found:
        raise MeasuringError(
            f"{place[0]}: {monitor} has scores of the seeds {found}, elsewhere of {seeds}; score the same on all."
        )
    here = here[here["example"].isin(examples)]
    shape = (max(len(seeds), 1), len(examples))
    at = (
        np.searchsorted(seeds, here["seed"]) if seeds else np.zeros(len(here), int),
        examples.get_indexer(here["example"]),
    )
    score, probability, truncated = np.full(shape, np.nan), np.full(shape, np.nan), np.zeros(shape, dtype=bool)
    score[at] = here["score"].where(here["status"].isin(SCORED))
    probability[at] = here["probability"]
    truncated[at] = here["status"] == "truncated"
    by_seed = thresholds.get("none" if layer is None else str(layer), {})
    threshold = [by_seed.get(seed, {}).get(place[1], np.nan) for seed in [str(seed) for seed in seeds] or ["none"]]
    usable, cut = np.isfinite(score).all(axis=0), truncated.any(axis=0)
    return Panel(score, probability, np.array(threshold, dtype=np.float64), np.asarray(usable), np.asarray(cut))


def _metrics(sheet: Sheet, monitor: str, task: Measurement) -> dict[str, Measured]:
    """All metrics of a monitor on a part."""
    panel = sheet.panels[monitor]
    usable = panel.usable
    counted = _counted(sheet, panel, usable)
    label, groups, weights = sheet.label[usable], sheet.groups[usable], sheet.weights[:, usable]
    with_positive, with_negative = (len(np.unique(groups[side])) for side in (label, ~label))
    trials = {
        "auroc": intervals.independent_pairs(groups, label),
        "accuracy": counted.n_groups,
        "realised_fpr": with_negative,
        "fpr_at_control": with_negative,
    }
    found: dict[str, tuple[Floats | None, str | None]] = dict.fromkeys(METRICS, (None, ONE_CLASS))
    if with_positive and with_negative:
        by_seed = [points.rank_metrics(score, label, weights, task.target_fpr) for score in panel.score[:, usable]]
        found |= {name: (np.stack([getattr(one, name) for one in by_seed], axis=1), None) for name in RANK_METRICS}
    found["accuracy"] = (None, "the monitor gives no probability")
    probability = panel.probability[:, usable]
    if not np.isnan(probability).any():
        found["accuracy"] = (_shares((probability > 0.5) == label, weights), None)
    for name, side in (("tpr_at_control", label), ("fpr_at_control", ~label)):
        if np.isnan(panel.threshold).any():
            found[name] = (None, "no threshold from the control set")
        elif side.any():
            flagged = panel.score[:, usable][:, side] > panel.threshold[:, None]
            found[name] = (_shares(flagged, weights[:, side]), None)
    if not counted.n:
        found = dict.fromkeys(METRICS, (None, "no example has a score and a label"))
    return {
        name: Measured(values, trials.get(name, with_positive), counted, remark)
        for name, (values, remark) in found.items()
    }


def _shares(hits: Bools, weights: Floats) -> Floats:
    """Shares of hits [seeds, n] in each draw: [draws, seeds]."""
    return np.stack([points.share_weighted(hit, weights) for hit in hits], axis=1)


def _counted(sheet: Sheet, panel: Panel, usable: Bools) -> Counted:
    label = sheet.label[usable]
    return Counted(
        n=len(label),
        n_positive=int(label.sum()),
        n_negative=int((~label).sum()),
        n_groups=len(np.unique(sheet.groups[usable])),
        n_seeds=len(panel.score),
        n_skipped=sheet.n_unlabelled + int((~usable).sum()),
        n_truncated=int(panel.truncated[usable].sum()),
    )


def _paired(
    sheet: Sheet, measured: Mapping[str, Mapping[str, Measured]], monitor: str, versus: str
) -> tuple[Measured, Measured]:
    """AUROC of two monitors on the examples that both have scored."""
    common = sheet.panels[monitor].usable & sheet.panels[versus].usable
    return _auroc_on(sheet, measured, monitor, common), _auroc_on(sheet, measured, versus, common)


def _auroc_on(sheet: Sheet, measured: Mapping[str, Mapping[str, Measured]], monitor: str, usable: Bools) -> Measured:
    panel = sheet.panels[monitor]
    if (usable == panel.usable).all():
        return measured[monitor]["auroc"]
    label, groups, weights = sheet.label[usable], sheet.groups[usable], sheet.weights[:, usable]
    counted = _counted(sheet, panel, usable)
    if label.all() or not label.any():
        return Measured(None, 0, counted, ONE_CLASS)
    values = [points.auroc_weighted(score, label, weights) for score in panel.score[:, usable]]
    return Measured(np.stack(values, axis=1), intervals.independent_pairs(groups, label), counted)


def _macro(classes: Sequence[Measured]) -> Measured:
    """The mean over classes; undefined where one of them is."""
    if len(classes) == 1:
        return classes[0]
    remark = next((one.remark for one in classes if one.remark), None)
    values = [one.values for one in classes if one.values is not None]
    whole = np.mean(values, axis=0) if len(values) == len(classes) else None
    return Measured(whole, min(one.trials for one in classes), classes[0].counted, remark)


def _value(found: Mapping[str, Measured], metric: str, monitor: str, task: Measurement) -> dict[str, Any]:
    """Value, interval, counts and remarks of a metric on one part, or of its mean over several."""
    estimate = _estimate(list(found.values()), monitor, task)
    remarks = _remarks(found)
    if metric in COARSE:
        remarks += _coarse(min(one.counted.n_negative for one in found.values()), metric, task.target_fpr)
    if estimate is None:
        return {"value": None, "low": None, "high": None, **_counts(found), "remark": "; ".join(remarks)}
    if metric == "auroc" and estimate.value == 1:
        remarks.append(PERFECT)
    low, high = intervals.share_interval(estimate)
    if np.isnan(low):
        remarks.append(ONE_GROUP)
    return {"value": estimate.value, "low": low, "high": high, **_counts(found), "remark": "; ".join(remarks)}


def _difference(
    sides: Sequence[Mapping[str, Measured]], monitor: str, versus: str, task: Measurement
) -> dict[str, Any]:
    """Difference of two AUROCs on one part, or of their means over several, with its p-value."""
    one, other = (
        _estimate(list(side.values()), name, task) for side, name in zip(sides, (monitor, versus), strict=True)
    )
    row = {"metric": "auroc", **_counts(sides[0])}
    remarks = _remarks(sides[0])
    if one is None or other is None:
        return {**row, "value": None, "low": None, "high": None, "p_value": None, "remark": "; ".join(remarks)}
    found = intervals.difference(one, other)
    low, high = intervals.difference_interval(found)
    if np.isnan(low):
        remarks.append(ONE_GROUP)
    p_value = intervals.p_value(found)
    return {**row, "value": found.value, "low": low, "high": high, "p_value": p_value, "remark": "; ".join(remarks)}


def _estimate(found: Sequence[Measured], monitor: str, task: Measurement) -> Estimate | None:
    samples = [
        Sample(one.values[0], one.values[1:], one.counted.n_groups, one.trials)
        for one in found
        if one.values is not None
    ]
    return intervals.mean_estimate(samples, intervals.rng_of(task.seed, "seeds", monitor)) if samples else None


def _remarks(found: Mapping[str, Measured]) -> list[str]:
    """What is to be known of a value; a mean names the parts that it leaves out, and why."""
    if len(found) == 1:
        return [one.remark for one in found.values() if one.remark]
    return [f"without {part}: {one.remark}" for part, one in found.items() if one.values is None]


def _coarse(n_negative: int, metric: str, target: float) -> list[str]:
    """What few negatives do to a rate: its resolution, and what becomes of a target below it."""
    if not 0 < n_negative < FINE_NEGATIVES:
        return []
    remarks = [f"fewer than {FINE_NEGATIVES} negatives: resolution {1 / n_negative:.3f}"]
    expected = n_negative * (0.05 if metric == "tpr_at_5_fpr" else target)
    if metric in ("tpr_at_fpr", "tpr_at_5_fpr", "realised_fpr") and expected < 1 - points.SLACK:
        remarks.append("the threshold lies above every negative, so the interval is too short")
    if metric == "tpr_at_fpr_nearest" and expected <= 0.5:
        remarks.append("the ROC curve's nearest point is its start, where TPR is 0")
    return remarks


def _counts(found: Mapping[str, Measured]) -> dict[str, int]:
    """Counts of a row: sums over parts, but for the seeds, which are the same on all of them."""
    total = Counted(*(sum(column) for column in zip(*(one.counted for one in found.values()), strict=True)))
    return total._replace(n_seeds=max(one.counted.n_seeds for one in found.values()))._asdict()


def _nulls(row: dict[str, Any]) -> dict[str, Any]:
    """A row with nulls for what is undefined: nan, and remarks that say nothing."""
    return {
        key: None if value == "" or (isinstance(value, float) and np.isnan(value)) else value
        for key, value in row.items()
    }
