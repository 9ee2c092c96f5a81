"""Examples of two classes at a span of their activations, and linear scores of them, cross-fitted by group."""

from collections.abc import Sequence
from functools import cached_property
from typing import NamedTuple

import numpy as np
import torch

from candor.activations.files import ActivationsError
from candor.config.captures import Span
from candor.config.probes import DifferenceOfMeans, Logistic
from candor.experiments.permuting import permuted_by_group
from candor.metrics.points import Bools, Floats
from candor.probes.families import difference_of_means, logistic
from candor.probes.features import Part

Probe = DifferenceOfMeans | Logistic


class Direction(NamedTuple):
    """A linear score: features [n, width] @ weight [width] + bias, both float64."""

    weight: Floats
    bias: float

    def scores(self, x: Floats) -> Floats:
        """Scores [n] of features [n, width]."""
        return np.asarray(x @ self.weight + self.bias)


class Labelled:
    """The examples of a part that are of two classes, are whole, and have a span, in the part's order.

    Folds are dealt before the others are left out, so that all spans of a part share them.
    """

    def __init__(self, part: Part, classes: Sequence[str], span: Span, folds: int, seed: int) -> None:
        labels, there = part.labels(classes), part.activations.with_span(span)
        at = [i for i in part.scored() if labels[i] is not None and there[part.positions[i]]]
        dealt = part.folds(classes, folds, seed)
        self.y: Bools = np.array([labels[i] == 1 for i in at], dtype=bool)
        """Whether an example is of the second class, [n]."""
        self.rows = [part.rows[i] for i in at]
        self.groups: list[str] = [row["group_id"] for row in self.rows]
        self.n_groups = len(set(self.groups))
        self.folds = np.array([dealt[i] for i in at], dtype=np.int64)
        self.n_skipped = len(part.rows) - len(at)
        self._activations, self._span, self._seed = part.activations, span, seed
        self._at = [part.positions[i] for i in at]

    @cached_property
    def shuffled(self) -> Bools:
        """The labels [n] after they have changed places, by group."""
        return np.asarray(permuted_by_group(self.y, self.groups, self._seed))

    def x(self, layer: int) -> Floats:
        """The mean over the span's tokens at a layer, float64 [n, width]; stops at values that are not finite."""
        found = self._activations.span(layer, self._span, self._at).double().numpy()
        if not np.isfinite(found).all():
            raise ActivationsError(
                f"{self._activations.paths[0]}: layer {layer} holds values that are not finite in examples marked as "
                "whole; delete it to make it again."
            )
        return np.asarray(found)


def fitted(x: Floats, y: Bools, probe: Probe) -> Direction:
    """The direction of a probe's family from features [n, width] of both classes, y [n]."""
    features, labels = torch.from_numpy(x), torch.from_numpy(y.astype(np.int64))
    if isinstance(probe, Logistic):
        weight, bias = logistic.fit(features, labels, 2, probe)
    else:
        weight, bias = difference_of_means.fit(features, labels, 2, probe)
    return Direction(weight[:, 0].numpy(), float(bias[0]))


def cross_fitted(x: Floats, y: Bools, folds: np.ndarray, probe: Probe) -> Floats | None:
    """Scores [n], each from the fit that left the example's fold out; None where a fit would lack a class."""
    scores = np.empty(len(y))
    for fold in np.unique(folds):
        out = folds == fold
        if y[~out].all() or not y[~out].any():
            return None
        scores[out] = fitted(x[~out], y[~out], probe).scores(x[out])
    return scores
