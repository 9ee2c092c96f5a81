"""Squares of colour with numbers in them, by row and column: the form of figures that draw matrices."""

import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle

from candor.figures import style

COLOURS = colormaps["YlGnBu"]
"""Light to dark, also in print in black and white."""
NO_VALUE = "#eeeeee"
DARK = 0.6
"""The level from which on words are white."""
FRAME = 1.6  # points of a marked square's edge
SPACE = 0.05  # inches between the names of neighbouring columns


class Square(NamedTuple):
    """One square: how dark it is, from 0 to 1 (None: no value), and the words in it."""

    level: float | None
    words: str
    bold: bool = False
    hatched: bool = False
    framed: bool = False


def fill(
    axes: Axes, squares: Mapping[tuple[int, int], Square], rows: Sequence[str], columns: Sequence[str], width: float
) -> None:
    """Squares by row, from the top, and column, each of so many inches; names of columns slant where they are wider."""
    for (y, x), one in squares.items():
        put(axes, x, y, one)
    axes.set_xlim(0, len(columns))
    axes.set_ylim(len(rows), 0)
    axes.set_aspect("auto")
    centres = [x + 0.5 for x in range(len(columns))]
    if all(fits(name, width) for name in columns):
        axes.set_xticks(centres, [broken(name, width) for name in columns])
    else:
        axes.set_xticks(centres, list(columns), rotation=30, ha="right", rotation_mode="anchor")
    axes.set_yticks([y + 0.5 for y in range(len(rows))], list(rows))
    axes.tick_params(length=0, labelsize=style.NOTE_SIZE)
    axes.spines[:].set_visible(False)


def put(axes: Axes, x: int, y: int, one: Square) -> None:
    """A square whose upper left corner is at (x, y)."""
    colour = NO_VALUE if one.level is None else COLOURS(one.level)
    ink = "black" if one.level is None or one.level < DARK else "white"
    axes.add_patch(Rectangle((x, y), 1, 1, facecolor=colour, edgecolor=style.PALE, linewidth=0.6))
    words = axes.text(
        x + 0.5,
        y + 0.5,
        one.words,
        ha="center",
        va="center",
        fontsize=style.NOTE_SIZE,
        fontweight="bold" if one.bold else "normal",
        color=ink,
        linespacing=1.1,
    )
    if one.hatched:
        axes.add_patch(Rectangle((x, y), 1, 1, fill=False, edgecolor=ink, hatch="///", linewidth=0, alpha=0.6))
        words.set_bbox({"facecolor": colour, "edgecolor": "none", "pad": 1})
    if one.framed:
        inside = Rectangle((x + 0.03, y + 0.03), 0.94, 0.94, fill=False, edgecolor="black", linewidth=FRAME, zorder=3)
        axes.add_patch(inside)


def fits(name: str, width: float) -> bool:
    """Whether a name fits so many inches without a cut inside of its words."""
    return all(style.text_width(piece, style.NOTE_SIZE) <= width - SPACE for piece in _pieces(name))


def broken(name: str, width: float) -> str:
    """A name in lines of at most so many inches, broken between words and after `_`, `-` and `.`; lines stay lines."""
    lines = [[piece for piece in _pieces(line)] for line in name.split("\n")]
    found = []
    for pieces in lines:
        found.append("")
        for piece in pieces:
            if found[-1] and style.text_width(found[-1] + piece, style.NOTE_SIZE) > width - SPACE:
                found.append("")
            found[-1] += piece
    return "\n".join(line.rstrip() for line in found)


def _pieces(name: str) -> list[str]:
    return re.findall(r"[^\s_.-]*[_.-]+|[^\s_.-]+\s*", name)
