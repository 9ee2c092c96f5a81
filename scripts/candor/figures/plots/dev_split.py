"""AUROC by the number of labelled examples of the evaluation set's own kind that a probe learns from (Fig. 5, 18)."""

import math
from collections.abc import Sequence

from matplotlib.lines import Line2D

from candor.config.figures import Figure
from candor.figures import marks, multiples, style
from candor.figures.inputs import Drawn, FigureInput, Row

USAGES = {
    "fine-tune": style.HEADLINE,
    "only": style.Look("#009E73", "^", "-.", False, ""),
    "combine": style.Look("#CC79A7", "D", (0, (4, 1, 1, 1)), True, ""),
}
FURTHER = tuple(look for look in style.LINES if look.colour not in {look.colour for look in USAGES.values()})
UNCHANGED = style.Look("black", "*", "", True, "")


def draw(data: FigureInput, figure: Figure) -> Drawn:
    """A panel per evaluation set and their mean, a line per usage; on the left the probe that saw none of them."""
    rows = multiples.rows_of(data.curves)
    curves = list(dict.fromkeys(row["curve"] for row in rows if row["x"] is not None))
    levels = list(dict.fromkeys(row["curve"] for row in rows if row["x"] is None))
    looks = {curve: _look(curve, number) for number, curve in enumerate(curves)}
    baselines = {curve: _baseline(number) for number, curve in enumerate(levels)}
    sets = multiples.datasets(rows)
    shown = [row for row in rows if row["dataset"] in sets]
    keys = [marks.line_key(look, _name(curve, curves)) for curve, look in looks.items()]
    keys += [marks.line_key(UNCHANGED, "probe as it was")]
    keys += [Line2D([], [], color=look.colour, linestyle=look.line, label=curve) for curve, look in baselines.items()]
    drawn = multiples.multiples(sets, figure, _notes(data, shown, curves), keys)
    sizes = sorted({row["x"] for row in shown if row["x"]})
    for dataset, axes in drawn.panels.items():
        here = [row for row in shown if row["dataset"] == dataset]
        for curve, look in baselines.items():
            for row in here:
                if row["curve"] == curve:
                    multiples.level(axes, row, look)
        for (curve, look), shift in zip(looks.items(), multiples.shifts(len(looks)), strict=True):
            points = sorted(((row["x"], row) for row in here if row["curve"] == curve), key=lambda point: point[0])
            placed = [(_place(x, sizes), row if x else _bare(row)) for x, row in points]
            multiples.line(axes, placed, look, shift, pale=len(curves) > multiples.CROWD)
        start = next((row for row in here if row["x"] == 0), None)
        if start is not None and start["value"] is not None:
            multiples.line(axes, [(_place(0, sizes), start)], UNCHANGED._replace(marker=""))
            marks.point(axes, _place(0, sizes), start["value"], UNCHANGED, size=7)
            axes.axhline(start["value"], color=style.GREY, linewidth=0.6, linestyle=(0, (1, 3)), zorder=0.6)
        axes.set_xlim(_place(0, sizes) - 0.4, _place(sizes[-1], sizes) + 0.4)
        multiples.ticks(axes, {_place(size, sizes): f"{size:.0f}" for size in [0, *sizes]}, drawn.width)
        axes.set_xlabel("Development examples")
        axes.set_ylabel("AUROC")
        multiples.head(drawn, dataset, here)
    multiples.values(list(drawn.panels.values()), shown)
    return Drawn(drawn.picture, [multiples.mark(row) for row in shown])


def _place(size: float, sizes: Sequence[float]) -> float:
    """Where a size stands: its logarithm to base 2, and zero one and a half doublings before the smallest."""
    return math.log2(size) if size else math.log2(sizes[0]) - 1.5


def _bare(row: Row) -> Row:
    """The start of a line, whose interval is drawn once for all."""
    return {**row, "low": None, "high": None}


def _look(curve: str, number: int) -> style.Look:
    return USAGES.get(curve.rsplit("/", 1)[-1], FURTHER[number % len(FURTHER)])


def _baseline(number: int) -> style.Look:
    """The task's first baseline is the text that others are compared with."""
    return style.TEXT if number == 0 else style.LINES[4 + number % 3]


def _name(curve: str, curves: Sequence[str]) -> str:
    """The usage alone, where all lines are of one probe."""
    probes = {one.rsplit("/", 1)[0] for one in curves}
    return curve.rsplit("/", 1)[-1] if len(probes) == 1 else curve


def _notes(data: FigureInput, rows: Sequence[Row], curves: Sequence[str]) -> list[str]:
    probe = curves[0].rsplit("/", 1)[0] if curves else ""
    layer = marks.span(row["layer"] for row in rows if row["layer"] is not None)
    runs = marks.span(row["n_runs"] for row in rows if row["n_runs"] and row["x"])
    return [
        f"Probe: {probe} L{layer} (layer). Each value: mean of {runs} draws of development examples, all measured on "
        "the same other examples. fine-tune: goes on from the task's probe; only: a new probe from development "
        "examples; combine: a new one from training and development examples. Star: the task's probe as it was (fine "
        "dots). Whiskers and bands: intervals; lines stand a little apart. Dotted: chance. Axis: logarithmic, after 0.",
        *multiples.undefined_notes(rows),
        *marks.provenance_notes(data, "over groups and runs"),
    ]
