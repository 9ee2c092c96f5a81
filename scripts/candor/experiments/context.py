"""What every experiment is given, and how it measures out-of-fold scores."""

import importlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from torch import Tensor

from candor.config.tasks import Bootstrapped
from candor.metrics.intervals import estimate, group_weights, independent_pairs, share_interval
from candor.metrics.points import auroc_weighted, share_weighted
from candor.probes.features import Features, Part
from candor.probes.fitting import fit_problems, out_of_fold_logits
from candor.probes.problems import make_problems


@dataclass
class Context:
    """A task's training part, the probe to train on it, and what has been selected."""

    id: str
    experiment: Any
    task: Bootstrapped
    probe: Any
    train: Part
    selection: dict[str, Any] | None
    """Of select_probe, for experiments that read a selected layer."""
    text: pa.Table | None
    """Training scores of the task's first baseline, which reads words; None where the task has no baseline."""
    progress: Callable[[str, int, str], Any]


class Examples:
    """The usable examples of a training part: labels int64 [n] (two classes), groups, folds, and mean activations."""

    def __init__(self, context: Context) -> None:
        part, task = context.train, context.task
        labels = part.labels(task.classes)
        self.at = [i for i in part.scored() if labels[i] is not None]
        self.y = np.array([labels[i] for i in self.at])
        self.rows = [part.rows[i] for i in self.at]
        self.groups = [row["group_id"] for row in self.rows]
        folds = part.folds(task.classes, task.folds, task.seed)
        self.folds = np.array([folds[i] for i in self.at])
        self.n_skipped = len(part.rows) - len(self.at)
        self._part = part

    def means(self, layer: int) -> Tensor:
        """Mean activations at a layer, float32 [n, width]."""
        return self._part.activations.means(layer)[[self._part.positions[i] for i in self.at]]


def out_of_fold(
    x: Tensor, y: np.ndarray, groups: Sequence[str], folds: np.ndarray, context: Context, seed: int
) -> np.ndarray:
    """Scores float64 [n] of the positive class, each from the fit that left the example's fold out."""
    family = importlib.import_module(f"candor.probes.families.{context.probe.family}")
    held_out = getattr(context.probe, "held_out", None)
    problems = make_problems(groups, y.tolist(), folds.tolist(), [seed], held_out, context.id, classes=2)
    features = Features(x, torch.ones(len(x), dtype=torch.int64))
    fitted = fit_problems(features, torch.from_numpy(y), problems, family, context.probe, seed)
    logits = out_of_fold_logits(features, fitted, problems, family, context.probe, folds.tolist())
    return logits[:, 0].double().numpy()


def measured(
    scores: np.ndarray, positive: np.ndarray, groups: Sequence[str], metrics: Sequence[str], draws: int, seed: int
) -> dict[str, dict[str, float | None]]:
    """metric -> value, low, high (95 %, bootstrap over groups) of scores [n] of examples that are positive or not.

    Metrics: auroc; accuracy, of the sign of the score. None where a class is missing or there is only one group.
    """
    codes = np.unique(np.asarray(groups), return_inverse=True)[1]
    if len(scores) == 0 or positive.all() or not positive.any():
        return {metric: {"value": None, "low": None, "high": None} for metric in metrics}
    rng = np.random.default_rng(seed)
    weights = np.concatenate([np.ones((1, len(scores))), group_weights(codes, positive, draws, rng)])
    pairs, n_groups = independent_pairs(codes, positive), int(codes.max()) + 1
    found = {}
    for metric in metrics:
        if metric == "auroc":
            values, trials = auroc_weighted(scores, positive, weights), pairs
        else:
            values, trials = share_weighted((scores > 0) == positive, weights), n_groups
        interval = share_interval(estimate(values[:1], values[1:, None], n_groups, trials, rng))
        found[metric] = {"value": _known(values[0]), "low": _known(interval.low), "high": _known(interval.high)}
    return found


def _known(value: float) -> float | None:
    return None if np.isnan(value) else float(value)
