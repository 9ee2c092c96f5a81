"""AUROC by average cost, where a share of the texts is routed from a cheap monitor to an expensive one (Fig. 6, 13)."""

from collections.abc import Sequence
from typing import NamedTuple

from matplotlib.axes import Axes

from candor.config.figures import Figure
from candor.figures import marks, multiples, style
from candor.figures.inputs import Drawn, FigureInput, Row
from candor.schemas.metric import MEAN_DATASET

MARKERS = ("s", "X", "P", "v", "<", ">", "d", "p")
"""Monitors alone that are no probes, in their order; a probe is a circle."""
ALONE = style.Look("black", "o", "", True, "")


class Route(NamedTuple):
    """A line's cascade, which texts it routes, and what becomes of the two scores."""

    cascade: str
    selection: str
    merge: str


def draw(data: FigureInput, figure: Figure) -> Drawn:
    """A panel per way of routing and merging, a line per cascade, from none routed to all; monitors alone as points."""
    rows = multiples.rows_of(data.curves)
    sets = multiples.datasets(rows)
    where = MEAN_DATASET if MEAN_DATASET in sets else sets[0]
    over = [where] if MEAN_DATASET in sets else sets
    shown = [row for row in rows if row["dataset"] in over]
    routes = {row["curve"]: _route(row["curve"]) for row in shown if row["x"] is not None}
    alone = list(dict.fromkeys(row["curve"] for row in shown if row["x"] is None))
    names = list(dict.fromkeys(route.cascade for route in routes.values()))
    looks = {name: style.LINES[number % len(style.LINES)] for number, name in enumerate(names)}
    points = {monitor: _alone(shown, monitor, number) for number, monitor in enumerate(alone)}
    ways = list(dict.fromkeys((route.selection, route.merge) for route in routes.values())) or [("", "")]
    panels = {_panel(dataset, way, over, ways): (dataset, way) for dataset in over for way in ways}
    keys = [marks.line_key(look._replace(marker="."), name) for name, look in looks.items()]
    keys += [marks.key(look, f"{monitor} alone") for monitor, look in points.items()]
    drawn = multiples.multiples(list(panels), figure, _notes(data, shown, where), keys)
    made = []
    for title, (dataset, way) in panels.items():
        axes = drawn.panels[title]
        here = [row for row in shown if row["dataset"] == dataset]
        axes.set_xscale("log")
        for curve, route in routes.items():
            if (route.selection, route.merge) == way:
                line = sorted((row for row in here if row["curve"] == curve), key=lambda row: row["x"])
                _line(axes, [row for row in line if row["flops"]], looks[route.cascade])
                made += [multiples.mark(row, "cascade", flops=row["flops"], panel=title) for row in line]
        for monitor, look in points.items():
            for row in here:
                if row["curve"] == monitor:
                    _point(axes, row, look)
                    made.append(multiples.mark(row, "alone", flops=row["flops"], panel=title))
        spent = [row["flops"] for row in here if row["flops"]]
        axes.set_xlim(min(spent, default=1) / 2.5, max(spent, default=10) * 2.5)
        multiples.power_axis(axes)
        axes.set_xlabel("FLOPs per example, logarithmic")
        axes.set_ylabel("mean AUROC" if dataset == MEAN_DATASET else "AUROC")
        multiples.head(drawn, title, here, title)
    multiples.values(list(drawn.panels.values()), shown, reference=None)
    return Drawn(drawn.picture, made)


def _route(curve: str) -> Route:
    cascade, selection, merge = curve.rsplit("/", 2) if curve.count("/") >= 2 else (curve, "", "")
    return Route(cascade, selection, merge)


def _panel(dataset: str, way: tuple[str, str], sets: Sequence[str], ways: Sequence[tuple[str, str]]) -> str:
    """What sets a panel apart from the others."""
    words = f"{way[0]} routed, merged by {way[1]}" if all(way) else "cascades"
    words = words.replace("merged by replace", "replaced")
    return words if len(sets) == 1 else f"{dataset}: {words}" if len(ways) > 1 else dataset


def _alone(rows: Sequence[Row], monitor: str, number: int) -> style.Look:
    """Black, so that no cascade is taken for it: a circle for a probe, other shapes for what reads no layer."""
    layer = next(row["layer"] for row in rows if row["curve"] == monitor)
    marker = "o" if layer is not None else MARKERS[number % len(MARKERS)]
    return ALONE._replace(marker=marker, filled=number % 2 == 0)


def _line(axes: Axes, rows: Sequence[Row], look: style.Look) -> None:
    """A line by cost with its band; small dots are the shares that were measured."""
    found = [row for row in rows if row["value"] is not None]
    costs = [row["flops"] for row in found]
    axes.plot(costs, [row["value"] for row in found], color=look.colour, linestyle=look.line, marker=".", zorder=3)
    band = [row for row in found if row["low"] is not None and row["high"] is not None]
    axes.fill_between(
        [row["flops"] for row in band],
        [row["low"] for row in band],
        [row["high"] for row in band],
        color=look.colour,
        alpha=0.13,
        linewidth=0,
        zorder=1,
    )


def _point(axes: Axes, row: Row, look: style.Look) -> None:
    if row["value"] is None or not row["flops"]:
        return
    if row["low"] is not None and row["high"] is not None:
        axes.plot([row["flops"]] * 2, [row["low"], row["high"]], color=look.colour, linewidth=0.9, zorder=4)
    face = look.colour if look.filled else "white"
    axes.plot(row["flops"], row["value"], look.marker, color="black", markerfacecolor=face, markersize=5, zorder=5)


def _notes(data: FigureInput, rows: Sequence[Row], where: str) -> list[str]:
    shares = sorted({row["x"] for row in rows if row["x"] is not None})
    routed = ", ".join(f"{share:g}" for share in shares)
    unknown = sorted({row["curve"] for row in rows if row["flops"] is None})
    free = sorted({row["curve"] for row in rows if row["flops"] == 0})
    return [
        f"Dots along a line, from the left: a share of {routed} of the texts routed to the expensive monitor. median, "
        "top, bottom: those nearest to the median rank of the cheap score, highest, lowest. A probe costs what "
        "it adds, other monitors their own passes. Bands and whiskers: intervals."
        + (" Mean: over the sets out of distribution." if where == MEAN_DATASET else ""),
        *([f"Not drawn, cost not recorded: {', '.join(unknown)}."] if unknown else []),
        *([f"Not drawn, no cost to place it by: {', '.join(free)}."] if free else []),
        *marks.provenance_notes(data, "over groups and seeds"),
    ]
