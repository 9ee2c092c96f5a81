"""What a probe says along a text: mean probability of each class by position, a panel for each true class."""

from collections.abc import Sequence
from typing import NamedTuple

from matplotlib.axes import Axes

from candor.config.figures import Figure
from candor.figures import marks, multiples, style
from candor.figures.inputs import Drawn, FigureInput, Mark, Row

METRIC = "probability"
MANY = 16  # positions above which points are not marked
STEPS = (1, 2, 5, 10, 20, 50, 100, 200, 500)
"""Positions between two names, of which an axis has about as many as `MOST_NAMES` at most."""
MOST_NAMES = 8
WHOLE = "whole"
"""The tick of the whole text, right of its positions."""
BETWEEN = 0.07
"""Distance of the whole text from the last position, as a share of all positions, where that is more than 1."""


class Line(NamedTuple):
    """A monitor's rows for one class on texts of one true class: by position, and of the whole text."""

    monitor: str
    layer: int | None
    dataset: str
    true: str
    shown: str
    points: list[Row]
    whole: Row | None


def draw(data: FigureInput, figure: Figure) -> Drawn:
    """A line with a band per class; at the right, apart, the probability that the probe gives the whole text."""
    rows = multiples.rows_of(data.curves, METRIC)
    lines = [_line(row["curve"], row["dataset"], rows) for row in rows]
    lines = list({(line.monitor, line.dataset, line.true, line.shown): line for line in lines}.values())
    classes = list(dict.fromkeys([line.true for line in lines] + [line.shown for line in lines]))
    shown = list(dict.fromkeys(line.shown for line in lines))
    panels = list(dict.fromkeys((line.monitor, line.dataset, line.true) for line in lines))
    several = len({(monitor, dataset) for monitor, dataset, _ in panels}) > 1
    looks = {name: style.class_look(classes.index(name)) for name in shown}
    keys = [marks.line_key(looks[name], f"probability of {name}") for name in shown]
    names = ["/".join(panel) for panel in panels]
    drawn = multiples.multiples(names, figure, _notes(data, lines, shown), keys)
    bins = any(curves.config("bins") for curves in data.curves)
    last = max((row["x"] for line in lines for row in line.points), default=0.0)
    made: list[Mark] = []
    for name, panel in zip(names, panels, strict=True):
        axes = drawn.panels[name]
        own = [line for line in lines if (line.monitor, line.dataset, line.true) == panel]
        for line in own:
            made += _draw(axes, line, looks[line.shown], last)
        _furnish(axes, last, drawn.width, whole=any(line.whole for line in lines), bins=bins)
        monitor, dataset, true = panel
        read = [row for line in own for row in [*line.points, *([line.whole] if line.whole else [])]]
        of = f", {monitor}, {dataset}" if several else ""
        multiples.head(drawn, name, read, title=f"true: {true}{of}")
    for axes in drawn.panels.values():
        axes.set_ylim(-0.02, 1.02)
        axes.set_yticks([0, 0.5, 1], ["0", "0.5", "1"])
        if len(shown) > 1:
            axes.axhline(1 / len(shown), color=style.GREY, linewidth=0.8, linestyle=":", zorder=0.8)
    for axes in list(drawn.panels.values())[:: min(multiples.ACROSS, len(names))]:
        axes.set_ylabel("mean probability")
    return Drawn(drawn.picture, made)


def _line(curve: str, dataset: str, rows: Sequence[Row]) -> Line:
    """The rows of a line, whose name is `monitor/true class/class`."""
    own = [row for row in rows if row["curve"] == curve and row["dataset"] == dataset]
    monitor, true, shown = curve.rsplit("/", 2)
    points = sorted((row for row in own if row["x"] is not None), key=lambda row: row["x"])
    whole = next((row for row in own if row["x"] is None), None)
    return Line(monitor, own[0]["layer"], dataset, true, shown, points, whole)


def _draw(axes: Axes, line: Line, look: style.Look, last: float) -> list[Mark]:
    known = [row for row in line.points if row["value"] is not None]
    banded = [row for row in known if row["low"] is not None and row["high"] is not None]
    x, low, high = ([row[name] for row in banded] for name in ("x", "low", "high"))
    axes.fill_between(x, low, high, color=look.colour, alpha=0.2, linewidth=0, zorder=1)
    axes.plot(
        [row["x"] for row in known],
        [row["value"] for row in known],
        color=look.colour,
        linestyle=look.line,
        marker=look.marker if len(known) <= MANY else "",
        markersize=multiples.MARKER,
        clip_on=False,
        zorder=3,
    )
    names = {"true": line.true, "class": line.shown}
    if line.whole is not None and line.whole["value"] is not None:
        marks.point(axes, _beyond(last), line.whole["value"], look._replace(filled=False), size=4.5)
        if line.whole["low"] is not None and line.whole["high"] is not None:
            whisker = [line.whole["low"], line.whole["high"]]
            axes.plot([_beyond(last)] * 2, whisker, color=look.colour, linewidth=1.1, zorder=2)
    drawn = [*line.points, *([line.whole] if line.whole else [])]
    return [multiples.mark(row, "position" if row["x"] is not None else "whole", **names) for row in drawn]


def _beyond(last: float) -> float:
    return last + max(1.0, BETWEEN * last)


def _furnish(axes: Axes, last: float, width: float, *, whole: bool, bins: bool) -> None:
    """Positions are counted from 1; the whole text stands beyond the last one."""
    right = _beyond(last) if whole else last
    axes.set_xlim(-0.03 * right - 0.1, 1.03 * right + 0.1)
    step = next(step for step in (*STEPS, int(last) + 1) if last / step <= MOST_NAMES)
    places = {float(i): str(i + 1) for i in range(int(last) + 1) if i == 0 or (i + 1) % step == 0}
    multiples.ticks(axes, places | ({right: WHOLE} if whole else {}), width)
    axes.set_xlabel("part of the text" if bins else "kept position")
    if whole:
        axes.axvline((last + right) / 2, color=style.PALE, linewidth=0.8, zorder=0)


def _notes(data: FigureInput, lines: Sequence[Line], shown: Sequence[str]) -> list[str]:
    named = dict.fromkeys(line.monitor if line.layer is None else f"{line.monitor} L{line.layer}" for line in lines)
    datasets = dict.fromkeys(line.dataset for line in lines)
    read = (
        "A value is the mean over a part of the text, in which the probe reads each token alone."
        if any(curves.config("bins") for curves in data.curves)
        else "At a position the probe reads that token alone; positions are those kept of a text, from first to last."
    )
    undefined = any(row["value"] is None for line in lines for row in line.points)
    chance = f" Dotted: 1/{len(shown)}." if len(shown) > 1 else ""
    return [
        f"Probe: {', '.join(named)} (L: layer) on {', '.join(datasets)}. {read} "
        f"{WHOLE.capitalize()}: what the probe gives the whole text (open, with whisker). Bands: intervals. A text has "
        f"one value at each position, and whole groups are drawn.{chance}"
        f"{' Positions without a text are left out.' if undefined else ''}",
        *marks.provenance_notes(data, "bootstrap over groups and seeds"),
    ]
