"""Small multiples of lines: a panel per evaluation set and their mean, with a line per monitor or way of training."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Picture
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter, NullLocator
from matplotlib.transforms import ScaledTranslation

from candor.config.figures import Figure
from candor.figures import marks, style
from candor.figures.inputs import Curves, FigureError, Mark, Row
from candor.schemas.metric import MEAN_DATASET

ACROSS = 3  # panels beside each other
HEIGHT = 1.75  # inches of a panel, with its title and labels
DODGE = 0.045  # inches between the whiskers of two lines at one x
SPREAD = 0.15  # inches that all lines at one x take at most
CROWD = 5  # lines, above which whiskers are pale
MARKER = 3.6  # points
HEAD_SIZE = 7.5  # points
RAISED = str.maketrans("0123456789-", "⁰¹²³⁴⁵⁶⁷⁸⁹⁻")


class Multiples(NamedTuple):
    """A picture, and its panels by name."""

    picture: Picture
    panels: dict[str, Axes]
    width: float  # inches of a panel


def datasets(rows: Sequence[Row]) -> list[str]:
    """The evaluation sets of curves in the order of their table, and the mean last, unless it is that of one set."""
    found = list(dict.fromkeys(row["dataset"] for row in rows))
    sets = [dataset for dataset in found if dataset != MEAN_DATASET]
    if MEAN_DATASET not in found:
        return sets
    values = {dataset: _values(rows, dataset) for dataset in found}
    alone = any(values[dataset] == values[MEAN_DATASET] for dataset in sets)
    return sets if alone else [*sets, MEAN_DATASET]


def _values(rows: Sequence[Row], dataset: str) -> dict[tuple[str, float | None, str], float | None]:
    of = (row for row in rows if row["dataset"] == dataset)
    return {(row["curve"], row["x"], row["metric"]): row["value"] for row in of}


def rows_of(curves: Sequence[Curves], metric: str = "auroc") -> list[Row]:
    """The rows of a metric of all experiments, in the order of the figure; FigureError where there is none."""
    rows = [row for one in curves for row in one.rows if row["metric"] == metric]
    if not rows:
        raise FigureError(
            f"{', '.join(one.id for one in curves)}: the curve tables have no rows of {metric}; is it the experiment "
            "of this plot?"
        )
    return rows


def multiples(
    names: Sequence[str], figure: Figure, notes: Sequence[str], keys: Sequence[Line2D], below: float = 0.0
) -> Multiples:
    """Empty panels, as many beside each other as fit, that share the axis of values; `below` more inches for labels."""
    across = 2 if len(names) == 4 else min(ACROSS, len(names))
    down = -(-len(names) // across)
    width = style.COLUMN + 0.5 if across == 1 else style.FULL
    height = 2.3 if across == 1 else HEIGHT + (0.4 if across == 2 else 0)
    picture = style.page(width, down * (height + below), figure.title, notes, keys)
    grid = picture.subplots(down, across, squeeze=False, sharey=True)
    for axes in grid.flat[len(names) :]:
        axes.set_axis_off()
    for axes in grid.flat:
        axes.tick_params(labelleft=True)
    return Multiples(picture, dict(zip(names, grid.flat, strict=False)), width / across - 0.6)


def head(drawn: Multiples, name: str, rows: Sequence[Row], title: str | None = None) -> None:
    """The name of a panel, or a title in words, and what its values rest on."""
    words = "mean over sets" if name == MEAN_DATASET else name
    named = style.wrap_name(words, drawn.width) if title is None else style.wrap(title, drawn.width, HEAD_SIZE)
    counted = style.wrap(", ".join(marks.counts(rows)), drawn.width, HEAD_SIZE)
    drawn.panels[name].set_title(f"{named}\n{counted}", loc="left", fontsize=HEAD_SIZE, linespacing=1.2)


def line(
    axes: Axes,
    points: Sequence[tuple[float, Row]],
    look: style.Look,
    shift: float = 0.0,
    *,
    pale: bool = False,
    cross: bool = True,
) -> None:
    """Values with their whiskers, joined; moved sideways by so many points, so that whiskers stand apart.

    A value that is undefined interrupts the line, and is a cross on the axis.
    """
    figure = axes.get_figure()
    assert figure is not None
    moved = axes.transData + ScaledTranslation(shift, 0, figure.dpi_scale_trans)
    middle = [math.nan if row["value"] is None else row["value"] for _, row in points]
    across = [x for x, _ in points]
    axes.update_datalim([(x, y) for x, y in zip(across, middle, strict=True) if not math.isnan(y)])
    face = look.colour if look.filled else "white"
    axes.plot(
        across,
        middle,
        color=look.colour,
        linestyle=look.line,
        marker=look.marker,
        markersize=MARKER,
        markerfacecolor=face,
        linewidth=1.1,
        transform=moved,
        zorder=3,
    )
    for x, row in points:
        if row["value"] is None and cross:
            edge = axes.get_xaxis_transform() + ScaledTranslation(shift, 0, figure.dpi_scale_trans)
            axes.plot(x, 0.02, "x", color=look.colour, markersize=4, transform=edge, clip_on=False, zorder=4)
        elif None not in (row["value"], row["low"], row["high"]):
            strength = 0.4 if pale else 1.0
            ends = [row["low"], row["high"]]
            axes.plot([x, x], ends, color=look.colour, linewidth=0.8, alpha=strength, transform=moved, zorder=2)


def level(axes: Axes, row: Row, look: style.Look) -> None:
    """A level line with its band: a value that does not depend on x."""
    if row["value"] is None:
        return
    if row["low"] is not None and row["high"] is not None:
        axes.axhspan(row["low"], row["high"], color=look.colour, alpha=0.13, linewidth=0, zorder=0.5)
    axes.axhline(row["value"], color=look.colour, linestyle=look.line, linewidth=1.1, zorder=1)


def shifts(count: int) -> list[float]:
    """Inches by which each of several lines is moved sideways."""
    apart = min(DODGE, SPREAD / max(count - 1, 1))
    return [apart * (number - (count - 1) / 2) for number in range(count)]


def values(axes: Sequence[Axes], rows: Sequence[Row], reference: float | None = 0.5) -> None:
    """The axis of values, shared: it holds every interval, and the reference, which is dotted."""
    ends = [row[end] for row in rows for end in ("value", "low", "high") if row[end] is not None]
    ends += [] if reference is None else [reference]
    low, high = min(ends, default=0.0), max(ends, default=1.0)
    margin = 0.04 * ((high - low) or 1)
    for one in axes:
        one.set_ylim(low - margin, min(high + margin, 1.02) if high <= 1 else high + margin)
        if reference is not None:
            one.axhline(reference, color=style.GREY, linewidth=0.8, linestyle=":", zorder=0.8)


def ticks(axes: Axes, places: Mapping[float, str], width: float) -> None:
    """Ticks at places, named as far as names have room in so many inches; the last one always is."""
    at = sorted(places)
    low, high = axes.get_xlim()
    scale: Callable[[float], float] = math.log if axes.get_xscale() == "log" else float
    inches = {x: width * (scale(x) - scale(low)) / ((scale(high) - scale(low)) or 1) for x in at}
    named: list[float] = []
    for x in [at[-1], *at[:-1]] if at else []:
        half = style.text_width(places[x], 7.5) / 2
        if all(abs(inches[x] - inches[y]) > half + style.text_width(places[y], 7.5) / 2 + 0.05 for y in named):
            named.append(x)
    axes.set_xticks(at, [places[x] if x in named else "" for x in at])
    axes.xaxis.set_minor_locator(NullLocator())


def power_axis(axes: Axes) -> None:
    """A logarithmic axis along x with powers of ten as names, a few of them."""
    low, high = np.log10(axes.get_xlim())
    axes.xaxis.set_major_locator(LogLocator(numticks=6 if high - low > 5 else 9))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: power(x)))
    axes.xaxis.set_minor_formatter(FuncFormatter(lambda x, _: _few(x)) if high - low < 1.2 else NullFormatter())


def power(x: float) -> str:
    """A power of ten, without mathematical fonts: 10⁹."""
    return f"10{f'{round(math.log10(x))}'.translate(RAISED)}" if x > 0 else "0"


def _few(x: float) -> str:
    """The names of a short axis's minor ticks: 2·10⁹ and 5·10⁹."""
    exponent = math.floor(math.log10(x))
    mantissa = round(x / 10**exponent)
    return f"{mantissa}·10{str(exponent).translate(RAISED)}" if mantissa in (2, 5) else ""


def mark(row: Row, kind: str = "point", **names: str | float | int | None) -> Mark:
    """The CSV row of a point of a curve."""
    shown = {name: row[name] for name in ("experiment", "curve", "monitor", "layer", "dataset", "x", "metric")}
    return marks.mark(kind, row, **shown, **names, n_runs=row["n_runs"], remark=row["remark"])


def undefined_notes(rows: Sequence[Row]) -> list[str]:
    """The footnote on crosses: why values are undefined, where some are."""
    if not any(row["value"] is None for row in rows):
        return []
    return [f"Crosses on the axis: undefined{reasons(rows)}."]


def reasons(rows: Sequence[Row]) -> str:
    """Why values of evaluation sets are undefined, in brackets; at most three reasons are listed."""
    undefined = (row for row in rows if row["value"] is None and row["dataset"] != MEAN_DATASET)
    listed = list(dict.fromkeys(row["remark"] for row in undefined if row["remark"]))
    return f" ({'; '.join(listed[:3])}{'; …' if len(listed) > 3 else ''})" if listed else ""
