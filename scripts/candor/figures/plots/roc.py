"""ROC curves of the selected probe and of the text baseline, one block per evaluation set (Fig. 4a).

A block has the curve on linear axes and, below, on a logarithmic FPR axis, where a monitor works. TPR at FPR f is the
highest TPR of a threshold whose FPR is at most f, as in the metric tpr_at_fpr.
"""

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, NullFormatter

from candor.config.figures import Figure
from candor.config.tasks import dataset_of, split_of
from candor.figures import marks, style
from candor.figures.curves import GRID, Curve, SeedScores, mean_curve
from candor.figures.inputs import Drawn, FigureInput, Mark
from candor.figures.measured import Measured
from candor.schemas.status import SCORED

ACROSS = 3  # blocks beside each other
HEIGHT = 1.7  # inches of a panel


def draw(data: FigureInput, figure: Figure) -> Drawn:
    """Curves are averaged over seeds; markers with whiskers are the thresholds chosen on the control set."""
    assert data.scores is not None  # the script has checked READS
    found = Measured(data.metrics or [], data.the_task())
    parts = found.task.evaluation
    across = min(ACROSS, len(parts)) if len(parts) != 4 else 2
    down = -(-len(parts) // across)
    width = style.COLUMN if across == 1 else style.FULL
    picture = style.page(width, down * (2 * HEIGHT + 0.5), figure.title, _notes(data, found))
    panels = picture.subplots(2 * down, across, squeeze=False)
    drawn: list[Mark] = []
    for i, part in enumerate(parts):
        upper, lower = panels[2 * (i // across) : 2 * (i // across) + 2, i % across]
        drawn += _block(upper, lower, found, part, data.scores, width / across - 0.6)
    for i in range(len(parts), across * down):
        for axes in panels[2 * (i // across) : 2 * (i // across) + 2, i % across]:
            axes.set_axis_off()
    return Drawn(picture, drawn)


def _block(upper: Axes, lower: Axes, found: Measured, part: str, scores: pa.Table, width: float) -> list[Mark]:
    drawn: list[Mark] = []
    text = found.text_baseline()
    monitors = {found.headline: (style.HEADLINE, "probe"), text: (found.look(text), found.kind(text))}
    for monitor, (look, word) in monitors.items():
        auroc = found.auroc_of_rated_class(monitor, part)
        curve = _curve(found, part, monitor, scores)
        label = f"{word} {marks.with_interval(auroc)}"
        for axes in (upper, lower):
            axes.plot([], [], color=look.colour, linestyle=look.line, label=label)
            if curve is not None:
                axes.fill_between(GRID, curve.low, curve.high, color=look.colour, alpha=0.18, linewidth=0)
                axes.plot(GRID, curve.tpr, color=look.colour, linestyle=look.line)
        names = {"dataset": part, "monitor": monitor}
        if curve is not None:
            for rate, value, low, high in zip(GRID, *curve, strict=True):
                point = {**auroc, "value": float(value), "low": float(low), "high": float(high)}
                drawn.append(marks.mark("curve", point, **names, fpr=float(rate)))
        drawn += _operating_point((upper, lower), found, part, monitor, look)
        drawn.append(marks.mark("auroc", auroc, **names))
    _furnish(upper, lower, found, part, width)
    return drawn


def _operating_point(
    panels: tuple[Axes, Axes], found: Measured, part: str, monitor: str, look: style.Look
) -> list[Mark]:
    """Where the threshold of the control set falls; an FPR of 0 stands at the left edge of the logarithmic axis."""
    tpr, fpr = (found.row(monitor, part, f"{rate}_at_control") for rate in ("tpr", "fpr"))
    if tpr["value"] is None or fpr["value"] is None:
        return []
    for axes, floor in zip(panels, (0.0, _left_edge(found, part)), strict=True):
        at = max(fpr["value"], floor)
        if tpr["low"] is not None and tpr["high"] is not None:
            axes.plot([at, at], [tpr["low"], tpr["high"]], color=look.colour, linewidth=1, zorder=4)
        if fpr["low"] is not None and fpr["high"] is not None:
            ends = [max(fpr["low"], floor), max(fpr["high"], floor)]
            axes.plot(ends, [tpr["value"]] * 2, color=look.colour, linewidth=1, zorder=4)
        axes.plot(
            at,
            tpr["value"],
            marker=look.marker,
            markersize=5,
            markerfacecolor=look.colour,
            markeredgecolor="black",
            markeredgewidth=0.8,
            clip_on=False,
            zorder=5,
        )
    fpr_ends = {f"fpr_{end}": fpr[end] for end in ("low", "high")}
    return [marks.mark("control_threshold", tpr, dataset=part, monitor=monitor, fpr=fpr["value"], **fpr_ends)]


def _furnish(upper: Axes, lower: Axes, found: Measured, part: str, width: float) -> None:
    rows = [found.auroc_of_rated_class(monitor, part) for monitor in (found.headline, found.text_baseline())]
    counted = ", ".join(marks.counts(row for row in rows if row["n"]))
    heading = f"{style.wrap_name(part, width)}\n{style.wrap(counted, width, 8)}"
    upper.set_title(heading, loc="left", pad=29)  # points, for the two lines of the legend
    upper.legend(loc="lower left", bbox_to_anchor=(0, 1), borderpad=0, borderaxespad=0.4, labelspacing=0.25)
    upper.plot([0, 1], [0, 1], color=style.GREY, linewidth=0.8, linestyle=":", zorder=1)
    upper.set_xlim(-0.01, 1.01)
    left = _left_edge(found, part)
    chance = np.geomspace(left, 1, 50)
    lower.plot(chance, chance, color=style.GREY, linewidth=0.8, linestyle=":", zorder=1)
    lower.set_xscale("log")
    lower.set_xlim(left, 1)
    lower.xaxis.set_major_formatter(FuncFormatter(lambda rate, _: f"{rate:g}"))
    lower.xaxis.set_minor_formatter(NullFormatter())
    lower.axvline(found.task.target_fpr, color=style.GREY, linewidth=0.6, zorder=0)
    negatives = found.negatives(part)
    if negatives:
        lower.axvspan(left, 1 / negatives, color=style.PALE, alpha=0.6, linewidth=0, zorder=0)
    upper.set_xlabel("FPR")
    lower.set_xlabel("FPR, logarithmic")
    for axes in (upper, lower):
        axes.set_ylim(-0.01, 1.02)
        axes.set_ylabel("TPR")


def _left_edge(found: Measured, part: str) -> float:
    """A power of ten below the target and the FPR of a single negative, so that both are seen."""
    lowest = min(found.task.target_fpr, 1 / max(found.negatives(part), 1))
    return float(10.0 ** np.floor(np.log10(lowest / 2)))


def _curve(found: Measured, part: str, monitor: str, scores: pa.Table) -> Curve | None:
    """The monitor's curve on an evaluation set; None where one class is missing."""
    of_part = pc.and_(_is(scores, "dataset", dataset_of(part)), _is(scores, "split", split_of(part)))
    here = scores.filter(pc.and_(of_part, _is(scores, "class", found.rated_class)))
    groups = {group: i for i, group in enumerate(sorted(set(here.column("group_id").to_pylist())))}
    usable = pc.and_(pc.is_in(here.column("status"), pa.array(SCORED)), pc.is_valid(here.column("label")))
    chosen = pc.and_(_is(here, "monitor", monitor), _is(here, "layer", found.layer(monitor)))
    rows = here.filter(pc.and_(pc.and_(usable, chosen), pc.is_null(here.column("fold"))))
    seeds = []
    for seed in rows.column("seed").unique().to_pylist():
        one = rows.filter(_is(rows, "seed", seed))
        label = np.asarray(one.column("label").to_pylist(), dtype=bool)
        if label.all() or not label.any():
            return None
        codes = np.asarray([groups[group] for group in one.column("group_id").to_pylist()], dtype=np.int64)
        seeds.append(SeedScores(np.asarray(one.column("score").to_pylist(), dtype=np.float64), label, codes))
    return mean_curve(seeds, len(groups), found.task.bootstrap, found.task.seed) if seeds else None


def _is(table: pa.Table, column: str, value: Any) -> pa.ChunkedArray:
    """Where a column has a value; None is a value of its own."""
    values = table.column(column)
    return pc.is_null(values) if value is None else pc.fill_null(pc.equal(values, value), False)


def _notes(data: FigureInput, found: Measured) -> list[str]:
    probe, text = found.headline, found.text_baseline()
    seeds = marks.span(found.auroc_of_rated_class(probe, part)["n_seeds"] for part in found.task.evaluation)
    binary = len(found.task.classes) == 2
    return [
        f"Probe: {found.name(probe)} (L: layer), selected on training data alone; mean over seeds ({seeds}). "
        f"{found.kind(text).capitalize()}: {text}. Above the axes: AUROC with its interval. Bands: "
        "pointwise, groups and seeds resampled. "
        "Markers with whiskers: the threshold that the control set gives for "
        f"{100 * found.task.target_fpr:g} % FPR (grey line); on the logarithmic axis an FPR of 0 stands at the left "
        "edge. Grey area: less than one negative. Dotted: chance.",
        *([] if binary else [f"Curves and AUROC: {found.rated_class} against the rest."]),
        *marks.provenance_notes(data, found.how),
    ]
