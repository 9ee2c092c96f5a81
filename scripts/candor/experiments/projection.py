"""Where examples lie in two planes through a subject's mean activations: LDA's and PCA's, fitted on training examples.

LDA's axes are those along which the classes' means lie furthest apart against the spread within classes, whose
covariance is shrunk (Ledoit and Wolf), since activations have more dimensions than there are examples. With two classes
it has one axis; the other is then the first principal component of what is left of the training examples without it.
Axes are of activations centred on the training mean, and point to where the last class lies. Every example of the
evaluation sets, and of the training set, is placed by the same two axes; no evaluation example has a part in them.
"""

from typing import Any, NamedTuple

import numpy as np

from candor.errors import CandorError
from candor.experiments.evaluation_context import EvaluationContext
from candor.metrics.points import Floats
from candor.probes.features import Part, read_features


class Plane(NamedTuple):
    """Two axes [2, width] through a centre [width], and the share of the variance along each."""

    centre: Floats
    axes: Floats
    shares: tuple[float, float]

    def place(self, x: Floats) -> Floats:
        """Coordinates [n, 2] of activations [n, width]."""
        found: Floats = (x - self.centre) @ self.axes.T
        return found


def run(context: EvaluationContext) -> list[dict[str, Any]]:
    """Rows of the place table: method by method, the training examples first."""
    task = context.task
    _, probe, _, layer = context.probe(context.experiment.probe)
    parts = {
        name: part.of_roles(probe.roles) for name, part in {task.train: context.train, **context.evaluation}.items()
    }
    labels = {name: part.labels(task.classes) for name, part in parts.items()}
    means = {name: _means(part, layer) for name, part in parts.items()}
    known = np.array([label is not None for label in labels[task.train]]) & np.isfinite(means[task.train]).all(1)
    y = np.array([label for label, of in zip(labels[task.train], known, strict=True) if of], dtype=np.int64)
    if min(np.bincount(y, minlength=len(task.classes))) < 2:
        raise CandorError(
            f"experiments.{context.id}: {task.train} has fewer than two examples of one of the classes "
            f"{', '.join(task.classes)}; name a task with examples of each."
        )
    x = means[task.train][known]
    rows = []
    for method, plane in {"lda": discriminants(x, y, len(task.classes)), "pca": components(x, y)}.items():
        for name, part in parts.items():
            places = plane.place(means[name])
            for i, row in enumerate(part.rows):
                there = bool(np.isfinite(places[i]).all())
                rows.append(
                    {
                        "experiment": context.id,
                        "method": method,
                        "layer": layer,
                        "dataset": name,
                        "held_out": name != task.train,
                        "example_id": row["example_id"],
                        "group_id": row["group_id"],
                        "label": None if labels[name][i] is None else row["label"],
                        "x": float(places[i, 0]) if there else None,
                        "y": float(places[i, 1]) if there else None,
                        "x_share": plane.shares[0],
                        "y_share": plane.shares[1],
                        "status": part.statuses[i],
                    }
                )
    return rows


def _means(part: Part, layer: int) -> Floats:
    """Mean activations float64 [n, width] of a part's rows; nan where an example carries none."""
    whole = part.scored()
    part.expect_layers([layer], "mean")
    features = read_features(part, layer, "mean", whole).x.double().numpy()
    found = np.full((len(part.rows), features.shape[1]), np.nan)
    found[whole] = features
    return found


def discriminants(x: Floats, y: np.ndarray, classes: int) -> Plane:
    """LDA of x [n, width] with classes y [n], each spread within its class as wide as 1 along an axis.

    Shares are of the variance between classes.
    """
    from sklearn.covariance import ledoit_wolf

    centre = x.mean(0)
    class_means = np.stack([x[y == k].mean(0) for k in range(classes)])
    weights = np.bincount(y, minlength=classes) / len(y)
    # the eigenvectors of within^-1 between lie in the span of within^-1 (class means - centre)
    within, _ = ledoit_wolf(x - class_means[y], assume_centered=True)
    spread = np.sqrt(weights)[:, None] * (class_means - weights @ class_means)
    solved = np.linalg.solve(within, spread.T)
    values, vectors = np.linalg.eigh(spread @ solved)
    order = np.argsort(-values)[: min(2, classes - 1)]
    axes = (solved @ vectors[:, order]).T
    axes /= np.sqrt(np.einsum("aw,wv,av->a", axes, within, axes))[:, None]
    shares = values[order] / values.clip(0).sum()
    if len(axes) == 1:
        unit = axes[0] / np.linalg.norm(axes[0])
        rest = x - centre - np.outer((x - centre) @ unit, unit)
        axes, shares = np.concatenate([axes, _principal(rest, 1)[0]]), np.append(shares, 0.0)
    return Plane(centre, _pointed(axes, x - centre, y), _as_shares(shares))


def components(x: Floats, y: np.ndarray) -> Plane:
    """The first two principal components of x [n, width]; classes y [n] only say which way they point."""
    centre = x.mean(0)
    axes, shares = _principal(x - centre, 2)
    return Plane(centre, _pointed(axes, x - centre, y), _as_shares(shares))


def _principal(centred: Floats, count: int) -> tuple[Floats, Floats]:
    _, sizes, axes = np.linalg.svd(centred, full_matrices=False)
    return axes[:count], (sizes**2 / (sizes**2).sum())[:count]


def _pointed(axes: Floats, centred: Floats, y: np.ndarray) -> Floats:
    """Axes turned so that the last class lies at the positive end: a sign is arbitrary, and differs by machine."""
    sides = np.sign((centred[y == y.max()] @ axes.T).mean(0))
    pointed: Floats = axes * np.where(sides == 0, 1.0, sides)[:, None]
    return pointed


def _as_shares(shares: Floats) -> tuple[float, float]:
    first, second = (float(np.clip(share, 0, 1)) for share in shares)
    return first, second
