"""Every probe and baseline on every evaluation set and on their mean: AUROC above, TPR at a low FPR below (Fig. 2)."""

from collections.abc import Iterable, Sequence

from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.patches import Patch

from candor.config.figures import Figure
from candor.figures import marks, style
from candor.figures.inputs import Drawn, FigureInput, Mark, Row
from candor.figures.measured import FEW_NEGATIVES, Measured
from candor.schemas.metric import MEAN_DATASET

ROW = 0.19  # inches per monitor
GAP = 0.6  # rows between probes and baselines
ROOMY = 4  # columns up to which AUROCs are also printed as numbers
NEAREST = style.Look("black", "D", "", False, "")
AT_FIVE = style.Look("black", ">", "", False, "")
HATCH = "/////"


def draw(data: FigureInput, figure: Figure) -> Drawn:
    """A column per evaluation set, a line per monitor; probes stand at their own selected layer."""
    found = Measured(data.metrics or [], data.the_task())
    target = f"{100 * found.task.target_fpr:g} %"
    places = _places(found)
    aurocs = {(column, m): found.row(m, column, "auroc") for column in found.columns for m in places}
    notes = [*_notes(found, target, list(aurocs.values())), *marks.provenance_notes(data, found.how)]
    body = 2 * ROW * (len(places) + GAP + 1) + 1.6
    picture = style.page(style.FULL, body, figure.title, notes, _keys(found, target))
    panels = picture.subplots(2, len(found.columns), sharey=True, sharex="row", squeeze=False)
    width = (style.FULL - 1.6) / len(found.columns)
    drawn: list[Mark] = []
    for column, (above, below) in zip(found.columns, panels.T, strict=True):
        rows = {monitor: aurocs[column, monitor] for monitor in places}
        above.set_title(_heading(found, column, rows.values(), width), linespacing=1.2)
        drawn += _aurocs(above, found, column, places, rows)
        drawn += _rates(below, found, column, places)
    for panel in panels.flat:
        _guide(panel, found, places)
    for panel in panels[0]:
        marks.value_axis(panel, aurocs.values(), 0.5)
    panels[1, 0].set_xlim(0, 1.02)
    for panel, words in zip(panels[:, 0], ("AUROC", f"TPR at {target} FPR"), strict=True):
        panel.set_ylabel(words, fontsize=style.TITLE_SIZE, fontweight="bold")
        _name(panel, found, places)
    return Drawn(picture, drawn)


def _places(found: Measured) -> dict[str, float]:
    """The line of every monitor, from the top: probes in the config's order, then baselines."""
    baselines = {baseline: len(found.probes) + GAP + i for i, baseline in enumerate(found.baselines)}
    return {probe: float(i) for i, probe in enumerate(found.probes)} | baselines


def _look(found: Measured, monitor: str) -> style.Look:
    if monitor in found.baselines:
        return style.TEXT
    return style.HEADLINE if monitor == found.headline else style.PROBE


def _aurocs(axes: Axes, found: Measured, column: str, places: dict[str, float], rows: dict[str, Row]) -> list[Mark]:
    drawn = []
    for monitor, row in rows.items():
        look = _look(found, monitor)
        marks.dot(axes, row, places[monitor], look, size=3.8)
        if len(found.columns) <= ROOMY and row["value"] is not None:
            marks.beside(axes, places[monitor], marks.number(row["value"]), bold=monitor == found.headline)
        drawn.append(marks.mark("auroc", row, dataset=column, monitor=monitor, layer=found.layer(monitor)))
    return drawn


def _rates(axes: Axes, found: Measured, column: str, places: dict[str, float]) -> list[Mark]:
    """Bars: the highest TPR with FPR at most the target; diamonds: the ROC point nearest to it, as the paper has it."""
    few = found.few_negatives(column)
    drawn: list[Mark] = []
    for monitor, at in places.items():
        names = {"dataset": column, "monitor": monitor, "layer": found.layer(monitor)}
        row = found.row(monitor, column, "tpr_at_fpr")
        drawn.append(marks.mark("tpr_at_fpr", row, **names))
        _bar(axes, row, at, _look(found, monitor), few)
        others = {"tpr_at_fpr_nearest": NEAREST, "tpr_at_5_fpr": AT_FIVE} if few else {"tpr_at_fpr_nearest": NEAREST}
        for metric, look in others.items():
            row = found.row(monitor, column, metric)
            if row["value"] is not None:
                marks.point(axes, row["value"], at, look, size=3.2)
                drawn.append(marks.mark(metric, row, **names))
    negatives = found.negatives(column)
    if column != MEAN_DATASET and negatives:
        axes.set_xlabel(f"{negatives} negatives\n1 FP = {100 / negatives:.2g} %", fontsize=style.NOTE_SIZE)
    return drawn


def _bar(axes: Axes, row: Row, at: float, look: style.Look, few: bool) -> None:
    if row["value"] is None:
        marks.absent(axes, at)
        return
    axes.barh(
        at,
        row["value"],
        height=0.62,
        facecolor="white" if few else look.colour,
        edgecolor=look.colour,
        hatch=HATCH if few else None,
        linewidth=0.7,
    )
    if row["low"] is not None and row["high"] is not None:
        axes.plot([row["low"], row["high"]], [at, at], color="black", linewidth=0.9, solid_capstyle="butt")


def _guide(axes: Axes, found: Measured, places: dict[str, float]) -> None:
    """Light lines to read along, and a darker one between probes and baselines."""
    lines = list(places.values())
    axes.tick_params(axis="y", length=0)
    axes.set_ylim(lines[-1] + 0.6, lines[0] - 0.6)
    for at in lines:
        axes.axhline(at, color=style.PALE, linewidth=0.5, zorder=0)
    if found.probes and found.baselines:
        axes.axhline(len(found.probes) - 1 + (1 + GAP) / 2, color=style.GREY, linewidth=0.6)


def _name(axes: Axes, found: Measured, places: dict[str, float]) -> None:
    axes.set_yticks(list(places.values()), [found.name(monitor) for monitor in places])
    for label, monitor in zip(axes.get_yticklabels(), places, strict=True):
        label.set_fontweight("bold" if monitor == found.headline else "normal")
        label.set_color(style.TEXT.colour if monitor in found.baselines else "black")


def _heading(found: Measured, column: str, rows: Iterable[Row], width: float) -> str:
    mean = f"mean of {len(found.averaged)}"
    name = mean if column == MEAN_DATASET else style.wrap_name(column, width)
    return "\n".join([name, *marks.counts(row for row in rows if row["n"])])


def _keys(found: Measured, target: str) -> list[Artist]:
    keys: list[Artist] = [marks.key(style.HEADLINE, "selected probe"), marks.key(style.PROBE, "other probes")]
    if found.baselines:
        keys.append(marks.key(style.TEXT, "text baseline"))
    keys.append(marks.key(NEAREST, f"nearest to {target}"))
    if any(found.few_negatives(column) for column in found.columns):
        keys.append(marks.key(AT_FIVE, "TPR at 5 % FPR"))
        keys.append(Patch(facecolor="white", edgecolor=style.GREY, hatch=HATCH, label=f"< {FEW_NEGATIVES} negatives"))
    return keys


def _notes(found: Measured, target: str, aurocs: Sequence[Row]) -> list[str]:
    return [
        "L: layer; each probe stands at its own. Layers and the selected probe (bold) are chosen on training data "
        f"alone. Bars: highest TPR with FPR at most {target}; diamonds: TPR at the ROC point nearest to it. Dotted: "
        "chance. FP: one false positive.",
        *found.class_notes(),
        *found.mean_notes(),
        *marks.perfect_notes(aurocs),
    ]
