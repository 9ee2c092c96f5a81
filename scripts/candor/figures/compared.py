"""Monitors compared on every evaluation set: AUROC in the upper row of panels, TPR at a low FPR in the lower one."""

from collections.abc import Sequence

from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.patches import Patch

from candor.config.figures import Figure
from candor.figures import columns, marks, published, style
from candor.figures.columns import Columns
from candor.figures.inputs import Drawn, FigureInput, Mark, Row
from candor.figures.measured import FEW_NEGATIVES, Measured

NEAREST = style.Look("black", "D", "", False, "")
AT_FIVE = style.Look("black", ">", "", False, "")
HATCH = "/////"
PAPER_LOW = 0.55
"""Left end of the AUROC axis in the paper's Fig. 3."""


def draw(data: FigureInput, figure: Figure, found: Measured, groups: Sequence[Sequence[str]], *, chance: bool) -> Drawn:
    """A column per evaluation set, a line per monitor; the AUROC axis holds chance, or starts as in the paper."""
    target = f"{100 * found.task.target_fpr:g} %"
    monitors = [monitor for group in groups for monitor in group]
    aurocs = {(column, m): found.row(m, column, "auroc") for column in found.columns for m in monitors}
    notes = [
        _about(found, monitors, target, chance=chance or _left(list(aurocs.values())) < 0.5),
        *found.class_notes(),
        *found.mean_notes(),
        *marks.perfect_notes(aurocs.values()),
        *published.notes(figure.published, "auroc"),
        *marks.provenance_notes(data, found.how),
    ]
    keys = _keys(found, monitors, figure, target)
    panels = columns.columns(found, groups, figure, notes, keys, ("AUROC", f"TPR at {target} FPR"))
    columns.head(panels, aurocs)
    drawn = columns.dots(panels, panels.upper, aurocs, "auroc")
    drawn += columns.references(panels, data, figure, "auroc")
    for column, _, below in panels.panels():
        drawn += _rates(below, panels, column)
    for axes in panels.upper:
        marks.value_axis(axes, aurocs.values(), 0.5) if chance else _paper_axis(axes, list(aurocs.values()))
    panels.lower[0].set_xlim(0, 1.02)
    return Drawn(panels.picture, drawn)


def _paper_axis(axes: Axes, rows: Sequence[Row]) -> None:
    """From the paper's left end, or from the lowest interval where that is lower, to 1; chance only if it is inside."""
    left = _left(rows)
    axes.set_xlim(left, 1.01)
    if left < 0.5:
        axes.axvline(0.5, color=style.GREY, linewidth=0.8, linestyle=":", zorder=1)


def _left(rows: Sequence[Row]) -> float:
    lowest = min((row[end] for row in rows for end in ("value", "low") if row[end] is not None), default=PAPER_LOW)
    return PAPER_LOW if lowest >= PAPER_LOW else lowest - 0.02


def _rates(axes: Axes, panels: Columns, column: str) -> list[Mark]:
    """Bars: the highest TPR with FPR at most the target; diamonds: the ROC point nearest to it, as the paper has it."""
    found = panels.found
    few = found.few_negatives(column)
    drawn: list[Mark] = []
    for monitor, at in panels.places.items():
        names = {"dataset": column, "monitor": monitor, "layer": found.layer(monitor)}
        row = found.row(monitor, column, "tpr_at_fpr")
        drawn.append(marks.mark("tpr_at_fpr", row, **names))
        _bar(axes, row, at, found.look(monitor), few)
        others = {"tpr_at_fpr_nearest": NEAREST, "tpr_at_5_fpr": AT_FIVE} if few else {"tpr_at_fpr_nearest": NEAREST}
        for metric, look in others.items():
            row = found.row(monitor, column, metric)
            if row["value"] is not None:
                marks.point(axes, row["value"], at, look, size=3.2)
                drawn.append(marks.mark(metric, row, **names))
    columns.negatives(axes, found, column)
    return drawn


def _bar(axes: Axes, row: Row, at: float, look: style.Look, few: bool) -> None:
    if row["value"] is None:
        marks.absent(axes, at)
        return
    axes.barh(
        at,
        row["value"],
        height=0.62,
        facecolor="white" if few else look.colour,
        edgecolor=look.colour,
        hatch=HATCH if few else None,
        linewidth=0.7,
    )
    if row["low"] is not None and row["high"] is not None:
        axes.plot([row["low"], row["high"]], [at, at], color="black", linewidth=0.9, solid_capstyle="butt")


def _keys(found: Measured, monitors: Sequence[str], figure: Figure, target: str) -> list[Artist]:
    keys = [*columns.keys(found, monitors, figure), marks.key(NEAREST, f"nearest to {target}")]
    if any(found.few_negatives(column) for column in found.columns):
        keys.append(marks.key(AT_FIVE, "TPR at 5 % FPR"))
        keys.append(Patch(facecolor="white", edgecolor=style.GREY, hatch=HATCH, label=f"< {FEW_NEGATIVES} negatives"))
    return keys


def _about(found: Measured, monitors: Sequence[str], target: str, *, chance: bool) -> str:
    several = len([monitor for monitor in monitors if monitor in found.probes]) > 1
    chosen = "each probe stands at its own. Layers and" if several else "it and"
    return (
        f"L: layer; {chosen} the selected probe (bold) are chosen on training data alone. Bars: highest TPR with FPR "
        f"at most {target}; diamonds: TPR at the ROC point nearest to it. {'Dotted: chance. ' if chance else ''}FP: "
        "one false positive."
    )
