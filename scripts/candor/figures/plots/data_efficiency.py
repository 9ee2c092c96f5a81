"""AUROC by the number of training examples, for probes and finetuned baselines (Fig. 4b)."""

from candor.config.figures import Figure
from candor.figures import marks, multiples, style
from candor.figures.inputs import Drawn, FigureInput, Row


def draw(data: FigureInput, figure: Figure) -> Drawn:
    """A panel per evaluation set and their mean, a line per monitor; all training examples stand at its end."""
    rows = multiples.rows_of(data.curves)
    curves = list(dict.fromkeys(row["curve"] for row in rows))
    looks = looks_of(rows, curves)
    sets = multiples.datasets(rows)
    keys = [marks.line_key(looks[curve], _name(rows, curve)) for curve in curves]
    drawn = multiples.multiples(sets, figure, _notes(data, rows), keys)
    shown = [row for row in rows if row["dataset"] in sets]
    for dataset, axes in drawn.panels.items():
        here = [row for row in shown if row["dataset"] == dataset]
        axes.set_xscale("log", base=2)
        for curve, shift in zip(curves, multiples.shifts(len(curves)), strict=True):
            points = sorted((row["x"], row) for row in here if row["curve"] == curve and row["x"] is not None)
            multiples.line(axes, points, looks[curve], shift, pale=len(curves) > multiples.CROWD)
        sizes = sorted({row["x"] for row in here if row["x"] is not None})
        axes.set_xlim(sizes[0] / 1.5, sizes[-1] * 1.5)
        multiples.ticks(axes, {size: f"{size:.0f}" for size in sizes}, drawn.width)
        axes.set_xlabel("Training examples, logarithmic")
        multiples.head(drawn, dataset, here)
    multiples.values(list(drawn.panels.values()), shown)
    for axes in drawn.panels.values():
        axes.set_ylabel("AUROC") if axes.get_subplotspec().is_first_col() else None  # type: ignore[union-attr]
    return Drawn(drawn.picture, [multiples.mark(row) for row in shown])


def looks_of(rows: list[Row], curves: list[str]) -> dict[str, style.Look]:
    """Monitors that read no layer are finetuned baselines; probes take the other looks in their order."""
    layered = {row["curve"] for row in rows if row["layer"] is not None}
    others = [look for look in style.LINES if look.colour != style.FINETUNED.colour]
    probes = iter(range(len(curves)))
    tuned = iter(range(len(curves)))
    found = {}
    for curve in curves:
        if curve in layered:
            found[curve] = others[next(probes) % len(others)]
        else:
            found[curve] = style.FINETUNED._replace(filled=next(tuned) % 2 == 0)
    return found


def _name(rows: list[Row], curve: str) -> str:
    layer = next(row["layer"] for row in rows if row["curve"] == curve)
    return f"{curve} (no probe)" if layer is None else f"{curve} L{layer}"


def _notes(data: FigureInput, rows: list[Row]) -> list[str]:
    runs = marks.span(row["n_runs"] for row in rows if row["n_runs"])
    return [
        f"Each value: mean of {runs} runs, each with its own draw of training examples, whole groups; at the end of a "
        "line all of them. L: layer, the same for every size. Whiskers: intervals; lines stand a little apart. Dotted: "
        "chance.",
        *multiples.undefined_notes(rows),
        *marks.provenance_notes(data, "over groups and runs"),
    ]
