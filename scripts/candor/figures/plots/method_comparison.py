"""What a monitor costs and what it is worth: FLOPs per example against the mean AUROC (Fig. 1).

The cost of a text is counted by what ran on it, with the subject's pass. Where a model runs anyway its activations are
free, and a probe costs what it adds: a second, open marker.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import pyarrow as pa
import pyarrow.compute as pc
from matplotlib.axes import Axes

from candor.config.figures import Figure
from candor.config.tasks import dataset_of, split_of
from candor.figures import columns, marks, multiples, published, style
from candor.figures.inputs import Drawn, FigureInput, Mark, Row
from candor.figures.measured import Measured
from candor.schemas.metric import MEAN_DATASET
from candor.schemas.status import SCORED

ROW = 0.18  # inches per monitor
HEIGHT = 2.9  # inches of the panels at least
Names = dict[str, str | int | float | None]
COSTS = ("flops_total", "flops_monitor")
FREE = style.Look(style.GREY, "o", ":", False, "")


class Cost(NamedTuple):
    """Mean FLOPs per example, with the subject's pass and without; None where no score table tells."""

    total: float | None
    added: float | None


def draw(data: FigureInput, figure: Figure) -> Drawn:
    """Left: cost against AUROC; right: the same AUROCs in order, with names and intervals of all."""
    assert data.scores is not None  # the script has checked READS
    found = Measured(data.metrics or [], data.the_task())
    where = MEAN_DATASET if MEAN_DATASET in found.columns else found.averaged[0]
    rows = {monitor: found.row(monitor, where, "auroc") for monitor in found.monitors}
    costs = {monitor: _cost(data.scores, found, monitor) for monitor in found.monitors}
    order = sorted(rows, key=lambda monitor: -(rows[monitor]["value"] or 0.0))
    keys = columns.keys(found, found.monitors, figure)
    keys.append(marks.line_key(FREE, "a probe alone, activations free"))
    body = max(HEIGHT, ROW * (len(order) + 2))
    picture = style.page(style.FULL, body, figure.title, _notes(data, figure, found, costs, rows, where), keys)
    left, right = picture.subplots(1, 2, sharey=False, width_ratios=(1.5, 1))
    drawn = _scatter(left, found, rows, costs)
    for one in published.matching(figure.published, where, "auroc"):
        left.axhline(one.value, color=style.GREY, linewidth=0.9, linestyle=(0, (4, 2)), zorder=1)
        drawn.append(published.mark(one, where))
    marks.value_axis(right, rows.values(), 0.5)
    left.set_ylim(right.get_xlim())
    left.axhline(0.5, color=style.GREY, linewidth=0.8, linestyle=":", zorder=1)
    _list(right, found, order, rows, costs)
    word = f"mean of {len(found.averaged)}" if where == MEAN_DATASET else where
    left.set_ylabel(f"AUROC, {word}")
    left.set_xlabel("FLOPs per example, logarithmic")
    right.set_xlabel(f"AUROC, {word}")
    right.set_title(", ".join(marks.counts(rows.values())), loc="left", fontsize=style.NOTE_SIZE)
    return Drawn(picture, drawn)


def _scatter(axes: Axes, found: Measured, rows: Mapping[str, Row], costs: Mapping[str, Cost]) -> list[Mark]:
    axes.set_xscale("log")
    drawn: list[Mark] = []
    known = [cost for pair in costs.values() for cost in pair if cost]
    floor = min(known, default=1.0) / 30  # the left edge, where a cost of zero stands
    axes.set_xlim(floor, 8 * max(known, default=1e3))
    for monitor, row in rows.items():
        look, cost = found.look(monitor), costs[monitor]
        names: Names = {"monitor": monitor, "monitor_kind": found.kind(monitor), "layer": found.layer(monitor)}
        names |= {"flops": cost.total, "flops_added": cost.added}
        drawn.append(marks.mark("auroc", row, **names))
        if row["value"] is None or cost.total is None:
            continue
        x = cost.total or floor
        if found.layer(monitor) is not None and cost.added is not None:
            least = cost.added or floor
            axes.plot([least, x], [row["value"]] * 2, color=look.colour, linewidth=0.7, linestyle=":", zorder=1)
            marks.point(axes, least, row["value"], look._replace(filled=False), size=3.2)
        if monitor in (found.headline, *found.baselines) and row["low"] is not None and row["high"] is not None:
            axes.plot([x, x], [row["low"], row["high"]], color=look.colour, linewidth=1.1, zorder=2)
        marks.point(axes, x, row["value"], look, size=6 if monitor == found.headline else 4.5)
    multiples.power_axis(axes)
    return drawn


def _list(
    axes: Axes, found: Measured, order: Sequence[str], rows: Mapping[str, Row], costs: Mapping[str, Cost]
) -> None:
    """Every monitor with its interval in the order of AUROC, and its cost in numbers."""
    for at, monitor in enumerate(order):
        marks.dot(axes, rows[monitor], at, found.look(monitor), size=3.8)
        axes.axhline(at, color=style.PALE, linewidth=0.5, zorder=0)
        words = f"{marks.number(rows[monitor]['value'])}  {_power(costs[monitor].total)}"
        marks.beside(axes, at, words, bold=monitor == found.headline)
    axes.set_yticks(range(len(order)), [found.name(monitor) for monitor in order])
    for label, monitor in zip(axes.get_yticklabels(), order, strict=True):
        label.set_fontweight("bold" if monitor == found.headline else "normal")
    axes.set_ylim(len(order) - 0.4, -0.6)
    axes.tick_params(axis="y", length=0)


def _power(cost: float | None) -> str:
    """A cost as tables print it: 1.2e9."""
    if cost is None:
        return "n/a"
    mantissa, _, power = f"{cost:.1e}".partition("e")
    return "0" if cost == 0 else f"{mantissa}e{int(power)}"


def _cost(scores: pa.Table, found: Measured, monitor: str) -> Cost:
    """Mean over the sets under the mean AUROC of the mean over their scored examples and seeds."""
    layer = found.layer(monitor)
    of_layer = pc.is_null(scores["layer"]) if layer is None else pc.equal(scores["layer"], layer)
    usable = pc.and_(pc.is_in(scores["status"], pa.array(SCORED)), pc.is_null(scores["fold"]))
    chosen = pc.and_(pc.equal(scores["monitor"], monitor), pc.fill_null(of_layer, False))
    rows = scores.filter(pc.and_(usable, chosen))
    means: dict[str, list[float]] = {cost: [] for cost in COSTS}
    for part in found.averaged:
        at = pc.and_(pc.equal(rows["dataset"], dataset_of(part)), pc.equal(rows["split"], split_of(part)))
        here = rows.filter(at)
        for cost in COSTS:
            mean = pc.mean(here[cost]).as_py()
            means[cost] += [] if mean is None else [mean]
    whole = {cost: sum(found_) / len(found_) if found_ else None for cost, found_ in means.items()}
    return Cost(whole["flops_total"], whole["flops_monitor"])


def _notes(
    data: FigureInput,
    figure: Figure,
    found: Measured,
    costs: Mapping[str, Cost],
    rows: Mapping[str, Row],
    where: str,
) -> list[str]:
    unknown = [monitor for monitor in rows if costs[monitor].total is None]
    free = [monitor for monitor in rows if costs[monitor].total == 0]
    return [
        "FLOPs: two per multiply-add, with the subject's pass, of what ran; mean over the examples of a set, then over "
        "sets. Open marker at the end of dots: the probe's own FLOPs, where the model runs anyway. L: layer. Bold, "
        "large: the selected probe. Whiskers on the left for the selected probe and baselines, on the right for all; "
        "numbers: AUROC and FLOPs.",
        *([f"At the left edge, without cost: {', '.join(free)}."] if free else []),
        *([f"Only on the right, cost not recorded: {', '.join(unknown)}."] if unknown else []),
        *found.class_notes(),
        *(found.mean_notes() if where == MEAN_DATASET else []),
        *published.notes({key: value for key, value in figure.published.items() if key == where}, "auroc"),
        *marks.perfect_notes(rows.values()),
        *marks.provenance_notes(data, found.how),
    ]
