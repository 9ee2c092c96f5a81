"""Each value of an attribute held out in turn, and everything learnt without it: weights, layers, and which probe.

For a value, probes learn from the training examples that have another one. On these alone, by cross-validation with
folds by group, the rule of probes/selection.py chooses each probe's layer, and `selected` is the probe that it ranks
first. The examples of the value are then scored, those of the training set and of the evaluation sets of the same
dataset: no fit has seen any example of that value. TF-IDF learns from the same examples and scores the same ones: on
the text that the subject read, and with `responses` on what it answered.

Over all values stands the mean over values, each with its own fit: scores of two fits are never put into one ranking.
Its interval is for values that were never met: Student's t over the values' own results, since a bootstrap of groups
would hold the values fixed, and one of so few values is too narrow. Fits share most of what they learn from, so that
their results are not quite independent; no interval from one such study can tell by how much.
"""

import importlib
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch

from candor.baselines import tfidf
from candor.baselines.responses import as_read
from candor.baselines.text import conversations
from candor.config.experiments import SELECTED, LeaveOneOut
from candor.config.tasks import dataset_of
from candor.data.folds import group_folds
from candor.errors import CandorError
from candor.experiments.cells import Drawn, by_class, cell, compared, valued
from candor.experiments.evaluation_context import EvaluationContext
from candor.experiments.refitting import joined
from candor.metrics.points import Floats, auroc
from candor.probes.features import Features, Part, read_features
from candor.probes.fitting import fit_problems
from candor.probes.pooling import scores_in_blocks
from candor.probes.problems import Problems, make_problems
from candor.probes.scoring import class_scores
from candor.probes.selection import over_folds, within_one_se
from candor.probes.training import Fitted


class Examples(NamedTuple):
    """Labelled examples that every probe can read: those that may be learnt from, `train` [n], come first.

    `values` [n] are of the attribute; `n_skipped` others, by value, carry no score or no label.
    """

    parts: list[tuple[Part, list[int]]]
    y: np.ndarray
    groups: list[str]
    values: np.ndarray
    train: np.ndarray
    n_skipped: Counter[str]

    def rows(self) -> list[dict[str, Any]]:
        """The dataset's rows."""
        return [part.rows[i] for part, at in self.parts for i in at]

    def read(self, layer: int, kind: str, roles: Sequence[str] | None) -> Features:
        """Features of all examples at a layer."""
        read = [read_features(part.of_roles(roles), layer, kind, at) for part, at in self.parts if at]
        whole = read[0]
        for each in read[1:]:
            whole = joined(whole, each)
        return whole


class Split(NamedTuple):
    """One held-out value: the examples that are measured, and those learnt from with their folds."""

    value: str
    out: np.ndarray
    inside: np.ndarray
    folds: np.ndarray


class Scored(NamedTuple):
    """Scores [runs, n, c] of a split's held-out examples, by a probe at the layer chosen without them."""

    layer: int | None
    scores: Floats
    auroc: float
    """What cross-validation without the value gave."""


def run(context: EvaluationContext) -> list[dict[str, Any]]:
    """Rows of the cell table."""
    experiment: LeaveOneOut = context.experiment
    task = context.task
    examples = _examples(context)
    splits = _splits(context, examples)
    progress = context.progress(f"leave one out {context.id}", len(experiment.probes), "probes")
    found: dict[str, list[Scored]] = {}
    for number, id in enumerate(experiment.probes, start=1):
        found[id] = _by_probe(context, examples, splits, id)
        progress.update(number)
    ranked = [{id: of[at].auroc for id, of in found.items()} for at in range(len(splits))]
    chosen = [max(each, key=each.__getitem__) for each in ranked]  # the first of equals
    found = {SELECTED: [found[id][at] for at, id in enumerate(chosen)], **found}
    texts = _by_text(context, examples, splits)
    found |= texts
    drawn = [
        Drawn(examples.y[s.out], [examples.groups[i] for i in s.out], 0, task.bootstrap, task.seed, s.value)
        for s in splits
    ]
    measured = {
        id: [by_class(each, scored.scores, task.classes) for each, scored in zip(drawn, of, strict=True)]
        for id, of in found.items()
    }
    rows = []
    for id, of in measured.items():
        for key in of[0]:
            places: list[tuple[int | None, list[int]]] = [*((at, [at]) for at in range(len(splits)))]
            for at, several in [*places, (None, list(range(len(splits))))]:
                own, over = [of[i][key] for i in several], at is None
                skipped = examples.n_skipped.total() if over else examples.n_skipped[splits[several[0]].value]
                row = _place(context, splits, found[id], at, examples)
                if id == SELECTED and at is not None:
                    row["remark"] = f"the probe is {chosen[at]}"
                rows.append(_cell(row, id, key, None, valued(own, task.seed, id, sets_vary=over), skipped))
                for text in texts if id not in texts else ():
                    other = [measured[text][i][key] for i in several]
                    gap = compared(own, other, task.seed, (id, text), sets_vary=over)
                    rows.append(_cell(row, id, key, text, gap, skipped))
    return rows


def _cell(
    place: Mapping[str, Any], id: str, key: tuple[str, str | None], versus: str | None, row: Mapping[str, Any], n: int
) -> dict[str, Any]:
    remark = "; ".join(filter(None, [place.get("remark"), row["remark"]])) or None
    more = {"n_skipped": row["n_skipped"] + n, "remark": remark}
    return cell(place, monitor=id, metric=key[0], versus=versus, **{**row, **more, "class": key[1]})


def _place(
    context: EvaluationContext, splits: Sequence[Split], of: Sequence[Scored], at: int | None, examples: Examples
) -> dict[str, Any]:
    """What a row is about: a held-out value, or None for all of them."""
    layers = {each.layer for each in (of if at is None else [of[at]])}
    inside = None if at is None else len({examples.groups[i] for i in splits[at].inside})
    return {
        "experiment": context.id,
        "layer": layers.pop() if len(layers) == 1 else None,
        "source": context.experiment.attribute,
        "target": None if at is None else splits[at].value,
        "n_source_groups": inside,
    }


def _examples(context: EvaluationContext) -> Examples:
    experiment, task = context.experiment, context.task
    own = [part for name, part in context.evaluation.items() if dataset_of(name) == dataset_of(task.train)]
    parts, y, train = [], [], []
    for part in (context.train, *own):
        labels = part.labels(task.classes)
        readable = [set(part.of_roles(context.probes[id].roles).scored()) for id in experiment.probes]
        at = [i for i in part.scored() if labels[i] is not None and all(i in each for each in readable)]
        parts.append((part, at))
        y += [labels[i] for i in at]
        train += [part is context.train] * len(at)
    rows = [part.rows[i] for part, at in parts for i in at]
    named = [_value(row, experiment.attribute) for row in rows]
    groups = [row["group_id"] for row in rows]
    if lacking := named.count(""):
        raise CandorError(
            f"experiments.{context.id}.attribute: {lacking} of {len(rows)} examples of {dataset_of(task.train)} have "
            f"no {experiment.attribute!r}; name an attribute that each example has."
        )
    of_group: dict[str, str] = {}
    for group, value in zip(groups, named, strict=True):
        if of_group.setdefault(group, value) != value:
            raise CandorError(
                f"experiments.{context.id}.attribute: group {group!r} has {experiment.attribute} {of_group[group]!r} "
                f"and {value!r}, so that a probe would meet it on both sides; name an attribute that groups share."
            )
    skipped = Counter(_value(row, experiment.attribute) for part, _ in parts for row in part.rows) - Counter(named)
    return Examples(parts, np.array(y, dtype=np.int64), groups, np.array(named), np.array(train), skipped)


def _value(row: Mapping[str, Any], attribute: str) -> str:
    """A row's value of an attribute; empty without one."""
    found = json.loads(row["attributes"]).get(attribute)
    return "" if found is None else str(found)


def _splits(context: EvaluationContext, examples: Examples) -> list[Split]:
    task = context.task
    values = sorted(set(examples.values.tolist()))
    if len(values) < 2:
        raise CandorError(
            f"experiments.{context.id}.attribute: all examples have one {context.experiment.attribute}, so none can be "
            "held out; name an attribute with several values."
        )
    found = []
    for value in values:
        out = np.flatnonzero(examples.values == value)
        inside = np.flatnonzero((examples.values != value) & examples.train)
        labels = [task.classes[k] for k in examples.y[inside]]
        folds = group_folds([examples.groups[i] for i in inside], labels, task.folds, task.seed)
        found.append(Split(value, out, inside, folds))
    return found


def _by_probe(context: EvaluationContext, examples: Examples, splits: Sequence[Split], id: str) -> list[Scored]:
    """All values' fits, their folds and seeds, as one batched problem for each layer."""
    task, probe = context.task, context.probes[id]
    family = importlib.import_module(f"candor.probes.families.{probe.family}")
    if family.FEATURES == "log_loss":
        raise CandorError(f"experiments.{context.id}.probes: {id} reads no activations; name another probe.")
    layers = getattr(probe, "layers", None) or context.train.activations.header.layers
    for part, _ in examples.parts:
        part.of_roles(probe.roles).expect_layers(layers, family.FEATURES)
    problems = [_problems(context, examples, split, probe) for split in splits]
    # a closed form is fitted once for each number, so that a value's fits have numbers of their own
    starts = np.cumsum([0, *(len(each.seeds) for each in problems)])
    numbers: list[int | None] = [
        n * (task.folds + 1) + (task.folds if f is None else f) for n, p in enumerate(problems) for f in p.folds
    ]
    whole = Problems(
        [seed for each in problems for seed in each.seeds],
        numbers,
        torch.cat([each.train for each in problems], 1),
        torch.cat([each.watch for each in problems], 1),
    )
    n_train, y = int(examples.train.sum()), torch.from_numpy(examples.y)
    by_layer = []
    for layer in layers:
        features = examples.read(layer, family.FEATURES, probe.roles)
        fitted = fit_problems(features.block(0, n_train), y[:n_train], whole, family, probe, task.seed)
        by_layer.append(_logits(features, fitted, family, probe))
    found = []
    for split, own, start in zip(splits, problems, starts, strict=False):
        entries = [
            {"layer": layer, "at": at, **_cross_validated(logits[:, start:], own, split, examples, probe.family)}
            for at, (layer, logits) in enumerate(zip(layers, by_layer, strict=True))
        ]
        best = within_one_se(entries)
        full = [start + p for p, fold in enumerate(own.folds) if fold is None]
        logits = by_layer[best["at"]][split.out][:, full].transpose(1, 0, 2)
        scores = np.stack([class_scores(each, probe.family)[0] for each in logits])
        found.append(Scored(best["layer"], scores, best["auroc"]))
    return found


def _logits(features: Features, fitted: Fitted, family: Any, probe: Any) -> Floats:
    """Logits float64 [n, p, c] of all examples by all problems."""
    flat = scores_in_blocks(features, fitted.weight.flatten(2), fitted.bias.flatten(), family, probe)
    return np.asarray(flat.view(len(flat), *fitted.bias.shape).double().numpy())


def _problems(context: EvaluationContext, examples: Examples, split: Split, probe: Any) -> Problems:
    """The problems of one held-out value over all training examples, of which only those inside do anything."""
    task, inside = context.task, split.inside
    found = make_problems(
        [examples.groups[i] for i in inside],
        examples.y[inside].tolist(),
        split.folds.tolist(),
        task.seeds,
        getattr(probe, "held_out", None),
        f"experiments.{context.id} without {split.value}",
        len(task.classes),
    )
    masks = torch.zeros(2, int(examples.train.sum()), len(found.seeds), dtype=torch.bool)
    masks[:, torch.from_numpy(inside)] = torch.stack([found.train, found.watch])
    return found._replace(train=masks[0], watch=masks[1])


def _cross_validated(
    logits: Floats, problems: Problems, split: Split, examples: Examples, family: str
) -> dict[str, float]:
    """Mean AUROC over folds (and classes) and its standard error, on what is inside; logits [n, p, c]."""
    y, folds = examples.y[split.inside], split.folds
    found = []
    for fold in np.unique(folds):
        at = folds == fold
        scores, _ = class_scores(logits[split.inside[at], problems.folds.index(int(fold))], family)
        wanted = [(0, 1)] if scores.shape[1] == 1 else [(k, k) for k in range(scores.shape[1])]
        parts = [auroc(scores[:, column], y[at] == k) for column, k in wanted]
        known = [part for part in parts if not np.isnan(part)]
        found.append(float(np.mean(known)) if known else float("nan"))
    return over_folds(found)


def _by_text(context: EvaluationContext, examples: Examples, splits: Sequence[Split]) -> dict[str, list[Scored]]:
    """TF-IDF of the texts, and of the responses to them if asked for, learnt from the same examples."""
    experiment: LeaveOneOut = context.experiment
    options, rows = experiment.text, examples.rows()
    read: dict[str, list[dict[str, Any]]] = {options.kind: rows}
    if experiment.responses:
        read[f"{options.kind} of responses"] = as_read(rows, "response", context.responses)
    found: dict[str, list[Scored]] = {}
    for name, of in read.items():
        texts = conversations(of, None, "left").texts
        for split in splits:
            inside = [texts[i] for i in split.inside]
            learnt = tfidf.fit(inside, examples.y[split.inside], context.task.classes, options, context.task.seed)
            margins = tfidf.score(learnt, options, [texts[i] for i in split.out]).margins
            scores = np.asarray(margins, dtype=np.float64)[None]
            found.setdefault(name, []).append(Scored(None, scores, float("nan")))
    return found
