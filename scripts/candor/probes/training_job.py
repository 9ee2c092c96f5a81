"""One training job: a family on a task's training set at every layer, its out-of-fold scores, its thresholds."""

import importlib
from collections.abc import Sequence
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import torch
from torch import Tensor

from candor.config.probes import Probe
from candor.config.tasks import Training
from candor.errors import CandorError
from candor.metrics.points import auroc, threshold_at_fpr
from candor.probes.features import Part, read_features
from candor.probes.files import Header, SavedProbe, stack
from candor.probes.fitting import fit_problems, out_of_fold_logits
from candor.probes.problems import Problems, make_problems
from candor.probes.scoring import class_scores, part_scores
from candor.probes.training import Fitted
from candor.progress import Progress
from candor.scores import score_table, scored_classes


class Trained(NamedTuple):
    """A probe for every layer and seed, and its scores: out of fold on the training set, and on the control set."""

    probe: SavedProbe
    scores: pa.Table
    n_skipped: int


class _Job(NamedTuple):
    """What is the same for every layer: usable training examples by index, with class indices and folds."""

    train: Part
    control: Part
    task: Training
    monitor: str
    probe: Any
    family: ModuleType
    usable: list[int]
    y: Tensor
    assigned: list[int]
    problems: Problems


class _Layer(NamedTuple):
    """One layer's weights [projections, width, c] and biases [c] by seed, its score tables, and header entries."""

    weights: list[Tensor]
    biases: list[Tensor]
    tables: list[pa.Table]
    thresholds: dict[str, dict[str, float]]
    auroc: float
    best_epochs: dict[str, int]


def train_probe(
    train: Part, control: Part, task: Training, task_id: str, probe_id: str, probe: Probe, descriptor: int
) -> Trained:
    """Train on all usable examples of the training part; CandorError when a class is missing."""
    train, control = train.of_roles(probe.roles), control.of_roles(probe.roles)
    labels = train.labels(task.classes)
    usable = [i for i in train.scored() if labels[i] is not None]
    y = torch.tensor([labels[i] for i in usable], dtype=torch.int64)
    _refuse_missing_classes(y, task, train.name)
    folds = train.folds(task.classes, task.folds, task.seed)
    assigned = [folds[i] for i in usable]
    groups = [train.rows[i]["group_id"] for i in usable]
    problems = make_problems(
        groups, y.tolist(), assigned, task.seeds, getattr(probe, "held_out", None), train.name, len(task.classes)
    )
    family = importlib.import_module(f"candor.probes.families.{probe.family}")
    job = _Job(train, control, task, probe_id, probe, family, usable, y, assigned, problems)
    layers = _layers(job)
    progress = Progress(f"train {probe_id}", len(layers), "layers", descriptor)
    done: list[_Layer] = []
    for number, layer in enumerate(layers, start=1):
        done.append(_train_layer(job, layer))
        progress.update(number)
    header = _header(job, task_id, layers)
    for name, found in zip(map(str, layers), done, strict=True):
        header.thresholds[name] = found.thresholds
        header.metrics[name] = {"cross_validated_auroc": found.auroc}
        header.best_epochs[name] = found.best_epochs
    saved = SavedProbe(stack([found.weights for found in done]), stack([found.biases for found in done]), header)
    return Trained(saved, pa.concat_tables([t for found in done for t in found.tables]), len(train.rows) - len(usable))


def _layers(job: _Job) -> list[int]:
    """The layers that the probe is trained on; those of the capture where it names none."""
    header, kind = job.train.activations.header, job.family.FEATURES
    if kind == "log_loss":  # the model's output, not a layer's
        return [header.blocks - 1]
    layers: list[int] = job.probe.layers or header.layers
    for part in (job.train, job.control):
        part.expect_layers(layers, kind)
    return layers


def _train_layer(job: _Job, layer: int) -> _Layer:
    task, train, problems = job.task, job.train, job.problems
    features = read_features(train, layer, job.family.FEATURES, job.usable)
    fitted = fit_problems(features, job.y, problems, job.family, job.probe, task.seed)
    weights, biases = _of_seeds(fitted, problems, task.seeds)
    own = out_of_fold_logits(features, fitted, problems, job.family, job.probe, job.assigned)
    on_control = part_scores(job.control, task.seeds, weights, biases, layer, job.probe, job.family)
    scores, probabilities = class_scores(own.double().numpy(), job.probe.family)
    out_of_fold = score_table(
        [train.rows[i] for i in job.usable],
        train.name,
        task.classes,
        job.monitor,
        scores,
        probabilities,
        layer,
        task.seeds[0],
        job.assigned,
        statuses=[train.statuses[i] for i in job.usable],
        n_tokens=[train.n_tokens[i] for i in job.usable],
    )
    auroc_of_folds = round(_mean_auroc(scores, job.y.numpy(), len(task.classes)), 6)
    found = _Layer(weights, biases, [out_of_fold], {}, auroc_of_folds, {})
    for seed in task.seeds:
        scores, probabilities = on_control[seed]
        table = score_table(
            job.control.rows,
            job.control.name,
            task.classes,
            job.monitor,
            scores,
            probabilities,
            layer,
            seed,
            statuses=job.control.statuses,
            n_tokens=job.control.n_tokens,
        )
        found.tables.append(table)
        finite = scores[np.isfinite(scores).all(1)]
        found.thresholds[str(seed)] = {
            name: threshold_at_fpr(finite[:, k], task.target_fpr) for k, name in enumerate(scored_classes(task.classes))
        }
        found.best_epochs[str(seed)] = fitted.best_epoch[_full(problems, seed)]
    return found


def _full(problems: Problems, seed: int) -> int:
    """The problem of a seed that is trained on every fold."""
    return list(zip(problems.seeds, problems.folds, strict=True)).index((seed, None))


def _of_seeds(fitted: Fitted, problems: Problems, seeds: Sequence[int]) -> tuple[list[Tensor], list[Tensor]]:
    """Weights [projections, width, c] and biases [c] of each seed, trained on the full training set."""
    full = [_full(problems, seed) for seed in seeds]
    return [fitted.weight[:, :, p] for p in full], [fitted.bias[p] for p in full]


def _mean_auroc(scores: np.ndarray, y: np.ndarray, classes: int) -> float:
    wanted = [1] if classes == 2 else range(classes)
    return float(np.mean([auroc(scores[:, column], y == k) for column, k in enumerate(wanted)]))


def _refuse_missing_classes(y: Tensor, task: Training, name: str) -> None:
    for k, label in enumerate(task.classes):
        if not (y == k).any():
            raise CandorError(
                f"{name}: has no usable example of the class {label!r}; a probe needs all of {task.classes}."
            )


def _header(job: _Job, task_id: str, layers: list[int]) -> Header:
    source = job.train.activations.header
    return Header(
        family=job.probe.family,
        probe=job.probe.model_dump(mode="json"),
        task=task_id,
        classes=job.task.classes,
        layers=layers,
        seeds=job.task.seeds,
        subject=source.subject,
        revision=source.revision,
        hook=source.hook,
        width=source.width,
        standardisation="folded into the weights: they apply to raw activations",
        train=job.train.name,
        train_sha256=source.dataset_sha256,
        n_train=len(job.y),
        control=job.control.name,
        target_fpr=job.task.target_fpr,
        thresholds={},
        metrics={},
        best_epochs={},
    )
