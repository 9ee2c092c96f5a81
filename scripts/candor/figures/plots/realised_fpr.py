"""What the threshold that the control set gives does on every evaluation set: FPR above, TPR below."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter

from candor.config.figures import Figure
from candor.figures import columns, marks
from candor.figures.curves import Floats
from candor.figures.inputs import Drawn, FigureInput, Row
from candor.figures.measured import Measured


def draw(data: FigureInput, figure: Figure) -> Drawn:
    """A column per evaluation set, a line per monitor; FPR on a square-root axis, so that the target can be seen."""
    found = Measured(data.metrics or [], data.the_task())
    target = found.task.target_fpr
    groups = [found.probes, found.controls, found.baselines]
    rows = {
        rate: {
            (column, m): found.row(m, column, f"{rate}_at_control") for column in found.columns for m in found.monitors
        }
        for rate in ("fpr", "tpr")
    }
    goal = Line2D([], [], color="black", linestyle="--", linewidth=0.9, label=f"target: {100 * target:g} %")
    keys = [*columns.keys(found, found.monitors, figure), goal]
    panels = columns.columns(found, groups, figure, _notes(data, found), keys, ("FPR in %", "TPR"))
    columns.head(panels, rows["fpr"])
    drawn = columns.dots(panels, panels.upper, rows["fpr"], "fpr_at_control", percent=True)
    drawn += columns.dots(panels, panels.lower, rows["tpr"], "tpr_at_control")
    furthest = max([target, *(end for row in rows["fpr"].values() for end in _ends(row))])
    for column, above, below in panels.panels():
        _rate_axis(above, furthest, target)
        columns.negatives(above, found, column)
        below.set_xlim(-0.02, 1.02)
    return Drawn(panels.picture, drawn)


def _ends(row: Row) -> list[float]:
    return [row[end] for end in ("value", "high") if row[end] is not None]


def _rate_axis(axes: Axes, furthest: float, target: float) -> None:
    """Square roots, from zero: the target is apart from zero, and rates many times as large still fit."""
    axes.set_xscale("function", functions=(_root, _square))
    axes.set_xlim(0, min(1.0, 1.05 * furthest))
    ticks = [tick for tick in (0.0, target, 0.05, 0.2, 0.5, 1.0) if tick <= furthest or tick == target]
    axes.set_xticks(ticks)
    axes.xaxis.set_major_formatter(FuncFormatter(lambda rate, _: f"{100 * rate:g}"))
    axes.axvline(target, color="black", linewidth=0.9, linestyle="--", zorder=1)


def _root(rates: Floats) -> Floats:
    return np.sqrt(np.abs(rates))


def _square(roots: Floats) -> Floats:
    return np.square(roots)


def _notes(data: FigureInput, found: Measured) -> list[str]:
    return [
        f"FPR in %, on a square-root axis, and TPR of the threshold with at most {100 * found.task.target_fpr:g} % of "
        f"the control set ({found.task.control}) above it; each seed has its own. L: layer. The selected probe is "
        "bold. n: all examples of a set; FPR rests on its negatives. FP: one false positive.",
        *found.mean_notes(),
        *marks.provenance_notes(data, found.how),
    ]
