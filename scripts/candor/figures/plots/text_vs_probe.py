"""The selected probe against the text baseline, per evaluation set, and their paired difference (Fig. 14).

A probe that does not beat TF-IDF may have learned words rather than what the model holds inside.
"""

from collections.abc import Sequence

from candor.config.figures import Figure
from candor.figures import marks, style
from candor.figures.inputs import Drawn, FigureInput, Mark, Row
from candor.figures.measured import Measured

ROW = 0.47  # inches per evaluation set
SHIFT = 0.16  # of the two monitors from the middle of their row
LINE = 0.145  # inches per line of a name
NAME_WIDTH = 1.7  # inches
DIFFERENCE = style.Look("black", "D", "-", True, "")


def draw(data: FigureInput, figure: Figure) -> Drawn:
    """Left: both AUROCs; right: probe less baseline on the same examples, with the Holm-corrected p."""
    found = Measured(data.metrics or [], data.the_task())
    probe, text = found.headline, found.text_baseline()
    aurocs = {(part, m): found.row(m, part, "auroc") for part in found.columns for m in (probe, text)}
    differences = {part: found.row(probe, part, "auroc", versus=text) for part in found.columns}
    names = [_name(part, [aurocs[part, probe], aurocs[part, text]]) for part in found.columns]
    notes = [
        f"Probe: {found.name(probe)} (L: layer), selected on training data alone. "
        f"{found.kind(text).capitalize()}: {text}. Difference: on the "
        "same examples; p: paired, two-sided, Holm-corrected.",
        *found.class_notes(),
        *found.mean_notes(),
        *marks.perfect_notes(aurocs.values()),
        *marks.provenance_notes(data, found.how),
    ]
    looks = {probe: style.HEADLINE, text: found.look(text)}
    keys = [marks.key(style.HEADLINE, "probe"), marks.key(found.look(text), found.kind(text))]
    row_height = max(ROW, LINE * (2 + max(name.count("\n") for name in names)))
    picture = style.page(style.FULL, row_height * len(names) + 0.5, figure.title, notes, keys)
    left, right = picture.subplots(1, 2, sharey=True, width_ratios=(1.4, 1))
    drawn: list[Mark] = []
    for at, part in enumerate(found.columns):
        for monitor, shift in ((probe, -SHIFT), (text, SHIFT)):
            row, look = aurocs[part, monitor], looks[monitor]
            marks.dot(left, row, at + shift, look)
            marks.beside(left, at + shift, marks.number(row["value"]), look.colour)
            drawn.append(marks.mark("auroc", row, dataset=part, monitor=monitor, versus=None, p_holm=None))
        row = differences[part]
        marks.dot(right, row, at, DIFFERENCE)
        marks.beside(right, at, _difference(row))
        drawn.append(marks.mark("difference", row, dataset=part, monitor=probe, versus=text, p_holm=row["p_holm"]))
    left.set_yticks(range(len(names)), names)
    left.set_ylim(len(names) - 0.5, -0.5)
    for axes, rows, reference in ((left, aurocs.values(), 0.5), (right, differences.values(), 0.0)):
        marks.value_axis(axes, rows, reference)
        axes.tick_params(axis="y", length=0)
        for line in range(1, len(names)):
            axes.axhline(line - 0.5, color=style.PALE, linewidth=0.6, zorder=0)
    left.set_xlabel("AUROC (dotted: chance)")
    right.set_xlabel(f"AUROC of the probe less that of {found.kind(text)}")
    return Drawn(picture, drawn)


def _name(part: str, rows: Sequence[Row]) -> str:
    return f"{style.wrap_name(part, NAME_WIDTH)}\n{', '.join(marks.counts(rows))}"


def _difference(row: Row) -> str:
    p = row["p_holm"]
    if row["value"] is None or p is None:
        return marks.signed(row["value"])
    return f"{marks.signed(row['value'])}, p " + ("< 0.001" if p < 0.001 else f"= {p:.3f}")
