"""Graders against the category: kappa and accuracy, how far graders agree, and what each takes each category for."""

from collections.abc import Sequence
from itertools import combinations
from typing import NamedTuple

from matplotlib.axes import Axes
from matplotlib.figure import SubFigure

from candor.config.figures import Figure
from candor.figures import forest, marks, squares, style
from candor.figures.inputs import Agreement, Drawn, FigureError, FigureInput, Mark, Row
from candor.figures.plots import judge_agreement

AGAINST = style.HEADLINE
PAIR = style.Look("#009E73", "D", "-", False, "")
ACROSS = 3  # matrices beside each other at most; there is room for two where there is one
LINE = 0.125  # inches of a line of words
BETWEEN = 0.07  # inches between entries
ENTRY = 2.3  # inches of an entry's name
AROUND = 0.62  # inches of the titles and axis of values
SIDE = 0.36  # inches of a square's height
HEADING = 0.5  # inches of a matrix's column names and the space around it
SLANTED = 0.25  # more inches of names that slant
NAMES = 1.0  # inches of the classes' names


class Line(NamedTuple):
    """What stands beside each other: a name, a kappa and the share of texts with the same class."""

    panel: Agreement
    name: str
    look: style.Look
    kappa: Row | None
    share: Row | None


class Matrix(NamedTuple):
    """One grader against the category: counts, and shares of a category, by category and verdict."""

    panel: Agreement
    judge: str
    title: str
    categories: list[str]
    verdicts: list[str]
    counts: dict[tuple[str, str], Row]
    shares: dict[tuple[str, str], Row]


def draw(data: FigureInput, figure: Figure) -> Drawn:
    """Above: a line per grader and pair of graders; below: a matrix per grader, rows the categories."""
    graded = [panel for panel in data.panels if panel.config.gold]
    if not graded:
        ids = ", ".join(panel.id for panel in data.panels)
        raise FigureError(f"{ids}: no panel has `gold`, so that no grader stands against the category; add it.")
    lines = [line for panel in graded for line in _lines(panel, len(graded) > 1)]
    matrices = [_matrix(panel, judge, len(graded) > 1) for panel in graded for judge in panel.judges]
    across, room = _room(matrices)
    rows = [matrices[start : start + across] for start in range(0, len(matrices), across)]
    heights = [_height(row, room) for row in rows]
    places, height = _places(lines)
    above = height + AROUND
    keys = [marks.key(AGAINST, "grader and category")]
    keys += [marks.key(PAIR, "two graders")] if any(line.look is PAIR for line in lines) else []
    picture = style.page(style.FULL, above + sum(heights), figure.title, _notes(data, graded), keys)
    upper, lower = picture.subfigures(2, 1, squeeze=False, height_ratios=[above, sum(heights)])[:, 0]
    drawn = _values(upper, lines, places, height)
    grid = lower.subplots(len(rows), across, squeeze=False, height_ratios=heights)
    for y, row in enumerate(rows):
        for x, matrix in enumerate(row):
            drawn += _draw(grid[y, x], matrix, room)
        for axes in grid[y, len(row) :]:
            axes.set_axis_off()
    return Drawn(picture, drawn)


def _lines(panel: Agreement, several: bool) -> list[Line]:
    names = judge_agreement.titles_of(panel)
    start = f"{panel.config.title}: " if several else ""
    lines = []
    for judge, name in names.items():
        kappa, share = (panel.row(measure, judge) for measure in ("kappa_gold", "accuracy"))
        lines.append(Line(panel, f"{start}{name} and category", AGAINST, kappa, share))
    for one, other in combinations(names, 2):
        kappa, share = (panel.row(measure, one, other) for measure in ("cohen_kappa", "agreement"))
        lines.append(Line(panel, f"{start}{names[one]} and {names[other]}", PAIR, kappa, share))
    return lines


def _places(lines: Sequence[Line]) -> tuple[list[float], float]:
    """The middle of each entry in inches from the top, and the height of all."""
    places, below = [], 0.0
    for line in lines:
        height = LINE * (_entry(line).count("\n") + 1) + BETWEEN
        places.append(below + height / 2)
        below += height
    return places, below


def _values(part: SubFigure, lines: Sequence[Line], places: Sequence[float], height: float) -> list[Mark]:
    kappas, shares = part.subplots(1, 2)
    drawn: list[Mark] = []
    for at, line in zip(places, lines, strict=True):
        for axes, row in ((kappas, line.kappa), (shares, line.share)):
            if row is None:
                continue
            judge_agreement.value(axes, row, at, line.look)
            drawn.append(judge_agreement.mark(line.panel, row))
    known = [line.kappa for line in lines if line.kappa is not None]
    marks.value_axis(kappas, [*known, {"value": 1.0, "low": None, "high": None}], 0.0)
    forest.share_axis(shares, "same class", 2.0)
    kappas.set_title("Cohen's kappa", loc="left")
    kappas.set_xlabel("0: as by chance")
    shares.set_xlabel("share of texts")
    for axes in (kappas, shares):
        axes.set_ylim(height, 0)
        axes.tick_params(axis="y", length=0)
        axes.set_yticks([])
        for at in places:
            axes.axhline(at, color=style.PALE, linewidth=0.5, zorder=0)
    kappas.set_yticks(places, [_entry(line) for line in lines], fontsize=style.NOTE_SIZE, linespacing=1.1)
    return drawn


def _entry(line: Line) -> str:
    row = line.share or line.kappa
    counted = "" if row is None else f"n {row['n']}, {row['n_groups']} groups, {row['n_skipped']} skipped"
    return f"{style.wrap(line.name, ENTRY, style.NOTE_SIZE)}\n{counted}"


def _matrix(panel: Agreement, judge: str, several: bool) -> Matrix:
    counts, shares = (
        {
            (row["gold"], row["verdict"]): row
            for row in panel.rows
            if row["measure"] == measure and row["judge"] == judge
        }
        for measure in ("confusion", "rate")
    )
    order = _order(panel)
    names = [list(dict.fromkeys(pair[side] for pair in counts)) for side in (0, 1)]
    categories, verdicts = (sorted(of, key=lambda name: order.get(name, len(order))) for of in names)
    title = judge_agreement.titles_of(panel)[judge]
    return Matrix(
        panel, judge, f"{panel.config.title}: {title}" if several else title, categories, verdicts, counts, shares
    )


def _room(matrices: Sequence[Matrix]) -> tuple[int, float]:
    """How many matrices stand beside each other, and inches of each: as many as leave classes' names whole."""
    for across in range(max(2, min(ACROSS, len(matrices))), 1, -1):
        room = style.FULL / across - NAMES - 0.15
        if not any(_slanted(each, room) for each in matrices):
            break
    return across, room


def _slanted(matrix: Matrix, room: float) -> bool:
    return not all(squares.fits(name, room / len(matrix.verdicts)) for name in matrix.verdicts)


def _height(row: Sequence[Matrix], room: float) -> float:
    """Inches of a line of matrices."""
    headings = max(style.wrap(each.title, room, style.NOTE_SIZE).count("\n") + 1 for each in row)
    slanted = SLANTED if any(_slanted(each, room) for each in row) else 0.0
    return SIDE * max(len(each.categories) for each in row) + LINE * headings + HEADING + slanted


def _order(panel: Agreement) -> dict[str, int]:
    """Classes in the order in which the config first names them: of gold, or of what a grader may say."""
    named = list(panel.config.gold.values()) if isinstance(panel.config.gold, dict) else []
    for judge in panel.judges.values():
        if judge.kind == "chat" and judge.reply.verdict is not None:
            named += judge.reply.verdict.choices
        if judge.kind == "keywords":
            named += list(judge.words)
    return {name: place for place, name in enumerate(dict.fromkeys(named))}


def _draw(axes: Axes, matrix: Matrix, room: float) -> list[Mark]:
    filled, drawn = {}, []
    for y, category in enumerate(matrix.categories):
        for x, verdict in enumerate(matrix.verdicts):
            count, share = matrix.counts[category, verdict], matrix.shares[category, verdict]
            words = "n/a" if share["value"] is None else f"{marks.number(share['value'])}\n{count['value']:.0f}"
            filled[y, x] = squares.Square(share["value"], words, bold=category == verdict)
            drawn.append({**judge_agreement.mark(matrix.panel, share), "count": count["value"]})
    rows = [f"{squares.broken(each, NAMES - 0.2)}{_told(matrix, each)}" for each in matrix.categories]
    squares.fill(axes, filled, rows, matrix.verdicts, room / len(matrix.verdicts))
    axes.set_xlabel("grader", fontsize=style.NOTE_SIZE)
    axes.set_ylabel("category", fontsize=style.NOTE_SIZE)
    axes.set_title(style.wrap(matrix.title, room, style.NOTE_SIZE), loc="left", fontsize=style.NOTE_SIZE)
    return drawn


def _told(matrix: Matrix, category: str) -> str:
    """The interval of the share that a category is rightly graded, below its name."""
    share = matrix.shares[category, category]
    return "" if share["low"] is None else f"\n[{marks.number(share['low'])}, {marks.number(share['high'])}]"


def _by(panels: Sequence[Agreement]) -> str:
    """What a text is where verbalisations are graded."""
    of = {panel.config.by for panel in panels if panel.config.verbalised is not None}
    words = {"place": "each place that was put into words", "example": "what most places of an example get"}
    return f" A text: {', or '.join(words[by] for by in sorted(of))}." if of else ""


def _notes(data: FigureInput, panels: Sequence[Agreement]) -> list[str]:
    undefined = any(row["value"] is None for panel in panels for row in panel.rows)
    return [
        "Kappa: agreement beyond chance. In a square: share of the category's texts, and their number; below a "
        "category's name: the interval of the share on the diagonal. Skipped: without a verdict or a category. Texts "
        f"of one group are drawn together.{_by(panels)}{' Undefined: one class only.' if undefined else ''}",
        *(judge_agreement.of_panel(panel) for panel in panels),
        *marks.provenance_notes(data, "bootstrap over groups; Wilson score"),
    ]
