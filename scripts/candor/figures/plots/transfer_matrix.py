"""Probes of one task on the evaluation sets of another, and text baselines beside them."""

from collections.abc import Sequence
from typing import NamedTuple

from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import LinearSegmentedColormap, Normalize
from matplotlib.patches import Rectangle

from candor.config.figures import Figure
from candor.figures import marks, squares, style
from candor.figures.inputs import Drawn, FigureError, FigureInput, Mark, Row
from candor.schemas.metric import MEAN_DATASET

SCALE = Normalize(0.0, 1.0)
COLOURS = LinearSegmentedColormap.from_list("below and above chance", ["#E69F00", "white", "#56B4E9"])
"""Chance is white, and black words are legible on all of it."""
SIDE = 0.36  # inches of a square's height
AROUND = 0.95  # inches of titles and column names
NAMES = 1.75  # inches of the rows' names
BAR = 0.65  # inches of the colour bar
WIDEST = 1.15  # inches of a square at most


class Matrix(NamedTuple):
    """What probes, or text baselines, are worth: rows by source task, target task and set."""

    title: str
    rows: dict[tuple[str, str, str], Row]


def draw(data: FigureInput, figure: Figure) -> Drawn:
    """Columns: the task that was learnt; rows: evaluation sets by their task; framed: those of the learnt task."""
    rows = [
        row
        for row in (data.cells.rows if data.cells else [])
        if row["metric"] == "auroc" and row["versus"] is None and row["dataset"]
    ]
    if not rows:
        raise FigureError("the cell table has no AUROC by task and set; is it of a transfer between tasks?")
    sources = list(dict.fromkeys(row["source"] for row in rows))
    places = _places(rows)
    matrices = _matrices(rows)
    square = min(WIDEST, (style.FULL - NAMES - BAR - 0.2) / (len(sources) * len(matrices)))
    width = max(style.COLUMN + 0.4, NAMES + BAR + square * len(sources) * len(matrices))
    body = SIDE * len(places) + AROUND
    picture = style.page(min(style.FULL, width), body, figure.title, _notes(data, rows, matrices))
    panels = list(picture.subplots(1, len(matrices), squeeze=False, sharey=True)[0])
    drawn: list[Mark] = []
    for number, (axes, matrix) in enumerate(zip(panels, matrices, strict=True)):
        drawn += _panel(axes, matrix, sources, places, square, first=number == 0)
    bar = picture.colorbar(
        ScalarMappable(SCALE, COLOURS),
        ax=panels,
        shrink=min(1.0, 1.4 / body),
        aspect=14,
        pad=0.02,
        ticks=[0, 0.5, 1],
        label="AUROC",
    )
    bar.outline.set_linewidth(0.5)
    return Drawn(picture, drawn)


def _places(rows: Sequence[Row]) -> list[tuple[str, str]]:
    """Targets with their sets in the table's order; the mean of a single set is not drawn again."""
    found = list(dict.fromkeys((row["target"], row["dataset"]) for row in rows))
    sets = {target: [d for t, d in found if t == target and d != MEAN_DATASET] for target, _ in found}
    return [(target, d) for target, own in sets.items() for d in [*own, *([MEAN_DATASET] if len(own) > 1 else [])]]


def _matrices(rows: Sequence[Row]) -> list[Matrix]:
    """Monitors that read a layer are probes; a cell whose probe could not read it still names its layer."""
    probes, texts = ([row for row in rows if (row["layer"] is not None) == read] for read in (True, False))
    found = [Matrix("probe", {_key(row): row for row in probes})]
    return [*found, Matrix("text baseline", {_key(row): row for row in texts})] if texts else found


def _key(row: Row) -> tuple[str, str, str]:
    return row["source"], row["target"], row["dataset"]


def _panel(
    axes: Axes,
    matrix: Matrix,
    sources: Sequence[str],
    places: Sequence[tuple[str, str]],
    square: float,
    *,
    first: bool,
) -> list[Mark]:
    drawn: list[Mark] = []
    filled = {}
    for y, (target, dataset) in enumerate(places):
        for x, source in enumerate(sources):
            row = matrix.rows.get((source, target, dataset))
            own = source == target
            filled[y, x] = squares.Square(None, _words(row), bold=own, framed=own)
            if row is not None:
                drawn.append(_mark(row, own))
    names = [_name(target, dataset, matrix, sources) for target, dataset in places]
    monitors = {source: _monitors(matrix, source) for source in sources}
    columns = ["\n".join((source, *monitors[source])) for source in sources]
    squares.fill(axes, filled, names, columns, square)
    for y, (target, dataset) in enumerate(places):
        for x, source in enumerate(sources):
            row = matrix.rows.get((source, target, dataset))
            if row is not None and row["value"] is not None:
                colour = COLOURS(SCALE(row["value"]))
                axes.add_patch(Rectangle((x, y), 1, 1, facecolor=colour, edgecolor=style.PALE, linewidth=0.6))
    for y in range(1, len(places)):
        if places[y][0] != places[y - 1][0]:
            axes.axhline(y, color="black", linewidth=0.8, zorder=2)
    axes.set_xlabel("learnt from", fontsize=style.NOTE_SIZE)
    if first:
        axes.set_ylabel("measured on", fontsize=style.NOTE_SIZE)
    axes.set_title(matrix.title, loc="left", fontweight="bold")
    return drawn


def _name(target: str, dataset: str, matrix: Matrix, sources: Sequence[str]) -> str:
    """A set, or the mean over its task's sets, with what its values rest on."""
    rows = [matrix.rows[key] for source in sources if (key := (source, target, dataset)) in matrix.rows]
    words = f"{target}: mean over sets" if dataset == MEAN_DATASET else dataset
    counted = f"n {marks.span(row['n'] for row in rows)}, {marks.span(row['n_groups'] for row in rows)} g"
    lines = words if dataset == MEAN_DATASET else style.wrap_name(words, NAMES - 0.3, style.NOTE_SIZE)
    return f"{style.wrap(lines, NAMES - 0.3, style.NOTE_SIZE) if dataset == MEAN_DATASET else lines}\n{counted}"


def _monitors(matrix: Matrix, source: str) -> list[str]:
    """The monitors of a source, with the layers that they read."""
    of = [row for (name, _, _), row in matrix.rows.items() if name == source]
    named = (row["monitor"] if row["layer"] is None else f"{row['monitor']} L{row['layer']}" for row in of)
    return list(dict.fromkeys(named))


def _words(row: Row | None) -> str:
    if row is None or row["value"] is None:
        return "n/a"
    value = "= 1" if marks.is_perfect(row) else marks.number(row["value"])
    return value if row["low"] is None else f"{value}\n[{marks.number(row['low'])}, {marks.number(row['high'])}]"


def _mark(row: Row, own: bool) -> Mark:
    names = {name: row[name] for name in ("monitor", "layer", "source", "target", "dataset", "class", "remark")}
    return marks.mark("cell", row, **names, diagonal=own)


def _notes(data: FigureInput, rows: Sequence[Row], matrices: Sequence[Matrix]) -> list[str]:
    positive = dict.fromkeys(
        f"{row['source']} \N{RIGHTWARDS ARROW} {row['target']}: {row['class']}" for row in rows if row["class"]
    )
    reasons = dict.fromkeys(row["remark"] for row in rows if row["value"] is None and row["remark"])
    skipped = marks.span(row["n_skipped"] for row in rows if row["n"])
    text = " Text baseline: the source task's first one, on the same examples." if len(matrices) > 1 else ""
    listed = "; ".join(list(reasons)[:3])
    return [
        "In a cell: AUROC and its interval. Framed, bold: measured on the sets of the task that was learnt; all other "
        f"cells: no label of the target task was seen. Probe: the one that the source task selected, at its layer (L)."
        f"{text} Classes that count as positive: {'; '.join(positive)}. g: groups; {skipped} skipped."
        f"{_stored(data, rows)}",
        *(["= 1: exactly 1 (perfect separation)."] if any(marks.is_perfect(row) for row in rows) else []),
        *([f"n/a: {listed}{'; …' if len(reasons) > 3 else ''}."] if reasons else []),
        *marks.provenance_notes(data, "bootstrap over groups and seeds"),
    ]


def _stored(data: FigureInput, rows: Sequence[Row]) -> str:
    """What the captures of the tasks store, which differs as what is learnt from and measured on does."""
    spec = data.cells.facts.get("spec", {}) if data.cells else {}
    if "captures" not in spec:
        return ""
    captures = {id: spec["tasks"][id]["capture"] for id in dict.fromkeys(row["source"] for row in rows)}
    # an entry that is alone stands there without its id
    entries = (
        spec["captures"] if len(set(captures.values())) > 1 else dict.fromkeys(captures.values(), spec["captures"])
    )
    words = {id: _places_of(entries[capture]) for id, capture in captures.items()}
    return f" Stored of an example: {'; '.join(f'{id}, {said}' for id, said in words.items())}."


def _places_of(capture: Row) -> str:
    """The tokens that a capture stores, in words."""
    whole = capture["of"] or "text"
    if capture["store"] == "tokens":
        return f"every token of the {whole}"
    if capture["store"] == "mean":
        return "the mean over the tokens of the text"
    if capture["store"] == "spans":
        return f"the mean over each of {', '.join(capture['spans'])}"
    return {
        "even": f"{capture['k']} even positions of the {whole}",
        "all": f"every token of the {whole}",
        "last_prompt": "the prompt's last token",
        "ends": "the first and last token of the response",
    }.get(str(capture["positions"]), f"positions {', '.join(map(str, capture['positions']))}")
