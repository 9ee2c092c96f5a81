"""Drawn quantities and the words around them: a value with its interval, its row for the CSV, counts, footnotes."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.text import Text

from candor.figures.inputs import FigureInput, Mark
from candor.figures.style import GREY, NOTE_SIZE, Look

ALWAYS = ("value", "low", "high", "n", "n_groups", "n_skipped")
"""Columns that every row of a figure's CSV has."""


def mark(kind: str, row: Mapping[str, Any], **names: str | int | float | bool | None) -> Mark:
    """The CSV row of a mark: what it is, what names it, and the numbers drawn."""
    return {"mark": kind, **names, **{column: row[column] for column in ALWAYS}}


def dot(axes: Axes, row: Mapping[str, Any], at: float, look: Look, size: float = 4.5) -> None:
    """A value along x with its interval as a whisker, at height `at`; "n/a" where there is no value.

    A ring marks an AUROC of exactly 1, which is drawn like 0.999 otherwise.
    """
    if row["value"] is None:
        absent(axes, at)
        return
    if row["low"] is not None and row["high"] is not None:
        axes.plot(
            [row["low"], row["high"]], [at, at], color=look.colour, linewidth=1.1, solid_capstyle="butt", zorder=2
        )
    point(axes, row["value"], at, look, size)
    if is_perfect(row):
        ring(axes, 1, at, look, size)


def point(axes: Axes, x: float, y: float, look: Look, size: float, behind: bool = False) -> None:
    """A marker of so many points, filled as its look has it."""
    axes.plot(
        x,
        y,
        marker=look.marker,
        markersize=size,
        markerfacecolor=look.colour if look.filled else "white",
        markeredgecolor=look.colour,
        markeredgewidth=0.8,
        linestyle="none",
        clip_on=False,
        zorder=1.5 if behind else 3,
    )


def ring(axes: Axes, x: float, y: float, look: Look, size: float) -> None:
    """A circle around a marker of so many points: an AUROC of exactly 1."""
    point(axes, x, y, Look(look.colour, "o", "", False, ""), size=2.1 * size, behind=True)


def absent(axes: Axes, at: float, upright: bool = False) -> Text:
    """The words "n/a" in the middle of the value axis, which is y if `upright`."""
    x, y = (at, 0.5) if upright else (0.5, at)
    transform = axes.get_xaxis_transform() if upright else axes.get_yaxis_transform()
    return axes.text(
        x,
        y,
        "n/a",
        transform=transform,
        ha="center",
        va="center",
        rotation=90 if upright else 0,
        fontsize=NOTE_SIZE,
        color=GREY,
    )


def beside(axes: Axes, at: float, words: str, colour: str = "black", bold: bool = False) -> None:
    """Words to the right of the axes at height `at`."""
    axes.annotate(
        words,
        (1, at),
        (6, 0),
        xycoords=axes.get_yaxis_transform(),
        textcoords="offset points",
        va="center",
        fontsize=NOTE_SIZE,
        color=colour,
        fontweight="bold" if bold else "normal",
        annotation_clip=False,
    )


def number(value: float | None, digits: int = 2) -> str:
    """A value as figures print it, with a real minus sign; n/a for none."""
    return "n/a" if value is None else f"{value:z.{digits}f}".replace("-", "\N{MINUS SIGN}")


def signed(value: float | None) -> str:
    """A difference as figures print it; without a sign where it is rounded to zero."""
    return f"+{number(value)}" if value is not None and round(value, 2) > 0 else number(value)


def with_interval(row: Mapping[str, Any]) -> str:
    """Value and interval in words: 0.93 [0.90, 0.96]; an AUROC of exactly 1 as = 1."""
    if row["value"] is None or row["low"] is None or row["high"] is None:
        return number(row["value"])
    value = "= 1" if is_perfect(row) else number(row["value"])
    return f"{value} [{number(row['low'])}, {number(row['high'])}]"


def counts(rows: Iterable[Mapping[str, Any]]) -> list[str]:
    """Examples, groups and skipped rows behind the values that were measured; a range where they differ."""
    measured = [row for row in rows if row["n"]]
    if not measured:
        return ["not measured"]
    return [
        f"n {span(row['n'] for row in measured)}",
        f"{span(row['n_groups'] for row in measured)} groups",
        f"{span(row['n_skipped'] for row in measured)} skipped",
    ]


def value_axis(axes: Axes, rows: Iterable[Mapping[str, Any]], reference: float) -> None:
    """Limits of a horizontal value axis that hold every interval and the reference value, which is marked."""
    ends = [row[key] for row in rows for key in ("value", "low", "high") if row[key] is not None]
    low, high = min([*ends, reference]), max([*ends, reference])
    margin = 0.04 * ((high - low) or 1)
    axes.set_xlim(low - margin, high + margin)
    axes.axvline(reference, color=GREY, linewidth=0.8, linestyle=":", zorder=1)


def key(look: Look, words: str) -> Line2D:
    """An entry of the legend, of a value with its whisker."""
    return line_key(look._replace(line="-") if look.line else look, words)


def line_key(look: Look, words: str) -> Line2D:
    """An entry of the legend, of a line that is drawn as its look has it."""
    face = look.colour if look.filled else "white"
    return Line2D([], [], marker=look.marker, color=look.colour, markerfacecolor=face, linestyle=look.line, label=words)


def span(values: Iterable[int]) -> str:
    """A count, or the range of counts that differ."""
    found = sorted(set(values))
    if len(found) < 2:
        return str(found[0]) if found else "0"
    return f"{found[0]}\N{EN DASH}{found[-1]}"


def label_ends(axes: Axes, x: float, ends: Sequence[tuple[float, str, str]]) -> None:
    """Coloured words to the right of lines that end at the heights `ends`, moved apart where they would overlap."""
    bottom, top = axes.get_ylim()
    apart = 0.075 * (top - bottom)
    y = -float("inf")
    for height, words, colour in sorted(ends):
        y = max(height, y + apart)
        axes.annotate(
            words, (x, y), (3, 0), textcoords="offset points", va="center", color=colour, annotation_clip=False
        )


def provenance_notes(data: FigureInput, default: str) -> list[str]:
    """Footnotes that every figure has: how intervals were made, on which model, selected by which file."""
    return [" ".join([f"Intervals: 95 %, {data.intervals or default}.", *model_notes(data)])]


def model_notes(data: FigureInput) -> list[str]:
    """The model under study, and the digest of the file that names the selected monitor, where they are known."""
    model = [f"Model: {data.model}."] if data.model else []
    return model + ([f"Selection: sha256 {data.selection[:12]}."] if data.selection else [])


def is_perfect(row: Mapping[str, Any]) -> bool:
    """Whether a row is an AUROC of exactly 1."""
    return row["metric"] == "auroc" and row.get("versus") is None and row["value"] == 1


def perfect_notes(rows: Iterable[Mapping[str, Any]]) -> list[str]:
    """The footnote on rings, where there is one."""
    return ["Ring: AUROC of exactly 1 (perfect separation)."] if any(is_perfect(row) for row in rows) else []
