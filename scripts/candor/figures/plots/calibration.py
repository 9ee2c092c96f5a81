"""Whether probabilities are what they say: reliability by bin, counts, ratings, ECE and Brier score (Fig. 15 to 17)."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from candor.config.figures import Figure
from candor.figures import marks, multiples, style
from candor.figures.inputs import Drawn, FigureError, FigureInput, Mark, Row
from candor.schemas.metric import MEAN_DATASET

ACROSS = 3  # blocks beside each other
RELIABILITY, COUNTS, RATINGS = 1.55, 0.45, 1.05  # inches of the panels of a block
SMALL = 0.85  # of these heights where blocks stand below each other
HEADING = 0.75  # inches of a block's title and labels
LOOKS = {
    "raw": style.HEADLINE,
    "platt": style.Look("#D55E00", "s", "--", False, ""),
    "isotonic": style.Look("#009E73", "^", "-.", True, ""),
}
SCORES = ("ece", "brier")


class Block(NamedTuple):
    """One monitor on one evaluation set: the rows of its bins, of their ratings, and of its scores, by method."""

    monitor: str
    layer: int | None
    dataset: str
    observed: dict[str, list[Row]]
    ratings: dict[str, list[Row]]
    scores: dict[tuple[str, str], Row]


def draw(data: FigureInput, figure: Figure) -> Drawn:
    """A block per monitor and evaluation set: reliability, how many texts each bin holds, and mean ratings below."""
    rows = [row for one in data.curves for row in one.rows]
    blocks = _blocks(rows)
    methods = list(dict.fromkeys(_method(row) for row in rows))
    across = min(ACROSS, len(blocks)) if len(blocks) != 4 else 2
    down = -(-len(blocks) // across)
    rated = any(block.ratings for block in blocks)
    small = SMALL if down > 1 else 1.0
    heights = [small * height for height in ([RELIABILITY, COUNTS, RATINGS] if rated else [RELIABILITY, COUNTS])]
    legend = 0.13 * (len(methods) + 1)
    width = style.COLUMN if across == 1 else style.FULL
    body = down * (sum(heights) + HEADING + legend + (0.2 if rated else 0))
    keys = [marks.line_key(LOOKS.get(method, style.PROBE), method) for method in methods]
    keys.append(Line2D([], [], color=style.GREY, linestyle=":", label="calibrated"))
    picture = style.page(width, body, figure.title, _notes(data, rows, rated), keys)
    grid = picture.subplots(len(heights) * down, across, squeeze=False, height_ratios=heights * down)
    drawn: list[Mark] = []
    for i, block in enumerate(blocks):
        panels = grid[len(heights) * (i // across) : len(heights) * (i // across + 1), i % across]
        drawn += _draw(block, list(panels), width / across - 0.6)
    for i in range(len(blocks), across * down):
        for axes in grid[len(heights) * (i // across) : len(heights) * (i // across + 1), i % across]:
            axes.set_axis_off()
    means = [row for row in rows if row["dataset"] == MEAN_DATASET and row["metric"] in SCORES]
    drawn += [multiples.mark(row, row["metric"], method=_method(row)) for row in means]
    return Drawn(picture, drawn)


def _blocks(rows: Sequence[Row]) -> list[Block]:
    names = [(_monitor(row), row["dataset"]) for row in rows if row["dataset"] != MEAN_DATASET]
    blocks = []
    for monitor, dataset in dict.fromkeys(names):
        here = [row for row in rows if _monitor(row) == monitor and row["dataset"] == dataset]
        observed, ratings = (_by_method(here, metric) for metric in ("observed", "rating"))
        scores = {(_method(row), row["metric"]): row for row in here if row["metric"] in SCORES}
        blocks.append(Block(monitor, here[0]["layer"], dataset, observed, ratings, scores))
    if not any(block.observed or block.scores for block in blocks):
        raise FigureError("the curve tables hold no reliability, ECE or Brier score; is it a calibration experiment?")
    return blocks


def _by_method(rows: Sequence[Row], metric: str) -> dict[str, list[Row]]:
    of = sorted((row for row in rows if row["metric"] == metric), key=lambda row: row["x"])
    return {method: [row for row in of if _method(row) == method] for method in dict.fromkeys(map(_method, of))}


def _monitor(row: Row) -> str:
    return str(row["curve"]).rsplit("/", 1)[0]


def _method(row: Row) -> str:
    return str(row["curve"]).rsplit("/", 1)[-1]


def _draw(block: Block, panels: Sequence[Axes], width: float) -> list[Mark]:
    reliability, counts = panels[:2]
    reliability.plot([0, 1], [0, 1], color=style.GREY, linewidth=0.8, linestyle=":", zorder=1)
    drawn: list[Mark] = []
    for number, (method, rows) in enumerate(block.observed.items()):
        look = LOOKS.get(method, style.PROBE)
        multiples.line(reliability, [(row["x"], row) for row in rows], look)
        _count(counts, rows, look, number, len(block.observed))
        drawn += [multiples.mark(row, "observed", method=method) for row in rows]
    for method, rows in block.ratings.items():
        multiples.line(panels[2], [(row["x"], row) for row in rows], LOOKS.get(method, style.PROBE))
        drawn += [multiples.mark(row, "rating", method=method) for row in rows]
    drawn += [multiples.mark(row, metric, method=method) for (method, metric), row in block.scores.items()]
    _furnish(block, panels, width)
    return drawn


def _count(axes: Axes, rows: Sequence[Row], look: style.Look, number: int, of: int) -> None:
    """Bars from zero: the texts of each bin, at its mean probability; methods stand beside each other."""
    shift = 0.012 * (number - (of - 1) / 2)
    for row in rows:
        axes.plot([row["x"] + shift] * 2, [0, row["n"]], color=look.colour, linewidth=1.6, solid_capstyle="butt")
    axes.plot(
        [row["x"] + shift for row in rows],
        [row["n"] for row in rows],
        look.marker,
        color=look.colour,
        markerfacecolor=look.colour if look.filled else "white",
        markersize=2.4,
    )


def _furnish(block: Block, panels: Sequence[Axes], width: float) -> None:
    reliability, counts = panels[:2]
    rows = [row for row in block.scores.values() if row["n"]]
    name = block.monitor if block.layer is None else f"{block.monitor} L{block.layer}"
    heading = [
        style.wrap_name(f"{name}, {block.dataset}", width, 7.5),
        style.wrap(", ".join(marks.counts(rows)), width, style.NOTE_SIZE),
        "method: ECE, Brier score",
        *(_legend(block, method) for method in dict.fromkeys(method for method, _ in block.scores)),
    ]
    reliability.set_title("\n".join(heading), loc="left", fontsize=style.NOTE_SIZE, linespacing=1.25)
    for axes in panels:
        axes.set_xlim(-0.03, 1.03)
        axes.set_xticks([0, 0.5, 1], ["0", "0.5", "1"] if axes is panels[-1] else [""] * 3)
    reliability.set_ylim(-0.03, 1.03)
    reliability.set_yticks([0, 0.5, 1], ["0", "0.5", "1"])
    reliability.set_ylabel("share positive")
    most = max((row["n"] for rows in block.observed.values() for row in rows), default=1)
    counts.set_ylim(0, 1.15 * most)
    counts.set_yticks([0, most])
    counts.set_ylabel("texts")
    if not block.observed:
        marks.absent(reliability, 0.5)
    panels[-1].set_xlabel("mean probability in a bin")
    if len(panels) == 3:
        panels[2].set_ylabel("mean rating")
        if not block.ratings:
            marks.absent(panels[2], 0.5).set_text("no ratings")
            panels[2].set_yticks([])
        else:
            _rating_axis(panels[2], [row for rows in block.ratings.values() for row in rows])


def _rating_axis(axes: Axes, rows: Sequence[Row]) -> None:
    """From 1 to 10, the scale of ratings, or further where ratings go beyond it."""
    low, high = min(1.0, *(row["value"] for row in rows)), max(10.0, *(row["value"] for row in rows))
    axes.set_ylim(low - 0.5, high + 0.5)
    axes.set_yticks(np.linspace(low, high, 4).round(1), [f"{tick:g}" for tick in np.linspace(low, high, 4).round(1)])


def _legend(block: Block, method: str) -> str:
    """ECE and Brier score of a method, with intervals."""
    ece, brier = (block.scores.get((method, metric)) for metric in SCORES)
    if ece is None or brier is None or ece["value"] is None or brier["value"] is None:
        return f"{method}: undefined"
    return f"{method}: {_short(ece)}, {_short(brier)}"


def _short(row: Row) -> str:
    """A value and its interval without leading zeros, so that two fit a line: .12 [.09, .15]."""
    number, low, high = (
        "n/a" if value is None else f"{value:.2f}".lstrip("0") for value in (row["value"], row["low"], row["high"])
    )
    return f"{number} [{low}, {high}]" if row["low"] is not None else number


def _notes(data: FigureInput, rows: Sequence[Row], rated: bool) -> list[str]:
    reasons = dict.fromkeys(
        f"{row['curve']}: {row['remark']}" for row in rows if row["metric"] == "ece" and row["value"] is None
    )
    means = [row for row in rows if row["dataset"] == MEAN_DATASET and row["value"] is not None]
    by_curve = {row["curve"]: [_short(of) for of in means if of["curve"] == row["curve"]] for row in means}
    listed = "; ".join(f"{curve} {', '.join(scores)}" for curve, scores in by_curve.items())
    scale = " Mean rating: of the texts' own ratings from 1 to 10." if rated else ""
    return [
        "Share positive by mean probability in bins of equal width; bars: texts in a bin. platt, isotonic: "
        f"recalibrated on out-of-fold training scores, never on these sets.{scale} ECE: mean distance from the dotted "
        "line. Whiskers and brackets: intervals. L: layer.",
        *([f"Means of ECE and Brier score over the sets out of distribution: {listed}."] if listed else []),
        *([f"Undefined: {'; '.join(list(reasons)[:4])}."] if reasons else []),
        *marks.provenance_notes(data, "over groups and seeds"),
    ]
