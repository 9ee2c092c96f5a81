"""AUROC by length of the text in tokens, with how many texts each bin holds."""

from collections.abc import Sequence

from matplotlib.axes import Axes

from candor.config.figures import Figure
from candor.figures import marks, multiples, style
from candor.figures.inputs import Drawn, FigureInput, Row
from candor.schemas.metric import MEAN_DATASET

EMPTY = "#ececec"
POOLED = "all sets out of distribution, pooled"


def draw(data: FigureInput, figure: Figure) -> Drawn:
    """A panel per evaluation set, a line per monitor; bins without a value are grey and say so."""
    rows = [row for row in multiples.rows_of(data.curves) if row["x"] is not None]
    edges = sorted({row["x"] for row in rows})
    curves = list(dict.fromkeys(row["curve"] for row in rows))
    looks = {curve: style.LINES[number % len(style.LINES)] for number, curve in enumerate(curves)}
    sets = multiples.datasets(rows)
    shown = [row for row in rows if row["dataset"] in sets]
    keys = [marks.line_key(look, _name(rows, curve)) for curve, look in looks.items()]
    drawn = multiples.multiples(sets, figure, _notes(data, shown), keys, below=0.45)
    for dataset, axes in drawn.panels.items():
        here = [row for row in shown if row["dataset"] == dataset]
        for (curve, look), shift in zip(looks.items(), multiples.shifts(len(looks)), strict=True):
            points = [(float(edges.index(row["x"])), row) for row in here if row["curve"] == curve]
            multiples.line(axes, sorted(points, key=lambda point: point[0]), look, shift, cross=False)
        _undefined(axes, edges, here)
        axes.set_xticks(range(len(edges)), [_bin(edges, i) for i in range(len(edges))], rotation=90)
        axes.tick_params(axis="x", labelsize=style.NOTE_SIZE, pad=12)
        axes.set_xlim(-0.6, len(edges) - 0.4)
        _count(axes, edges, here)
        axes.set_ylabel("AUROC")
        multiples.head(drawn, dataset, _whole(here, curves[0]), POOLED if dataset == MEAN_DATASET else None)
    multiples.values(list(drawn.panels.values()), shown)
    return Drawn(drawn.picture, [multiples.mark(row) for row in shown])


def _bin(edges: Sequence[float], i: int) -> str:
    """The tokens of a bin: from its edge to before the next."""
    if i + 1 == len(edges):
        return f"≥ {edges[i]:.0f}"
    return f"{edges[i]:.0f}\N{EN DASH}{edges[i + 1] - 1:.0f}"


def _count(axes: Axes, edges: Sequence[float], rows: Sequence[Row]) -> None:
    """Below the axis: how many texts each bin holds, the most where monitors have scored different ones."""
    held = [max((row["n"] for row in rows if row["x"] == edge), default=0) for edge in edges]
    for at, words in [(-1.05, "n"), *((float(i), str(n)) for i, n in enumerate(held))]:
        axes.annotate(
            words,
            (at, 0),
            (0, -9),
            xycoords=("data", "axes fraction"),
            textcoords="offset points",
            ha="center",
            va="center",
            fontsize=style.NOTE_SIZE,
            color=style.GREY,
            annotation_clip=False,
        )


def _whole(rows: Sequence[Row], curve: str) -> list[Row]:
    """One row for all bins of a line; a group whose texts differ in length is counted in each of their bins."""
    of = [row for row in rows if row["curve"] == curve]
    skipped = max((row["n_skipped"] for row in of), default=0)
    return [{"n": sum(row["n"] for row in of), "n_groups": sum(row["n_groups"] for row in of), "n_skipped": skipped}]


def _undefined(axes: Axes, edges: Sequence[float], rows: Sequence[Row]) -> None:
    """Grey where no monitor has a value, with the reason where there is room for one word."""
    for i, edge in enumerate(edges):
        here = [row for row in rows if row["x"] == edge]
        if any(row["value"] is not None for row in here):
            continue
        axes.axvspan(i - 0.45, i + 0.45, color=EMPTY, linewidth=0, zorder=0)
        reason = "no text" if not any(row["n"] for row in here) else "undefined"
        axes.text(
            i,
            0.5,
            reason,
            transform=axes.get_xaxis_transform(),
            rotation=90,
            ha="center",
            va="center",
            fontsize=style.NOTE_SIZE,
            color=style.GREY,
        )


def _name(rows: Sequence[Row], curve: str) -> str:
    layer = next(row["layer"] for row in rows if row["curve"] == curve)
    return curve if layer is None else f"{curve} L{layer}"


def _notes(data: FigureInput, rows: Sequence[Row]) -> list[str]:
    return [
        "Below the axes: n, the texts of a bin, and its tokens, as the model reads them. Above: groups, added up over "
        "bins. Whiskers: intervals; lines stand a little apart. Dotted: chance. L: layer.",
        *([f"Grey: undefined{multiples.reasons(rows)}."] if any(row["value"] is None for row in rows) else []),
        *marks.provenance_notes(data, "over groups and seeds"),
    ]
