"""The selected probe of each task on the evaluation sets of every task, as it was trained, beside its text baseline.

A probe is scored where the activations were read from its subject, at its hook and its layer. Another subject or hook
stops the job; a layer that a task's capture does not hold leaves that cell empty, and its remark says so.

For a target, some of the source's classes count as positive. A probe's score is their log-odds against its other
classes; a text baseline has no logits but a margin of each class against the rest, of which `margin_of` makes one.
The positive examples of a target are those of its own positive classes.
"""

import importlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from pydantic import TypeAdapter
from scipy.special import logsumexp

from candor.baselines import text as text_baselines
from candor.baselines.text import TextModel
from candor.config.experiments import Transfer
from candor.config.probes import Probe
from candor.config.tasks import Measurement, dataset_of
from candor.errors import CandorError
from candor.experiments.cells import Drawn, Found, cell, compared, valued
from candor.experiments.evaluation_context import read_parts
from candor.metrics.points import Bools, Floats
from candor.probes.features import Part
from candor.probes.files import SavedProbe
from candor.probes.scoring import part_logits
from candor.schemas.metric import MEAN_DATASET
from candor.schemas.status import SCORED


class Source(NamedTuple):
    """What a task has learnt: the probe and layer that were selected, and its text baseline, by its id."""

    monitor: str
    layer: int
    probe: SavedProbe
    text: tuple[str, TextModel] | None


@dataclass
class TransferContext:
    """Tasks by id, in the order of the experiment, with what each has learnt and its evaluation parts."""

    id: str
    experiment: Transfer
    tasks: Mapping[str, Measurement]
    sources: Mapping[str, Source]
    parts: Mapping[str, Mapping[str, Part]]
    progress: Callable[[str, int, str], Any]


def read_source(
    task: str, selection: Mapping[str, Any], probes: Mapping[str, Path], texts: Mapping[str, Path]
) -> Source:
    """What a task has learnt, from its selection and the files of `task/probe` and `task/baseline`."""
    monitor = str(selection["monitor"])
    own = [(key.split("/", 1)[1], path) for key, path in texts.items() if key.split("/", 1)[0] == task]
    text = (own[0][0], TextModel.load(own[0][1])) if own else None
    return Source(monitor, int(selection["layer"]), SavedProbe.load(probes[f"{task}/{monitor}"]), text)


def read_parts_of(task: Measurement, data: Sequence[Path], shards: Sequence[tuple[str, Path]]) -> dict[str, Part]:
    """A task's evaluation parts, from tables by dataset and files of activations with the capture of each."""
    tables_of = {path.stem: path for path in data}
    own = [path for capture, path in shards if capture == task.capture]
    return read_parts(task.evaluation, [tables_of[dataset_of(name)] for name in task.evaluation], own)


class _Scored(NamedTuple):
    """One part: who is positive, and scores [runs, n] of a monitor, nan without one; or why there are none."""

    part: Part
    labelled: list[int]
    positive: Bools
    scores: Floats | None
    remark: str | None = None


def run(context: TransferContext) -> list[dict[str, Any]]:
    """Rows of the cell table: for each source, target and evaluation part, and the mean over a target's parts."""
    _refuse_unknown_classes(context)
    rows: list[dict[str, Any]] = []
    progress = context.progress(f"transfer {context.id}", len(context.tasks), "tasks")
    for number, source in enumerate(context.tasks, start=1):
        for target in context.tasks:
            rows += _pair(context, source, target)
        progress.update(number)
    return rows


def _pair(context: TransferContext, source: str, target: str) -> list[dict[str, Any]]:
    own, task = context.sources[source], context.tasks[target]
    counted = context.experiment.classes(source, target, context.tasks[source].classes)
    rows: list[dict[str, Any]] = []
    place: dict[str, Any] = {"experiment": context.id, "source": source, "target": target, "class": "+".join(counted)}
    by_part: dict[str, dict[str, Found]] = {}
    for name, part in context.parts[target].items():
        scored = {own.monitor: _by_probe(context, source, target, part, counted)}
        if own.text is not None:
            scored[own.text[0]] = _by_text(context, source, target, part, counted)
        by_part[name] = _measured(scored, name, task)
    outside = [name for name in by_part if name not in task.in_distribution] or list(by_part)
    for name, parts in [*((name, [name]) for name in by_part), (MEAN_DATASET, outside)]:
        at = {**place, "dataset": name, "metric": "auroc"}
        found = {id: [by_part[part][id] for part in parts] for id in next(iter(by_part.values()))}
        for id, of in found.items():
            at["layer"] = own.layer if id == own.monitor else None
            rows.append(cell(at, monitor=id, **valued(of, task.seed, id)))
        if own.text is not None:
            ids = (own.monitor, own.text[0])
            gap = compared(found[ids[0]], found[ids[1]], task.seed, ids)
            rows.append(cell({**at, "layer": own.layer}, monitor=ids[0], versus=ids[1], **gap))
    return rows


def _measured(scored: Mapping[str, _Scored], name: str, task: Measurement) -> dict[str, Found]:
    """AUROC of each monitor on the examples that all of them have scored, with the same draws."""
    first = next(iter(scored.values()))
    usable = np.ones(len(first.labelled), dtype=bool)
    for each in scored.values():
        if each.scores is not None:
            usable &= np.isfinite(each.scores).all(0)
    positive = first.positive[usable]
    groups = [first.part.rows[i]["group_id"] for i, used in zip(first.labelled, usable, strict=True) if used]
    skipped = len(first.part.rows) - len(positive)
    drawn = Drawn(positive.astype(np.int64), groups, skipped, task.bootstrap, task.seed, name)
    found = {}
    for id, each in scored.items():
        if each.scores is None:
            counts = (len(positive), int(positive.sum()), drawn.n_groups, skipped)
            found[id] = Found(None, *counts, each.remark)
        else:
            value = drawn.auroc(each.scores[:, usable], positive)
            found[id] = value._replace(remark="; ".join(filter(None, [value.remark, each.remark])) or None)
    return found


def _labelled(context: TransferContext, target: str, part: Part) -> tuple[list[int], Bools]:
    task = context.tasks[target]
    wanted = context.experiment.positive.get(target) or task.classes[1:]
    labelled = [i for i, label in enumerate(part.labels(task.classes)) if label is not None]
    return labelled, np.array([part.rows[i]["label"] in wanted for i in labelled], dtype=bool)


def _by_probe(context: TransferContext, source: str, target: str, part: Part, counted: Sequence[str]) -> _Scored:
    own, header = context.sources[source], part.activations.header
    own.probe.refuse_other(
        subject=header.subject,
        revision=header.revision,
        hook=header.hook,
        width=header.width,
        path=part.activations.paths[0],
    )
    labelled, positive = _labelled(context, target, part)
    probe = TypeAdapter(Probe).validate_python(own.probe.header.probe)
    family = importlib.import_module(f"candor.probes.families.{probe.family}")
    held = {*header.layers, *(header.mean_layers if family.FEATURES == "mean" and not probe.roles else ())}
    if own.layer not in held and family.FEATURES != "log_loss":
        said = f"{source} reads layer {own.layer}, which the capture of {target} does not hold"
        return _Scored(part, labelled, positive, None, said)
    weights, biases = zip(*(own.probe.at(own.layer, seed) for seed in own.probe.header.seeds), strict=True)
    logits = part_logits(part.of_roles(probe.roles), weights, biases, own.layer, probe, family)
    return _Scored(part, labelled, positive, log_odds(logits, own.probe.header.classes, counted)[:, labelled])


def _by_text(context: TransferContext, source: str, target: str, part: Part, counted: Sequence[str]) -> _Scored:
    labelled, positive = _labelled(context, target, part)
    text = context.sources[source].text
    assert text is not None
    _, model = text
    read = text_baselines.conversations(part.rows, model.header.max_words, model.header.truncate)
    margins = np.asarray(text_baselines.score(model, read.texts).margins, dtype=np.float64)
    # an example that the subject did not read is nobody's
    readable = [a in SCORED and b in SCORED for a, b in zip(read.statuses, part.statuses, strict=True)]
    margins[~np.array(readable)] = np.nan
    return _Scored(part, labelled, positive, margin_of(margins[None], model.header.classes, counted)[:, labelled])


def log_odds(logits: Floats, classes: Sequence[str], counted: Sequence[str]) -> Floats:
    """Log-odds [runs, n] of the classes `counted` against all others, from logits [runs, n, c]."""
    inside = [k for k, name in enumerate(classes) if name in counted]
    outside = [k for k in range(len(classes)) if k not in inside]
    if logits.shape[2] == 1:
        return logits[..., 0] if inside == [1] else -logits[..., 0]
    return np.asarray(logsumexp(logits[..., inside], axis=2) - logsumexp(logits[..., outside], axis=2))


def margin_of(margins: Floats, classes: Sequence[str], counted: Sequence[str]) -> Floats:
    """Margin [runs, n] of the classes `counted`, from margins [runs, n, c] of each class against the rest.

    That of the one class that counts, as metrics take it, or of the one that does not, turned round; of several on both
    sides the largest inside less the largest outside.
    """
    inside = [k for k, name in enumerate(classes) if name in counted]
    outside = [k for k in range(len(classes)) if k not in inside]
    if margins.shape[2] == 1:
        return margins[..., 0] if inside == [1] else -margins[..., 0]
    if len(inside) == 1:
        return margins[..., inside[0]]
    if len(outside) == 1:
        return -margins[..., outside[0]]
    return np.asarray(margins[..., inside].max(2) - margins[..., outside].max(2))


def _refuse_unknown_classes(context: TransferContext) -> None:
    experiment = context.experiment
    named = [(task, classes, f"positive.{task}") for task, classes in experiment.positive.items()]
    for source, targets in experiment.counts_as.items():
        named += [(source, classes, f"counts_as.{source}.{target}") for target, classes in targets.items()]
    for task, classes, key in named:
        known = context.tasks[task].classes
        if not classes or not set(classes) < set(known):
            raise CandorError(
                f"experiments.{context.id}.{key} is {classes}; name some of the classes of {task}, but not all: "
                f"{', '.join(known)}."
            )
