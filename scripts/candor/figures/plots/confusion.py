"""What monitors take each class for: the selected probe, the text baseline beside it, then the other probes."""

from collections.abc import Sequence
from typing import NamedTuple

from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize

from candor.config.figures import Figure
from candor.figures import marks, squares, style
from candor.figures.decided import Decided, decided
from candor.figures.inputs import Drawn, FigureInput, Mark, Row
from candor.figures.measured import Measured

ACROSS = 4  # panels beside each other
MOST = 12  # panels above which only the selected probe and the baselines are drawn
SIDE = 0.36  # inches of a square's height
AROUND = 0.98  # inches of a panel's heading and column names
NAMES = 0.78  # inches of the classes' names
BAR = 0.6  # inches of the colour bar
GAP = 0.14  # inches between panels
NARROW = 1.6  # inches of a panel where the page is not full


class Panel(NamedTuple):
    """One monitor on one evaluation set."""

    monitor: str
    part: str
    decided: Decided


def draw(data: FigureInput, figure: Figure) -> Drawn:
    """A panel per monitor and evaluation set; rows: true classes; columns: predicted ones; colours: shares."""
    assert data.scores is not None  # the script has checked READS
    found = Measured(data.metrics or [], data.the_task())
    classes, parts = found.task.classes, found.task.evaluation
    first = [found.headline, *found.baselines]
    others = [probe for probe in found.probes if probe != found.headline]
    left_out = others if len(parts) * len([*first, *others]) > MOST else []
    shown = first if left_out else [*first, *others]
    panels = [
        [Panel(m, part, decided(data.scores, part, m, found.layer(m), found.task)) for m in shown] for part in parts
    ]
    across, room = _room(len(shown), classes)
    lines = [row[start : start + across] for row in panels for start in range(0, len(row), across)]
    width = NAMES + BAR + across * (room + GAP)
    side = SIDE * len(classes)
    body = len(lines) * (side + AROUND + (0.14 if len(parts) > 1 else 0)) + 0.2
    picture = style.page(width, body, figure.title, _notes(data, found, left_out, panels))
    grid = picture.subplots(len(lines), across, squeeze=False)
    drawn: list[Mark] = []
    for y, line in enumerate(lines):
        for x, panel in enumerate(line):
            drawn += _panel(grid[y, x], panel, found, room, first=x == 0)
        for axes in grid[y, len(line) :]:
            axes.set_axis_off()
    bar = picture.colorbar(
        ScalarMappable(Normalize(0, 1), squares.COLOURS),
        ax=list(grid.flat),
        shrink=min(1.0, 1.2 / body),
        aspect=14,
        pad=0.02,
        ticks=[0, 0.5, 1],
        label="share of the true class",
    )
    bar.outline.set_linewidth(0.5)
    return Drawn(picture, drawn)


def _room(count: int, classes: Sequence[str]) -> tuple[int, float]:
    """How many panels stand beside each other, and inches of each: as many as leave the classes' names in one piece."""
    for across in range(min(ACROSS, count), 0, -1):
        room = (style.FULL - NAMES - BAR) / across - GAP
        if all(squares.fits(name, room / len(classes)) for name in classes):
            return across, min(room, NARROW if len(classes) < ACROSS else room)
    return 1, room


def _panel(axes: Axes, panel: Panel, found: Measured, room: float, *, first: bool) -> list[Mark]:
    """One matrix under its monitor's name, accuracy and counts; the rows are named in the first of a line."""
    classes, shares = found.task.classes, panel.decided.shares
    filled = {
        (i, j): squares.Square(shares[row, column]["value"], _words(shares[row, column]), bold=i == j)
        for i, row in enumerate(classes)
        for j, column in enumerate(classes)
    }
    names = [squares.broken(each, NAMES) if first else "" for each in classes]
    squares.fill(axes, filled, names, classes, room / len(classes))
    axes.set_xlabel("predicted", fontsize=style.NOTE_SIZE)
    if first:
        axes.set_ylabel("true", fontsize=style.NOTE_SIZE)
    accuracy = panel.decided.accuracy
    kind = found.kind(panel.monitor).replace("other probes", "probe")
    heading = [
        style.wrap_name(found.name(panel.monitor), room, style.NOTE_SIZE),
        *([style.wrap_name(panel.part, room, style.NOTE_SIZE)] if len(found.task.evaluation) > 1 else []),
        f"{kind}, accuracy",
        marks.with_interval(accuracy),
        style.wrap(", ".join(marks.counts([accuracy])), room, style.NOTE_SIZE),
    ]
    axes.set_title("\n".join(heading), loc="left", fontsize=style.NOTE_SIZE, linespacing=1.2)
    of = {"dataset": panel.part, "monitor": panel.monitor, "layer": found.layer(panel.monitor)}
    made = [marks.mark("accuracy", accuracy, **of, true=None, predicted=None, count=None)]
    for (row, column), share in shares.items():
        made.append(marks.mark("share", share, **of, true=row, predicted=column, count=share["count"]))
    return made


def _words(share: Row) -> str:
    """A share and the number of examples behind it; a mean over seeds where it is not whole."""
    if share["value"] is None:
        return "n/a"
    count = share["count"]
    return (
        f"{marks.number(share['value'])}\n{count:.0f}"
        if count == int(count)
        else f"{marks.number(share['value'])}\n{count:.1f}"
    )


def _notes(data: FigureInput, found: Measured, left_out: Sequence[str], panels: Sequence[Sequence[Panel]]) -> list[str]:
    seeds = marks.span(
        panel.decided.accuracy["n_runs"] for line in panels for panel in line if panel.decided.accuracy["n_runs"]
    )
    classes = found.task.classes
    rule = (
        f"where the log-odds of {classes[1]} are above 0"
        if len(classes) == 2
        else "the one whose log-odds against the rest are highest"
    )
    about = (
        f"In a square: share of the true class's examples, and their number; means over seeds ({seeds}). Predicted: "
        f"{rule}. L: layer; it and the selected probe are chosen on training data alone. Guessing one class "
        "throughout would be right for its share of the examples. A text baseline reads the text, one of "
        "responses what the subject answered."
    )
    absent = any(share["value"] is None for line in panels for panel in line for share in panel.decided.shares.values())
    return [
        about + (" n/a: no example of the class." if absent else ""),
        *([f"Not drawn, to fit a page: {', '.join(left_out)}."] if left_out else []),
        *marks.provenance_notes(data, found.how),
    ]
