"""Cross-validated AUROC and accuracy by layer, with the text baseline and shuffled labels as controls (Fig. 9)."""

import math
from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from candor.config.figures import Figure
from candor.figures import marks, style
from candor.figures.inputs import Drawn, FigureError, FigureInput, Mark, Row
from candor.schemas.experiment import SHUFFLED_FAMILY

HEIGHT = 2.5  # inches of a panel
TITLES = {"auroc": "AUROC", "accuracy": "Accuracy"}
CHANCE = 0.5
MARKER = 3.2  # points


def draw(data: FigureInput, figure: Figure) -> Drawn:
    """A panel per metric; bands are intervals, triangles on the axis the layers of the token capture."""
    rows = data.experiment or []
    metrics = [metric for metric in TITLES if any(row["metric"] == metric for row in rows)]
    texts = sorted({row["family"] for row in rows if row["layer"] is None})
    families = sorted({row["family"] for row in rows} - {*texts, SHUFFLED_FAMILY})
    layers = sorted({row["layer"] for row in rows if row["layer"] is not None})
    if not metrics or len(families) != 1 or not layers:
        raise FigureError(
            "the experiment table does not hold one probe's AUROC or accuracy by layer; is it a layer sweep?"
        )
    lines = {
        families[0]: (style.HEADLINE, families[0]),
        **{text: (style.TEXT, f"text ({text})") for text in texts},
        SHUFFLED_FAMILY: (style.CONTROL, "shuffled labels"),
    }
    picture = style.page(style.FULL, HEIGHT, figure.title, _notes(data, rows, families[0]))
    panels = picture.subplots(1, len(metrics), squeeze=False)[0]
    drawn: list[Mark] = []
    for axes, metric in zip(panels, metrics, strict=True):
        here = [row for row in rows if row["metric"] == metric]
        ends = []
        for family, (look, words) in lines.items():
            line = sorted((row for row in here if row["family"] == family), key=lambda row: row["layer"] or 0)
            ends += _line(axes, line, look, words, layers)
            drawn += [
                marks.mark("layer", row, metric=metric, family=family, layer=row["layer"], chosen=row["chosen"])
                for row in line
            ]
        axes.axhline(CHANCE, color=style.GREY, linewidth=0.6, linestyle=(0, (1, 3)), zorder=0)
        axes.set_xlim(layers[0] - 0.5, layers[-1] + 0.5)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=8))
        axes.set_xlabel("Layer (block, counted from 0)")
        axes.set_title(f"{TITLES[metric]}, cross-validated", loc="left")
        _highlight(axes, here, data.token_layers)
        marks.label_ends(axes, layers[-1] + 0.5, ends)
    return Drawn(picture, drawn)


def _line(
    axes: Axes, rows: Sequence[Row], look: style.Look, words: str, layers: Sequence[int]
) -> list[tuple[float, str, str]]:
    """A line by layer, or a level line for a monitor that reads none; its height at the right, its words and colour.

    A layer without a value interrupts the line, so that nothing is drawn where nothing was measured.
    """
    values = [row["value"] for row in rows if row["value"] is not None]
    if not values:
        return [(CHANCE, f"{words}: n/a", look.colour)] if rows else []
    level = rows[0]["layer"] is None
    across = [layers[0] - 0.5, layers[-1] + 0.5] if level else [row["layer"] for row in rows]
    shown = [rows[0]] * 2 if level else rows
    for layer, row in zip(across, shown, strict=True):
        if marks.is_perfect(row) and not level:
            marks.ring(axes, layer, 1, look, size=MARKER)
    middle, low, high = (
        [math.nan if row[end] is None else row[end] for row in shown] for end in ("value", "low", "high")
    )
    marker = None if level else look.marker
    axes.fill_between(across, low, high, color=look.colour, alpha=0.18, linewidth=0, zorder=1)
    axes.plot(across, middle, color=look.colour, linestyle=look.line, marker=marker, markersize=MARKER, zorder=3)
    return [(values[-1], words, look.colour)]


def _highlight(axes: Axes, rows: Sequence[Row], token_layers: Sequence[int]) -> None:
    """The chosen layer, layers without a value, and on the axis the layers whose tokens are stored."""
    for layer in sorted({row["layer"] for row in rows if row["value"] is None and row["layer"] is not None}):
        marks.absent(axes, layer, upright=True)
    for row in rows:
        if row["chosen"] and row["layer"] is not None:
            axes.axvline(row["layer"], color=style.HEADLINE.colour, linewidth=0.8, zorder=0)
            axes.annotate(
                f"chosen: {row['layer']}",
                (row["layer"], 0.03),
                (3, 0),
                xycoords=("data", "axes fraction"),
                textcoords="offset points",
                fontsize=style.NOTE_SIZE,
                color=style.HEADLINE.colour,
            )
    for layer in token_layers:
        axes.plot(
            layer, 0, "^", color="black", markersize=4, transform=axes.get_xaxis_transform(), clip_on=False, zorder=4
        )


def _notes(data: FigureInput, rows: Sequence[Row], family: str) -> list[str]:
    probe = [row for row in rows if row["family"] == family]
    about = f"Probe: {family}; {', '.join(marks.counts(probe))}. Bands: intervals. Fine dots: chance."
    if any(row["family"] == SHUFFLED_FAMILY for row in rows):
        about += " Shuffled labels: permuted by group, a control."
    if any(row["chosen"] for row in rows):
        about += " Chosen: the shallowest layer within one standard error of the best."
    if data.token_layers:
        about += " Triangles on the axis: layers of the token capture."
    return [
        about,
        *marks.perfect_notes(rows),
        *marks.provenance_notes(data, "over groups of the cross-validated scores"),
    ]
