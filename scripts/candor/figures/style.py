"""How figures look: sizes, who is drawn how, and pages whose title and footnotes never overlap the axes.

Colours are Okabe and Ito's, which colour-blind readers tell apart; a marker, dash or hatch repeats each distinction for
print in black and white.
"""

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Literal, NamedTuple

import matplotlib
from matplotlib.artist import Artist
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.textpath import text_to_path

COLUMN = 3.5
"""Width of one column in inches."""
FULL = 7.2
"""Width of a page in inches."""
NOTE_SIZE = 7.0
"""Font size of footnotes and counts, in points; nothing is smaller."""
TITLE_SIZE = 9.0
LEADING = 1.25
"""Distance between lines of text, in font sizes."""
MARGIN = 0.08
"""Inches between title or footnotes and the edge of the page."""
GAP = 0.04
"""Inches between title or legend and the axes' own titles."""
KEYS_HEIGHT = 0.17
"""Inches of a line of legend."""
KEYS_SIZE = 7.5
"""Font size of a legend, as the style sheet has it; so are the following, in font sizes."""
KEYS_HANDLE = 1.8
KEYS_PADDING = 0.5
KEYS_SPACING = 1.4
GREY = "#666666"
PALE = "#dddddd"


LineStyle = Literal["-", "--", "-.", ":", ""] | tuple[float, tuple[float, ...]]
"""A dash pattern by matplotlib's name, or by lengths."""


class Look(NamedTuple):
    """How one kind of monitor, arm or condition is drawn."""

    colour: str
    marker: str
    line: LineStyle
    filled: bool
    hatch: str


HEADLINE = Look("#0072B2", "o", "-", True, "")
PROBE = Look("#56B4E9", "o", "-", False, "")
TEXT = Look("#D55E00", "s", "--", True, "////")
CONTROL = Look("#666666", "X", ":", True, "....")
PROMPTED = Look("#009E73", "^", "-.", True, "\\\\\\\\")
FINETUNED = Look("#CC79A7", "D", (0, (4, 1, 1, 1)), True, "xxxx")
JUDGE = Look("#E69F00", "v", (0, (1, 1)), True, "----")
LINES = (
    HEADLINE,
    Look("#D55E00", "s", "--", False, ""),
    Look("#009E73", "^", "-.", True, ""),
    Look("#CC79A7", "D", (0, (1, 1)), False, ""),
    Look("#E69F00", "v", (0, (4, 1, 1, 1, 1, 1)), True, ""),
    Look("#56B4E9", "P", "-", False, ""),
    Look("black", "X", "--", True, ""),
    Look("#0072B2", "s", ":", False, ""),
    Look("#009E73", "o", (0, (6, 2)), False, ""),
    Look("black", "D", (0, (1, 2)), False, ""),
    Look("#E69F00", "P", (0, (6, 2, 1, 2)), True, ""),
)
"""Lines of one picture in their order; a further one takes the first look again."""
LABELS = (
    Look("#56B4E9", "o", "-", True, ""),
    Look("#D55E00", "s", "-", True, "////"),
    Look("#009E73", "^", "-", True, "...."),
    Look("#CC79A7", "D", "-", True, "xxxx"),
)
"""Classes of a task in their order; a further one takes the first look again."""
CLASS_LINES: tuple[LineStyle, ...] = ("-", "--", "-.", (0, (1, 1)))
"""Dashes of lines of classes, in their order."""
ARMS = {
    "trigger": Look("#D55E00", "o", "-", True, ""),
    "decoy": Look("#CC79A7", "D", "-", True, "xxxx"),
    "control": Look("#0072B2", "s", "--", False, "////"),
}
"""Arms of prompts by their label; another label looks like a trigger."""
CONDITIONS = (
    Look("#0072B2", "o", "-", True, ""),
    Look("#009E73", "^", "--", False, "////"),
    Look("#CC79A7", "D", "-.", True, "...."),
    Look("#E69F00", "v", (0, (4, 1, 1, 1, 1, 1)), False, "xxxx"),
    Look("#56B4E9", "P", (0, (1, 1)), True, ""),
)
"""Conditions of an experiment: what it is about, then the others in their order."""


def class_look(place: int) -> Look:
    """How the class of this place among a task's is drawn, also as a line."""
    look = LABELS[place % len(LABELS)]
    return look._replace(line=CLASS_LINES[place % len(CLASS_LINES)])


@contextmanager
def applied(sheet: Path) -> Iterator[None]:
    """Draw and save under this style sheet, laid over matplotlib's defaults: no user's settings bear on a figure."""
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(matplotlib.rc_params_from_file(sheet, use_default_template=False))
        yield


def page(width: float, body: float, title: str, notes: Sequence[str], keys: Sequence[Artist] = ()) -> Figure:
    """A figure whose axes have `body` inches of height between title and legend above and the footnotes below.

    The layout engine keeps them apart; each note starts a line.
    """
    heading = wrap(title, width - 2 * MARGIN, TITLE_SIZE, bold=True)
    footnote = "\n".join(wrap(note, width - 2 * MARGIN, NOTE_SIZE) for note in notes)
    title_height, notes_height = _height(heading, TITLE_SIZE), _height(footnote, NOTE_SIZE)
    columns = key_columns([str(key.get_label()) for key in keys], width - 2 * MARGIN)
    key_lines = max((len(column) for column in columns), default=0)
    above = MARGIN + title_height + key_lines * KEYS_HEIGHT + GAP
    height = above + body + notes_height + MARGIN
    left = MARGIN / width
    engine = ConstrainedLayoutEngine(rect=(0, 0, 1, 1 - above / height))
    figure = Figure(figsize=(width, height), layout=engine)
    FigureCanvasAgg(figure)
    figure.suptitle(heading, x=left, y=1 - MARGIN / height, ha="left", va="top", linespacing=LEADING)
    figure.supxlabel(footnote, x=left, ha="left", fontsize=NOTE_SIZE, color=GREY, linespacing=LEADING)
    if keys:
        legend = figure.legend(
            handles=list(keys),
            loc="upper left",
            bbox_to_anchor=(left, 1 - (MARGIN + title_height) / height),
            ncols=len(columns),
            borderpad=0,
            borderaxespad=0,
            labelspacing=0.3,
            columnspacing=KEYS_SPACING,
            handletextpad=KEYS_PADDING,
        )
        legend.set_in_layout(False)  # its place is kept free above
    return figure


def key_columns(labels: Sequence[str], width: float) -> list[list[str]]:
    """The entries of a legend in as few lines, so as many columns, as fit into a width; matplotlib fills columns."""
    around = KEYS_SIZE / 72 * (KEYS_HANDLE + KEYS_PADDING + KEYS_SPACING)
    for lines in range(1, len(labels)):
        count = -(-len(labels) // lines)
        short, longer = divmod(len(labels), count)
        starts = [i * short + min(i, longer) for i in range(count + 1)]
        columns = [list(labels[start:end]) for start, end in pairwise(starts)]
        if sum(max(text_width(label, KEYS_SIZE) for label in column) + around for column in columns) <= width:
            return columns
    return [list(labels)] if labels else []


def _height(text: str, size: float) -> float:
    """Height of lines of text in inches."""
    return (text.count("\n") + 1) * size * LEADING / 72


def wrap(text: str, width: float, size: float, bold: bool = False) -> str:
    """Break text between words into lines of at most `width` inches."""
    return _fill(re.findall(r"\S+\s*", text), width, size, bold)


def wrap_name(name: str, width: float, size: float = 8.0) -> str:
    """Break an id after `-`, `_` or `.`, or before `@`, into lines of at most `width` inches."""
    return _fill([piece for piece in re.split(r"(?<=[-_.])|(?=@)", name) if piece], width, size, bold=False)


def _fill(pieces: Sequence[str], width: float, size: float, bold: bool) -> str:
    """Lines of as many pieces as fit; a piece that is longer than a line is cut."""
    lines = [""]
    for piece in pieces:
        if lines[-1] and text_width(lines[-1] + piece, size, bold) > width:
            lines.append("")
        lines[-1] += piece
        while text_width(lines[-1], size, bold) > width and len(lines[-1]) > 1:
            line = lines[-1]
            fits = next((end for end in range(len(line) - 1, 1, -1) if text_width(line[:end], size, bold) <= width), 1)
            lines[-1:] = [line[:fits], line[fits:]]
    return "\n".join(line.rstrip() for line in lines)


def text_width(text: str, size: float, bold: bool = False) -> float:
    """Width of a line of text in inches."""
    font = FontProperties(family="DejaVu Sans", weight="bold" if bold else "normal", size=size)
    points: float = text_to_path.get_text_width_height_descent(text.rstrip(), font, ismath=False)[0]
    return points / 72
