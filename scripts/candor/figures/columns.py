"""Monitors in lines and evaluation sets in columns: the form of figures that compare monitors on every set."""

from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from typing import NamedTuple

from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.colors import to_hex, to_rgb
from matplotlib.figure import Figure as Picture
from matplotlib.lines import Line2D

from candor.config.figures import Figure
from candor.figures import marks, published, style
from candor.figures.inputs import FigureInput, Mark, Row
from candor.figures.measured import Measured
from candor.schemas.metric import MEAN_DATASET

ROW = 0.19  # inches per monitor, where there are few
CLOSE = 0.135  # inches per monitor at least, so that names do not touch
TALL = 6.0  # inches that the lines of both panels take at most, if they can, so that a figure fits a page
GAP = 0.6  # lines between groups of monitors
ROOMY = 4  # columns up to which values are also printed as numbers
ABOVE = 1.6  # inches around the lines of two panels
NAMES = 1.6  # inches of the monitors' names


class Columns(NamedTuple):
    """A picture with two panels per evaluation set, and the line of every monitor, from the top."""

    picture: Picture
    found: Measured
    places: dict[str, float]
    upper: list[Axes]
    lower: list[Axes]

    def panels(self) -> Iterable[tuple[str, Axes, Axes]]:
        """Evaluation sets with their panels."""
        return zip(self.found.columns, self.upper, self.lower, strict=True)


def columns(
    found: Measured,
    groups: Sequence[Sequence[str]],
    figure: Figure,
    notes: Sequence[str],
    keys: Sequence[Artist],
    titles: tuple[str, str],
) -> Columns:
    """Empty panels whose lines and columns are named; `groups` of monitors are set apart, `titles` name the rows."""
    shown = [group for group in groups if group]
    places, at = {}, 0.0
    for group in shown:
        for monitor in group:
            places[monitor] = at
            at += 1
        at += GAP
    lines = 2 * (at - GAP + 1)
    body = lines * min(ROW, max(CLOSE, TALL / lines)) + ABOVE
    picture = style.page(style.FULL, body, figure.title, notes, keys)
    grid = picture.subplots(2, len(found.columns), sharey=True, sharex="row", squeeze=False)
    rules = [(places[one[-1]] + places[other[0]]) / 2 for one, other in pairwise(shown)]
    for axes in grid.flat:
        axes.tick_params(axis="y", length=0)
        axes.set_ylim(at - GAP - 0.4, -0.6)
        for line in places.values():
            axes.axhline(line, color=style.PALE, linewidth=0.5, zorder=0)
        for rule in rules:
            axes.axhline(rule, color=style.GREY, linewidth=0.6)
    for axes, title in zip(grid[:, 0], titles, strict=True):
        axes.set_ylabel(title, fontsize=style.TITLE_SIZE, fontweight="bold")
        _name(axes, found, places)
    return Columns(picture, found, places, list(grid[0]), list(grid[1]))


def head(drawn: Columns, rows: Mapping[tuple[str, str], Row]) -> None:
    """The name of every evaluation set and what its values rest on; rows by set and monitor."""
    width = (style.FULL - NAMES) / len(drawn.found.columns)
    for column, axes, _ in drawn.panels():
        mean = f"mean of {len(drawn.found.averaged)}"
        name = mean if column == MEAN_DATASET else style.wrap_name(column, width)
        counted = marks.counts(row for (dataset, _), row in rows.items() if dataset == column and row["n"])
        axes.set_title("\n".join([name, *counted]), linespacing=1.2)


def dots(
    drawn: Columns, panels: Sequence[Axes], rows: Mapping[tuple[str, str], Row], kind: str, *, percent: bool = False
) -> list[Mark]:
    """Values with their intervals in one row of panels; with few columns also as numbers, or in %."""
    found, made = drawn.found, []
    for column, axes in zip(found.columns, panels, strict=True):
        for monitor, at in drawn.places.items():
            row = rows[column, monitor]
            marks.dot(axes, row, at, found.look(monitor), size=3.8)
            if len(found.columns) <= ROOMY and row["value"] is not None:
                words = marks.number(100 * row["value"], 1) if percent else marks.number(row["value"])
                marks.beside(axes, at, words, bold=monitor == found.headline)
            made.append(marks.mark(kind, row, dataset=column, monitor=monitor, layer=found.layer(monitor)))
    return made


def negatives(axes: Axes, found: Measured, column: str) -> None:
    """Below a panel: how many negatives its rates rest on, and what one of them is worth."""
    count = found.negatives(column)
    if column != MEAN_DATASET and count:
        axes.set_xlabel(f"{count} negatives\n1 FP = {100 / count:.2g} %", fontsize=style.NOTE_SIZE)


def references(drawn: Columns, data: FigureInput, figure: Figure, metric: str) -> list[Mark]:
    """Published values of the sets that the figure says are the same, as dashes over the upper panels."""
    made = []
    for column, axes, _ in drawn.panels():
        for one in published.matching(figure.published, column, metric):
            axes.axvline(one.value, color=style.GREY, linewidth=0.9, linestyle=(0, (4, 2)), zorder=1)
            made.append(published.mark(one, column))
    return made


def keys(found: Measured, monitors: Sequence[str], figure: Figure) -> list[Artist]:
    """The legend of the kinds of monitors, and of published values where there are some."""
    shown: list[Artist] = [marks.key(look, kind) for kind, look in found.kinds(monitors).items()]
    if any(published.matching(figure.published, column, "auroc") for column in found.columns):
        shown.append(Line2D([], [], color=style.GREY, linestyle=(0, (4, 2)), label="published"))
    return shown


def _name(axes: Axes, found: Measured, places: Mapping[str, float]) -> None:
    axes.set_yticks(list(places.values()), [found.name(monitor) for monitor in places])
    for label, monitor in zip(axes.get_yticklabels(), places, strict=True):
        label.set_fontweight("bold" if monitor == found.headline else "normal")
        label.set_color("black" if monitor in found.probes else _ink(found, monitor))


def _ink(found: Measured, monitor: str) -> str:
    """A monitor's colour, darkened so that letters can be read in it."""
    red, green, blue = to_rgb(found.look(monitor).colour)
    return to_hex((0.8 * red, 0.8 * green, 0.8 * blue))
