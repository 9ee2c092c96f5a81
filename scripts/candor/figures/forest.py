"""Values with intervals in lines below each other, in blocks with a heading: the form of figures that compare arms."""

import json
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from candor.figures import marks, style
from candor.figures.inputs import Compared, Mark, Row

LINE = 0.14
"""Inches of a line of text."""
TALL = 1.3
"""Lines that an entry takes at least."""
APART = 0.8
"""Lines between blocks."""
NAME_WIDTH = 1.8
"""Inches of the names beside the axes."""
HEADING_SIZE = 7.5
"""Font size of headings, in points."""


class Block(NamedTuple):
    """Entries under a heading: what stands beside each line of values."""

    heading: str
    entries: Sequence[str]


class Layout:
    """Where the headings and entries of blocks stand, downwards in lines of text.

    A heading runs over the whole page. `places` has the middle of each entry's line by block, `ends` the top and bottom
    of each block's entries.
    """

    def __init__(self, blocks: Sequence[Block]) -> None:
        self.places: list[list[float]] = []
        self.ends: list[tuple[float, float]] = []
        self._names: list[tuple[float, str, bool]] = []  # middle, words, whether it is a heading
        self._rules: list[float] = []
        below = 0.0
        for number, block in enumerate(blocks):
            if number:
                self._rules.append(below + APART / 2)
                below += APART
            heading = style.wrap(block.heading, style.FULL - 2 * style.MARGIN, HEADING_SIZE, bold=True)
            below = self._name(below, heading, heading=True)
            top, places = below, []
            for entry in block.entries:
                words = "\n".join(style.wrap(line, NAME_WIDTH, style.NOTE_SIZE) for line in entry.split("\n"))
                below = self._name(below, words, heading=False)
                places.append(self._names[-1][0])
            self.places.append(places)
            self.ends.append((top, below))
        self._lines = below

    def _name(self, top: float, words: str, heading: bool) -> float:
        """Keep a name for its line, which starts at `top`; where the line ends."""
        height = max(1.0 if heading else TALL, 1.0 + words.count("\n"))
        self._names.append((top + height / 2, words, heading))
        return top + height

    @property
    def height(self) -> float:
        """Inches of all lines."""
        return LINE * (self._lines + 1)

    def furnish(self, panels: Sequence[Axes]) -> None:
        """Names beside the first of panels that stand side by side, and rules between blocks in all of them."""
        for axes in panels:
            axes.set_ylim(self._lines + 0.5, -0.5)
            axes.tick_params(axis="y", length=0, labelsize=style.NOTE_SIZE)
            axes.set_yticks([])
            axes.spines["left"].set_visible(False)
            axes.patch.set_visible(False)
            for rule in self._rules:
                axes.axhline(rule, color=style.PALE, linewidth=0.6, zorder=0)
        entries = [(at, words) for at, words, heading in self._names if not heading]
        panels[0].set_yticks([at for at, _ in entries], [words for _, words in entries])
        panels[0].set_zorder(1)  # its headings run over the other panels
        for at, words, heading in self._names:
            if heading:
                _head(panels[0], at, words)


def _head(axes: Axes, at: float, words: str) -> None:
    """A heading from the left edge of the page on, over whatever lines stand behind it."""
    heading = axes.annotate(
        words,
        (style.MARGIN / style.FULL, at),
        xycoords=("figure fraction", "data"),
        va="center",
        fontsize=HEADING_SIZE,
        fontweight="bold",
        bbox={"facecolor": "white", "edgecolor": "none", "pad": 0.5},
        annotation_clip=False,
    )
    heading.set_in_layout(False)


def value(axes: Axes, row: Row | None, at: float, look: style.Look, words: str | None = None) -> None:
    """A value with its whisker, and beside the axes its number, or other words; "n/a" for what was not measured."""
    if row is None or row["value"] is None:
        marks.absent(axes, at).set_bbox({"facecolor": "white", "edgecolor": "none", "pad": 0.5})
        return
    marks.dot(axes, row, at, look)
    marks.beside(axes, at, marks.number(row["value"]) if words is None else words, look.colour)


def share_axis(axes: Axes, title: str, width: float) -> None:
    """A horizontal axis from 0 to 1, both ends in sight, under a title of so many inches."""
    axes.set_xlim(-0.03, 1.03)
    axes.set_xticks([0, 0.5, 1], ["0", "0.5", "1"])
    for end in (0, 1):
        axes.axvline(end, color=style.PALE, linewidth=0.6, zorder=0)
    axes.set_title(style.wrap(title, width, 8), loc="left", linespacing=1.2)


def arm_look(arm: str) -> style.Look:
    """How an arm is drawn."""
    return style.ARMS.get(arm, style.ARMS["trigger"])


def arm_keys(compared: Iterable[Compared]) -> list[Line2D]:
    """The legend of the arms of comparisons."""
    arms = dict.fromkeys(arm for one in compared for arm in one.arms)
    return [marks.key(arm_look(arm), arm) for arm in sorted(arms, key=lambda arm: arm == "control")]


def counted(name: str, row: Row | None) -> str:
    """A name and what its rate rests on, texts and those skipped; below it their statuses where not all are ok."""
    if row is None:
        return name
    statuses = {status: count for status, count in json.loads(row["statuses"]).items() if status != "ok"}
    listed = ", ".join(f"{count} {status.replace('_', ' ')}" for status, count in statuses.items())
    return "\n".join(filter(None, [f"{name}: n {row['n']}, {row['n_skipped']} skipped", listed]))


def rate_mark(compared: Compared, row: Row, **names: str | None) -> Mark:
    """The CSV row of a drawn rate."""
    return marks.mark(row["measure"], row, experiment=compared.id, **names, statuses=row["statuses"])


def prompts(compared: Compared) -> str:
    """How many different prompts a comparison rests on."""
    return f"{compared.prompts} prompts"


def subjects(compared: Iterable[Compared]) -> str:
    """The subjects under study, what they responded to, and how."""
    found: dict[str, list[str]] = {}
    for config in (one.config for one in compared):
        found.setdefault(f"{config.dataset}, sampling {config.sampling}", []).append(config.subject)
    return "; ".join(f"{', '.join(dict.fromkeys(names))} on {where}" for where, names in found.items())
