"""Held-out examples in two planes through the activations, LDA's and PCA's, both fitted on training examples alone."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes

from candor.config.figures import Figure
from candor.figures import marks, style
from candor.figures.inputs import Drawn, FigureError, FigureInput, Mark, Row

TITLES = {"lda": "LDA", "pca": "PCA"}
AXES = {"lda": "discriminant", "pca": "component"}
HEIGHT = 2.75  # inches of the panels of one evaluation set
SIZE = 2.8  # points of an example's marker
MEAN_SIZE = 8.0  # points of the held-out means
LEARNT_SIZE = 5.0  # points of the training means


def draw(data: FigureInput, figure: Figure) -> Drawn:
    """A line of panels per evaluation set: LDA and PCA; large: held-out classes' means; open: the training means."""
    rows = data.places or []
    present = {row["label"] for row in rows}
    labels = [name for name in data.the_task().classes if name in present]
    sets = list(dict.fromkeys(row["dataset"] for row in rows if row["held_out"]))
    methods = [method for method in TITLES if any(row["method"] == method for row in rows)]
    if not labels or not sets:
        raise FigureError("the place table holds no class, or no held-out example; is it of a projection?")
    looks = {name: style.class_look(k)._replace(line="") for k, name in enumerate(data.the_task().classes)}
    keys = [marks.line_key(looks[name], name) for name in labels]
    width = style.FULL if len(methods) > 1 else style.COLUMN
    picture = style.page(width, HEIGHT * len(sets), figure.title, _notes(data, rows, labels), keys)
    grid = picture.subplots(len(sets), len(methods), squeeze=False, sharex="col", sharey="col")
    drawn: list[Mark] = []
    for y, dataset in enumerate(sets):
        for x, method in enumerate(methods):
            of = [row for row in rows if row["method"] == method]
            shown = {name: looks[name] for name in labels}
            drawn += _panel(grid[y, x], of, dataset, shown, width / len(methods) - 0.6)
    return Drawn(picture, drawn)


def _panel(axes: Axes, rows: Sequence[Row], dataset: str, looks: Mapping[str, style.Look], width: float) -> list[Mark]:
    own = [row for row in rows if row["dataset"] == dataset]
    placed = [row for row in own if row["label"] is not None and row["x"] is not None]
    counted = {
        "n": len(placed),
        "n_groups": len({row["group_id"] for row in placed}),
        "n_skipped": len(own) - len(placed),
    }
    drawn: list[Mark] = []
    for row in placed:  # in the order of the set, so that no class lies above all others
        look = looks[row["label"]]
        axes.plot(
            row["x"],
            row["y"],
            look.marker,
            markersize=SIZE,
            markerfacecolor=look.colour,
            markeredgecolor="white",
            markeredgewidth=0.25,
            alpha=0.75,
            zorder=2,
        )
        drawn.append(_mark("example", row, row["label"], (row["x"], row["y"]), {**counted, "n": 1, "n_groups": 1}))
    learnt = [row for row in rows if not row["held_out"] and row["x"] is not None]
    for label, look in looks.items():
        drawn += _mean("held_out_mean", axes, placed, dataset, label, look)
        drawn += _mean("training_mean", axes, learnt, dataset, label, look._replace(filled=False))
    method = rows[0]["method"]
    first, second = AXES[method], AXES[method]
    axes.set_xlabel(f"{first} 1 ({_share(rows[0]['x_share'])})")
    axes.set_ylabel(f"{second} 2 ({_share(rows[0]['y_share'])})")
    words = style.wrap_name(dataset, width - style.text_width(TITLES[method], 8, bold=True) - 0.1, 8)
    counts = style.wrap(", ".join(marks.counts([counted])), width, 8)
    axes.set_title(f"{TITLES[method]}, {words}\n{counts}", loc="left", linespacing=1.2)
    for line in (axes.axhline, axes.axvline):
        line(0, color=style.PALE, linewidth=0.6, zorder=0)
    return drawn


def _mean(kind: str, axes: Axes, rows: Sequence[Row], dataset: str, label: str, look: style.Look) -> list[Mark]:
    """The mean of a class's examples, drawn in a panel of the set: large with a black edge, or open and smaller."""
    of = [row for row in rows if row["label"] == label]
    if not of:
        return []
    x, y = np.mean([[row["x"], row["y"]] for row in of], axis=0).tolist()
    axes.plot(
        x,
        y,
        look.marker,
        markersize=MEAN_SIZE if look.filled else LEARNT_SIZE,
        markerfacecolor=look.colour if look.filled else "white",
        markeredgecolor="black" if look.filled else look.colour,
        markeredgewidth=1.2,
        zorder=4 if look.filled else 5,
    )
    counted = {"n": len(of), "n_groups": len({row["group_id"] for row in of}), "n_skipped": 0}
    return [_mark(kind, {**of[0], "dataset": dataset, "example_id": None}, label, (x, y), counted)]


def _share(share: float) -> str:
    return f"{100 * share:.0f} %"


def _mark(kind: str, row: Row, label: str, at: tuple[float, float], counted: Row) -> Mark:
    """The value is the place along the second axis; there is no interval."""
    names = {name: row[name] for name in ("method", "layer", "dataset", "example_id")}
    return marks.mark(kind, {"value": at[1], "low": None, "high": None, **counted}, **names, label=label, x=at[0])


def _notes(data: FigureInput, rows: Sequence[Row], labels: Sequence[str]) -> list[str]:
    layers = marks.span(row["layer"] for row in rows)
    learnt = [row for row in rows if not row["held_out"] and row["method"] == rows[0]["method"]]
    used = [row for row in learnt if row["label"] is not None and row["x"] is not None]
    groups = len({row["group_id"] for row in used})
    of_two = " (its second axis, with two classes: a component of the rest)" if len(labels) == 2 else ""
    return [
        f"Mean activations at layer {layers}. Both planes are fitted on training examples alone (n {len(used)}, "
        f"{groups} groups, {len(learnt) - len(used)} skipped). Large, black edge: mean of a class's held-out examples, "
        "which are the small markers, single ones without intervals. Open: mean of its training examples, which the "
        "planes were fitted to, so that those lie apart even where the activations tell nothing. Percentages: of the "
        f"training examples' variance, between classes for LDA{of_two}, of all for PCA. LDA is shown what the classes "
        "are, PCA is not.",
        " ".join(marks.model_notes(data)),
    ]
