"""What becomes of a probe's scores when the subject's weights are rounded: scores, correlation, decisions, controls."""

import re
from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes

from candor.config.figures import Figure
from candor.figures import marks, style
from candor.figures.inputs import Drawn, FigureError, FigureInput, Mark, Row
from candor.schemas.metric import MACRO

WORDS = {
    "full": "weights as they are",
    "rounded": "rounded",
    "rerounded": "rounded, grid moved",
    "random_rounded": "random weights, rounded",
}
"""Sources in the order of lines, as the figure says them."""
ALL = "class with the highest score"
SCATTER = 1.95  # inches of height
LINE = 0.16  # inches of a line of values
AROUND = 0.85  # inches of titles, axes and headings
FLAGGED = re.compile(r"(\S+) flagged before, ([^\s;]+) after")
"""What a row of changed decisions says of the texts above the threshold, as experiments/quantisation.py writes it."""
FEW = 0.9
"""Left end of the axis of correlations, unless one is lower."""


def draw(data: FigureInput, figure: Figure) -> Drawn:
    """Above: score by score, where the table has single ones; below: correlation, changed decisions, and worth."""
    rows = data.cells.rows if data.cells else []
    compared = [source for source in WORDS if any(row["source"] == source and _is_drift(row) for row in rows)]
    if not compared:
        raise FigureError("the cell table compares no scores of rounded weights; is it of a quantisation experiment?")
    of_class = [row["class"] for row in rows if row["metric"] == "correlation"]
    classes = [str(name) for name in dict.fromkeys(of_class)]
    scored = {source: _points(rows, source) for source in compared}
    single = any(points for of in scored.values() for points in of.values())
    entries = [(source, name) for source in compared for name in [*classes, *([None] if len(classes) > 1 else [])]]
    worth_lines = [source for source in WORDS if any(_is_worth(row, source) for row in rows)]
    height = LINE * max(len(entries) + len(compared), 3 * len(worth_lines)) + AROUND
    body = height + (SCATTER if single else 0.0)
    keys = [marks.line_key(style.class_look(k)._replace(line=""), name) for k, name in enumerate(classes)]
    keys += [marks.line_key(style.CONTROL._replace(line=""), ALL)] if len(classes) > 1 else []
    picture = style.page(style.FULL, body, figure.title, _notes(data, rows, single), keys)
    parts = (
        list(picture.subfigures(2, 1, squeeze=False, height_ratios=[SCATTER, height])[:, 0]) if single else [picture]
    )
    drawn: list[Mark] = []
    if single:
        for axes, source in zip(np.ravel(parts[0].subplots(1, len(compared), squeeze=False)), compared, strict=True):
            drawn += _scatter(axes, scored[source], source, classes)
    panels = list(parts[-1].subplots(1, 3, width_ratios=(1.1, 1, 1.2)))
    drawn += _drift(panels, rows, entries, compared, classes)
    drawn += _worth(panels[2], rows, worth_lines)
    return Drawn(picture, drawn)


def _is_drift(row: Row) -> bool:
    return row["versus"] is not None and row["metric"] in ("correlation", "changed")


def _is_worth(row: Row, source: str) -> bool:
    return row["source"] == source and row["versus"] is None and row["metric"] in ("accuracy", "auroc")


def _points(rows: Sequence[Row], source: str) -> dict[str, list[tuple[Row, Row]]]:
    """Scores of single examples by class, with the weights that were rounded and with the rounded ones."""
    versus = "random" if source == "random_rounded" else "full"
    of = {(row["source"], row["target"], row["class"]): row for row in rows if row["metric"] == "score"}
    found: dict[str, list[tuple[Row, Row]]] = {}
    for (own, target, name), row in of.items():
        before = of.get((versus, target, name))
        if own == source and before is not None:
            found.setdefault(str(name), []).append((before, row))
    return found


def _scatter(axes: Axes, points: dict[str, list[tuple[Row, Row]]], source: str, classes: Sequence[str]) -> list[Mark]:
    """A marker per example and class on the line of equal scores."""
    drawn: list[Mark] = []
    ends = [row["value"] for of in points.values() for pair in of for row in pair if row["value"] is not None]
    low, high = (min(ends), max(ends)) if ends else (0.0, 1.0)
    margin = 0.05 * ((high - low) or 1.0)
    limits = [low - margin, high + margin]
    axes.plot(limits, limits, color=style.GREY, linewidth=0.8, linestyle=":", zorder=1)
    for name, of in points.items():
        look = style.class_look(classes.index(name))
        axes.plot(
            [before["value"] for before, _ in of],
            [after["value"] for _, after in of],
            look.marker,
            markersize=2.6,
            markerfacecolor="none",
            markeredgecolor=look.colour,
            markeredgewidth=0.7,
            zorder=2,
        )
        for before, after in of:
            names = {"source": source, "class": name, "example": after["target"], "before": before["value"]}
            drawn.append(_mark("score", after, **names))
    axes.set_xlim(*limits)
    axes.set_ylim(*limits)
    axes.set_box_aspect(1)
    axes.set_title(WORDS[source], loc="left", fontsize=8, fontweight="bold")
    axes.set_xlabel("score, random weights" if source == "random_rounded" else "score, weights as they are")
    axes.set_ylabel("score, rounded")
    return drawn


def _drift(
    panels: Sequence[Axes],
    rows: Sequence[Row],
    entries: Sequence[tuple[str, str | None]],
    compared: Sequence[str],
    classes: Sequence[str],
) -> list[Mark]:
    """A block of lines per condition: correlation of each class's scores, and the share of decisions that change."""
    found = {(row["source"], row["class"], row["metric"]): row for row in rows if _is_drift(row)}
    drawn: list[Mark] = []
    places: dict[tuple[str, str | None], float] = {}
    headings = {}
    at = 0.0
    for source in compared:
        headings[source] = at
        for entry in (entry for entry in entries if entry[0] == source):
            at += 1
            places[entry] = at
        at += 1
    shown: dict[str, list[Row]] = {"correlation": [], "changed": []}
    for (source, name), place in places.items():
        look = style.CONTROL if name is None else style.class_look(classes.index(name))
        for metric, axes in zip(shown, panels, strict=False):
            row = found.get((source, name, metric))
            if row is None:
                continue
            marks.dot(axes, row, place, look, size=3.8)
            marks.beside(axes, place, marks.number(row["value"], 3) if metric == "correlation" else _changed(row))
            shown[metric].append(row)
            drawn.append(_mark(metric, row, source=source, **{"class": name}))
    correlation, changed = panels[:2]
    marks.value_axis(correlation, [*shown["correlation"], {"value": FEW, "low": None, "high": None}], 1.0)
    marks.value_axis(changed, shown["changed"], 0.0)
    correlation.set_title("correlation of scores", loc="left")
    changed.set_title("decisions changed", loc="left")
    changed.xaxis.set_major_formatter(lambda share, _: f"{100 * share:g} %")
    for axes in panels[:2]:
        axes.set_ylim(at - 0.4, -0.6)
        axes.tick_params(axis="y", length=0)
        for place in places.values():
            axes.axhline(place, color=style.PALE, linewidth=0.5, zorder=0)
        axes.set_yticks([])
    named = {**{place: WORDS[source] for source, place in headings.items()}}
    named |= {place: ALL if name is None else str(name) for (_, name), place in places.items()}
    correlation.set_yticks(list(named), list(named.values()), fontsize=style.NOTE_SIZE)
    for label, place in zip(correlation.get_yticklabels(), named, strict=True):
        label.set_fontweight("bold" if place in headings.values() else "normal")
    return drawn


def _worth(axes: Axes, rows: Sequence[Row], sources: Sequence[str]) -> list[Mark]:
    """AUROC (of several classes their mean) and accuracy with each set of weights."""
    macro = any(row["class"] == MACRO for row in rows)
    drawn, shown = [], []
    looks = {"auroc": style.HEADLINE, "accuracy": style.PROBE}
    ticks: dict[float, str] = {}
    at = 0.0
    for source in sources:
        ticks[at] = WORDS[source]
        for metric, look in looks.items():
            at += 1
            wanted = (metric, MACRO) if macro and metric == "auroc" else (metric, None)
            of = [row for row in rows if _is_worth(row, source) and row["metric"] == metric]
            row = next((row for row in of if (row["metric"], row["class"]) == wanted), of[0] if of else None)
            ticks[at] = "AUROC" if metric == "auroc" else metric
            if row is None:
                marks.absent(axes, at)
                continue
            marks.dot(axes, row, at, look, size=3.8)
            marks.beside(axes, at, marks.number(row["value"]))
            axes.axhline(at, color=style.PALE, linewidth=0.5, zorder=0)
            shown.append(row)
            drawn.append(_mark(metric, row, source=source, **{"class": row["class"]}))
        at += 1
    marks.value_axis(axes, shown, 0.5)
    axes.set_ylim(at - 0.4, -0.6)
    axes.tick_params(axis="y", length=0)
    axes.set_yticks(list(ticks), list(ticks.values()), fontsize=style.NOTE_SIZE)
    for label in axes.get_yticklabels():
        label.set_fontweight("bold" if label.get_text() in WORDS.values() else "normal")
    axes.set_title("AUROC and accuracy", loc="left")
    return drawn


def _changed(row: Row) -> str:
    """The share of decisions that change, and of how many texts above the threshold: few can hardly change much."""
    if row["value"] is None:
        return "n/a"
    share = f"{marks.number(100 * row['value'], 1)} %"
    flagged = FLAGGED.match(row["remark"] or "")
    return f"{share} ({flagged[1]} \N{RIGHTWARDS ARROW} {flagged[2]})" if flagged else share


def _mark(kind: str, row: Row, **names: str | float | None) -> Mark:
    shown = {name: row[name] for name in ("monitor", "layer", "dataset", "versus", "remark")}
    return marks.mark(kind, row, **{**shown, **names})


def _rounding(data: FigureInput) -> str:
    bits, group = (data.cells.config(key) if data.cells else None for key in ("bits", "group"))
    if bits is None or group is None:
        return "groups of neighbouring weights on a grid of a few bits each"
    return f"to {bits} bits, on a grid of its own for each {group} neighbouring weights"


def _controls(rows: Sequence[Row]) -> list[str]:
    """What the controls are for, of those that the table has."""
    found = {row["source"] for row in rows}
    moved = (
        "Grid moved, by up to half a step: a model that was dequantised, as its name then says, lies on a grid of its "
        "own already, and may move less when it is rounded again. "
    )
    random = "Random weights: against their own rounding. "
    return [words for source, words in (("rerounded", moved), ("random_rounded", random)) if source in found]


def _undecided(rows: Sequence[Row]) -> str:
    """Why some lines have no decisions, of the reasons that the table has."""
    drift = [row for row in rows if _is_drift(row) and row["class"] is not None]
    decided = {(row["source"], row["class"]) for row in drift if row["metric"] == "changed"}
    without = [row for row in drift if (row["source"], row["class"]) not in decided]
    calm = dict.fromkeys(row["class"] for row in without if row["source"] != "random_rounded")
    said = [f"{name} (the class of the control set, on which thresholds are set)" for name in calm]
    if any(row["source"] == "random_rounded" for row in without):
        said.append("random weights (their scores are of another scale than thresholds)")
    return f" No decisions at a threshold: {'; '.join(said)}." if said else ""


def _notes(data: FigureInput, rows: Sequence[Row], single: bool) -> list[str]:
    one = next(row for row in rows if _is_drift(row))
    several = any(row["class"] is None for row in rows if _is_drift(row))
    counted = ", ".join(marks.counts([row for row in rows if _is_drift(row)]))
    checks = [row for row in rows if row["metric"] == "probability" and row["value"] is not None]
    unchecked = [row["remark"] for row in rows if row["metric"] == "probability" and row["value"] is None]
    spots: dict[str, dict[str, Row]] = {row["target"]: {} for row in checks}
    for row in checks:
        spots[row["target"]][row["source"]] = row
    said = [
        f"{target} ({of['full']['class']}) {marks.number(of['full']['value'], 3)} \N{RIGHTWARDS ARROW} "
        f"{marks.number(of['rounded']['value'], 3)}"
        for target, of in spots.items()
        if {"full", "rounded"} <= set(of)
    ]
    reasons = dict.fromkeys(row["remark"] for row in rows if _is_drift(row) and row["value"] is None and row["remark"])
    return [
        f"Probe: {one['monitor']} L{one['layer']} (L: layer) on {one['dataset']}; {counted}. Rounded: "
        f"{_rounding(data)}. {''.join(_controls(rows))}Decisions: at the threshold that the probe ships for the class "
        "against the rest, in brackets the texts above it, before \N{RIGHTWARDS ARROW} after"
        f"{f'; {ALL}: without a threshold' if several else ''}."
        f"{_undecided(rows)}"
        + (" Scores: log-odds (or margins), a marker per text and class; dotted: equal." if single else ""),
        *([f"Probability of the true class, before and after: {'; '.join(said)}."] if said else []),
        *(f"{str(remark).capitalize()}." for remark in unchecked),
        *([f"n/a: {'; '.join(list(reasons)[:3])}."] if reasons else []),
        *marks.perfect_notes(row for row in rows if any(_is_worth(row, source) for source in WORDS)),
        *marks.provenance_notes(data, "bootstrap over groups and seeds; correlations on Fisher's scale"),
    ]
