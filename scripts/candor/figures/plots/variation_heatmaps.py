"""Train on one value of an attribute, test on each: one heatmap of AUROC per attribute (Fig. 11)."""

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize

from candor.config.figures import Figure
from candor.figures import marks, squares, style
from candor.figures.inputs import Drawn, FigureError, FigureInput, Mark, Row

FEW_GROUPS = 20
"""A cell that tests on fewer groups is hatched: its interval is wide."""
CELL = 0.42  # inches of height
AROUND = 0.85  # inches of height for a heatmap's title and column names
SCALE = Normalize(0.5, 1.0)  # chance to perfect; what lies below chance takes the lightest colour


def draw(data: FigureInput, figure: Figure) -> Drawn:
    """Rows: trained on; columns: tested on; in a cell the AUROC and half the width of its interval."""
    rows = [row for row in data.experiment or [] if row["metric"] == "auroc" and row["attribute"] is not None]
    if not rows:
        raise FigureError("the experiment table has no AUROC by attribute; is it that of a variation transfer?")
    grids = [
        [row for row in rows if row["attribute"] == attribute]
        for attribute in dict.fromkeys(row["attribute"] for row in rows)
    ]
    across = min(2, len(grids))
    sizes = [len(_values(grid)) for grid in grids]
    heights = [max(sizes[i : i + across]) for i in range(0, len(sizes), across)]
    width = style.FULL if across == 2 else 0.6 * style.FULL
    picture = style.page(width, sum(CELL * height + AROUND for height in heights), figure.title, _notes(data, rows))
    panels = picture.subplots(len(heights), across, squeeze=False, height_ratios=heights).ravel()
    for axes, grid in zip(panels, grids, strict=False):
        _heatmap(axes, grid, room=(width - 0.9) / across)
    for axes in panels[len(grids) :]:
        axes.set_axis_off()
    bar = picture.colorbar(
        ScalarMappable(SCALE, squares.COLOURS),
        ax=list(panels),
        shrink=0.5,
        aspect=30,
        pad=0.02,
        extend="min",
        label="AUROC",
    )
    bar.outline.set_linewidth(0.5)
    return Drawn(picture, [_mark(row) for row in rows])


def _heatmap(axes: Axes, grid: Sequence[Row], room: float) -> None:
    """One attribute; `room` is the width in inches for cells and row names."""
    values = _values(grid)
    found = {(row["train_value"], row["test_value"]): row for row in grid}
    for y, train in enumerate(values):
        for x, test in enumerate(values):
            _cell(axes, x, y, found.get((train, test)))
    axes.set_xlim(0, len(values))
    axes.set_ylim(len(values), 0)
    axes.set_aspect("auto")
    centres = [i + 0.5 for i in range(len(values))]
    names = [style.wrap(value, 0.3 * room, style.NOTE_SIZE) for value in values]
    trained = [marks.span(r["n_train_groups"] or 0 for r in grid if r["train_value"] == value) for value in values]
    axes.set_yticks(centres, [f"{name}\n{n} g" for name, n in zip(names, trained, strict=True)])
    tested = [marks.span(r["n_groups"] for r in grid if r["test_value"] == value) for value in values]
    widest = max(style.text_width(line, style.NOTE_SIZE) for name in names for line in name.split("\n"))
    cell = (room - widest - 0.35) / len(values)
    if any(style.text_width(word, style.NOTE_SIZE) > cell for value in values for word in value.split()):
        slanted = [f"{value}, {n} g" for value, n in zip(values, tested, strict=True)]
        axes.set_xticks(centres, slanted, rotation=30, ha="right", rotation_mode="anchor")
    else:
        wrapped = [style.wrap(value, cell, style.NOTE_SIZE) for value in values]
        axes.set_xticks(centres, [f"{name}\n{n} g" for name, n in zip(wrapped, tested, strict=True)])
    axes.tick_params(length=0, labelsize=style.NOTE_SIZE)
    axes.spines[:].set_visible(False)
    axes.set_xlabel("tested on")
    axes.set_ylabel("trained on")
    axes.set_title(grid[0]["attribute"].replace("_", " "), loc="left", fontweight="bold")


def _cell(axes: Axes, x: int, y: int, row: Row | None) -> None:
    """A square of colour with its AUROC, bold on the diagonal, hatched where few groups were tested."""
    level = None if row is None or row["value"] is None else float(SCALE(row["value"]))
    hatched = row is not None and _hatched(row)
    squares.put(axes, x, y, squares.Square(level, _words(row), bold=x == y, hatched=hatched))


def _values(grid: Sequence[Row]) -> list[str]:
    """Values of an attribute that were trained or tested on, in the table's order."""
    return list(dict.fromkeys([row["train_value"] for row in grid] + [row["test_value"] for row in grid]))


def _words(row: Row | None) -> str:
    if row is None or row["value"] is None or row["low"] is None or row["high"] is None:
        return marks.number(row["value"] if row else None)
    value = "= 1" if marks.is_perfect(row) else marks.number(row["value"])
    return f"{value}\n±{marks.number((row['high'] - row['low']) / 2)}"


def _hatched(row: Row) -> bool:
    return row["value"] is not None and row["n_groups"] < FEW_GROUPS


def _mark(row: Row) -> Mark:
    names = {
        name: row[name] for name in ("attribute", "train_value", "test_value", "family", "layer", "n_train_groups")
    }
    return marks.mark("cell", row, **names, hatched=_hatched(row))


def _notes(data: FigureInput, rows: Sequence[Row]) -> list[str]:
    families = " and ".join(dict.fromkeys(row["family"] for row in rows))
    layers = sorted({row["layer"] for row in rows if row["layer"] is not None})
    where = f", layer {', '.join(map(str, layers))}" if layers else ""
    about = (
        f"Probe: {families}{where}. In a cell: AUROC ± half the width of its interval; per cell "
        f"{', '.join(marks.counts(rows))}. g: groups trained on or tested on. Bold: trained and tested on the same "
        "value, cross-fitted."
    )
    if any(_hatched(row) for row in rows):
        about += f" Hatched: fewer than {FEW_GROUPS} test groups."
    if any(marks.is_perfect(row) for row in rows):
        about += " = 1: exactly 1 (perfect separation)."
    if any(row["value"] is None for row in rows):
        about += " n/a: undefined."
    return [about, *marks.provenance_notes(data, "over test groups")]
