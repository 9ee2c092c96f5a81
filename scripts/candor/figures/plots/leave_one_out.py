"""What a probe is worth on each kind of text where nothing was learnt from that kind, beside the text alone."""

from collections.abc import Sequence
from typing import NamedTuple

from matplotlib.axes import Axes

from candor.config.figures import Figure
from candor.figures import marks, style
from candor.figures.inputs import Drawn, FigureError, FigureInput, Mark, Row
from candor.schemas.metric import MACRO

SELECTED = "selected"
LINE = 0.37  # inches of a held-out value, of two marks
MORE = 0.12  # inches of each further mark
AROUND = 0.75  # inches of titles and axes
ROOM = 0.72  # share of a line that its marks are spread over
LOOKS = [style.TEXT, style.TEXT._replace(marker="^", filled=False)]
"""Of text baselines: on the text, and on the responses."""
NAME_WIDTH = 1.5  # inches
PANELS = {"auroc": "AUROC", "accuracy": "accuracy"}


class Found(NamedTuple):
    """The rows of the table by monitor, held-out value (None: all), metric and what it is compared with."""

    rows: dict[tuple[str, str | None, str, str | None], Row]
    values: list[str | None]
    probe: str
    texts: list[str]
    others: list[str]
    candidates: list[str]
    attribute: str
    classes: int

    def row(self, monitor: str, value: str | None, metric: str, versus: str | None = None) -> Row:
        """A row; one without a value where it was not measured."""
        nothing = {"value": None, "low": None, "high": None, "n": 0, "n_groups": 0, "n_skipped": 0, "remark": None}
        more = {"metric": metric, "versus": versus, "layer": None, "n_source_groups": None}
        return self.rows.get((monitor, value, metric, versus), nothing | more)


def draw(data: FigureInput, figure: Figure) -> Drawn:
    """A line per held-out value and one for all; AUROC, accuracy, and the AUROC of the probe less that of the text."""
    found = _found(data.cells.rows if data.cells else [])
    keys = [marks.key(style.HEADLINE, "probe chosen without the value")]
    keys += [marks.key(look, f"text ({name})") for name, look in zip(found.texts, LOOKS, strict=False)]
    keys += [marks.key(style.PROBE._replace(line=""), "each probe")] if found.others else []
    body = (LINE + MORE * (len(found.texts) - 1)) * (len(found.values) + 0.5) + AROUND
    picture = style.page(style.FULL, body, figure.title, _notes(data, found), keys)
    panels = list(picture.subplots(1, 3, sharey=True))
    compared = [found.probe, *found.texts]
    shifts = _shifts(len(compared))
    drawn: list[Mark] = []
    for axes, (metric, word) in zip(panels, PANELS.items(), strict=False):
        shown = []
        for at, value in enumerate(found.values):
            for monitor in found.others:
                row = found.row(monitor, value, metric)
                if row["value"] is not None:
                    marks.point(axes, row["value"], at + shifts[0], style.PROBE, size=3, behind=True)
                drawn.append(_mark(metric, row, monitor, value))
            for monitor, look, shift in zip(compared, [style.HEADLINE, *LOOKS], shifts, strict=False):
                row = found.row(monitor, value, metric)
                marks.dot(axes, row, at + shift, look)
                marks.beside(axes, at + shift, marks.number(row["value"]), look.colour, bold=value is None)
                drawn.append(_mark(metric, row, monitor, value))
                shown.append(row)
        marks.value_axis(axes, shown, 0.5 if metric == "auroc" else 1 / found.classes)
        axes.set_xlabel(word)
    drawn += _differences(panels[2], found)
    _furnish(panels, found)
    return Drawn(picture, drawn)


def _shifts(marks_of_a_line: int) -> list[float]:
    """Where the marks of one value stand, in lines from its middle."""
    step = ROOM / marks_of_a_line
    return [step * (at - (marks_of_a_line - 1) / 2) for at in range(marks_of_a_line)]


def _found(rows: Sequence[Row]) -> Found:
    """Of several classes the mean over classes is drawn, of two the only one."""
    macro = any(row["class"] == MACRO for row in rows)
    of = [row for row in rows if row["metric"] == "accuracy" or (row["class"] == MACRO) == macro]
    of = [row for row in of if row["metric"] in PANELS]
    values = sorted({row["target"] for row in of if row["target"] is not None})
    texts = list(dict.fromkeys(row["versus"] for row in of if row["versus"] is not None))
    if not values or not texts:
        raise FigureError(
            "the cell table has no held-out values with a text baseline; is it of an experiment that leaves one out?"
        )
    monitors = list(dict.fromkeys(row["monitor"] for row in of))
    probes = [monitor for monitor in monitors if monitor not in texts]
    probe = SELECTED if SELECTED in probes else probes[0]
    others = [monitor for monitor in probes if monitor != probe] if len(probes) > 2 else []
    by_key = {(row["monitor"], row["target"], row["metric"], row["versus"]): row for row in of}
    classes = len({row["class"] for row in rows if row["metric"] == "auroc"} - {MACRO}) if macro else 2
    candidates = [monitor for monitor in probes if monitor != SELECTED]
    return Found(by_key, [None, *values], probe, texts, others, candidates, of[0]["source"], classes)


def _differences(axes: Axes, found: Found) -> list[Mark]:
    shown, drawn = [], []
    for at, value in enumerate(found.values):
        for text, look, shift in zip(found.texts, LOOKS, _shifts(len(found.texts)), strict=False):
            row = found.row(found.probe, value, "auroc", text)
            marks.dot(axes, row, at + shift, look)
            marks.beside(axes, at + shift, marks.signed(row["value"]), bold=value is None)
            drawn.append(_mark("difference", row, found.probe, value))
            shown.append(row)
    marks.value_axis(axes, shown, 0.0)
    axes.set_xlabel("AUROC, probe less text")
    return drawn


def _furnish(panels: Sequence[Axes], found: Found) -> None:
    for axes in panels:
        axes.tick_params(axis="y", length=0)
        axes.set_ylim(len(found.values) - 0.4, -0.6)
        axes.axhline(0.5, color=style.GREY, linewidth=0.6)
        for at in range(len(found.values)):
            axes.axhline(at, color=style.PALE, linewidth=0.5, zorder=0)
    names = []
    for value in found.values:
        row = found.row(found.probe, value, "auroc")
        name = f"all {len(found.values) - 1}" if value is None else value.replace("_", " ")
        counted = f"n {row['n']}, {row['n_groups']} groups"
        names.append(f"{style.wrap(name, NAME_WIDTH, 8)}\n{counted}")
    panels[0].set_yticks(range(len(names)), names, fontsize=style.NOTE_SIZE, linespacing=1.1)
    panels[0].get_yticklabels()[0].set_fontweight("bold")


def _mark(kind: str, row: Row, monitor: str, value: str | None) -> Mark:
    names = {"monitor": monitor, "held_out": value, "metric": row["metric"], "versus": row["versus"]}
    return marks.mark(
        kind, row, **names, layer=row["layer"], n_source_groups=row["n_source_groups"], remark=row["remark"]
    )


def _notes(data: FigureInput, found: Found) -> list[str]:
    of_probe = [found.row(found.probe, value, "auroc") for value in found.values]
    chosen: dict[str, int] = {}
    for row in of_probe[1:]:
        remark = next((part for part in (row["remark"] or "").split("; ") if part.startswith("the probe is ")), None)
        if remark:
            chosen[remark.removeprefix("the probe is ")] = chosen.get(remark.removeprefix("the probe is "), 0) + 1
    listed = ", ".join(f"{name} {times}\N{MULTIPLICATION SIGN}" for name, times in chosen.items())
    return [
        f"Held out: one {found.attribute} at a time; weights, layers and the choice of the probe come from the others "
        f"alone. Candidates: {', '.join(found.candidates)}{f'; chosen: {listed}' if listed else ''}. all: mean over "
        f"held-out values, each with its own fit; its interval is for a {found.attribute} never met: Student's t over "
        f"the {len(found.values) - 1} values' own results."
        f"{' AUROC: mean over classes, each against the rest.' if found.classes > 2 else ''} "
        f"{_what_is_read(found)} Dotted: chance (of {found.classes} classes of one size). Per line "
        f"{marks.span(row['n_skipped'] for row in of_probe if row['n'])} skipped.",
        *marks.perfect_notes(row for row in found.rows.values() if row["monitor"] in (found.probe, *found.texts)),
        *marks.provenance_notes(data, "of a value: bootstrap over groups and seeds"),
    ]


def _what_is_read(found: Found) -> str:
    """A probe of responses has met the prompt too, so that neither text baseline alone is like it."""
    if len(found.texts) == 1:
        return f"{found.texts[0]} reads the text."
    return f"{found.texts[0]} reads the text that was answered, the other one the response."
