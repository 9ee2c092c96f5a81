"""AUROC of prompted baselines by template; the one that the training examples chose is marked (Fig. 10)."""

from collections.abc import Sequence

from candor.config.figures import Figure
from candor.figures import forest, marks, multiples, style
from candor.figures.forest import Block, Layout
from candor.figures.inputs import Curves, Drawn, FigureInput, Row

CHOSEN = style.PROMPTED
OTHER = style.PROMPTED._replace(filled=False)
WIDE = 5  # sets beside each other at most, so that intervals can be seen


def draw(data: FigureInput, figure: Figure) -> Drawn:
    """A block per baseline, a line per template, a column per part and, where there are several, their mean."""
    found = [(one, multiples.rows_of([one])) for one in data.templates]
    sets = list(dict.fromkeys(name for _, rows in found for name in multiples.datasets(rows)))[-WIDE:]
    every = [row for _, rows in found for row in rows if row["dataset"] in sets]
    layout = Layout([_block(one, rows) for one, rows in found])
    keys = [marks.key(CHOSEN, "chosen template"), marks.key(OTHER, "other templates")]
    picture = style.page(style.FULL, layout.height + 0.75, figure.title, _notes(data, every, sets), keys)
    panels = picture.subplots(1, len(sets), squeeze=False)[0]
    drawn = []
    for name, axes in zip(sets, panels, strict=True):
        for (one, rows), places in zip(found, layout.places, strict=True):
            chosen = chosen_template(one, rows)
            for template, at in zip(_templates(rows), places, strict=True):
                row = _row(rows, template, name)
                forest.value(axes, row, at, CHOSEN if template == chosen else OTHER)
                if row is not None:
                    drawn.append(multiples.mark(row, baseline=one.id, template=template, chosen=template == chosen))
        marks.value_axis(axes, every, 0.5)
        width = (style.FULL - forest.NAME_WIDTH) / len(sets) - 0.4
        axes.set_title(style.wrap_name("mean over sets" if name == "mean" else name, width), loc="left")
        axes.set_xlabel("AUROC (dotted: chance)" if width > 1.3 else "AUROC")
    layout.furnish(list(panels))
    return Drawn(picture, drawn)


def chosen_template(one: Curves, rows: Sequence[Row]) -> str:
    """The template that a baseline uses: the one its file names, else by the rule of the choice, the first best."""
    named = one.facts.get("template")
    best = max(rows, key=lambda row: -1.0 if row["value"] is None else row["value"])
    return str(named or best["curve"])


def _templates(rows: Sequence[Row]) -> list[str]:
    return list(dict.fromkeys(row["curve"] for row in rows))


def _block(one: Curves, rows: Sequence[Row]) -> Block:
    chosen, entries = chosen_template(one, rows), []
    for template in _templates(rows):
        counted = ", ".join(marks.counts(row for row in rows if row["curve"] == template))
        entries.append(f"{template}{' (chosen)' if template == chosen else ''}\n{counted}")
    return Block(one.id, entries)


def _row(rows: Sequence[Row], template: str, dataset: str) -> Row | None:
    found = (row for row in rows if row["curve"] == template and row["dataset"] == dataset)
    return next(found, None)


def _notes(data: FigureInput, rows: Sequence[Row], sets: Sequence[str]) -> list[str]:
    wordings = dict.fromkeys(word for one in data.templates for word in _wordings(one))
    return [
        f"Each template asks for the same two answers in its own way. Measured on {', '.join(sets)}; the template with "
        "the best AUROC on training examples is the one that the baseline uses everywhere else."
        + (f" Wording: {'; '.join(wordings)}." if wordings else ""),
        *marks.provenance_notes(data, "over groups"),
    ]


def _wordings(one: Curves) -> list[str]:
    """Where the words of the templates are from, by template where they differ."""
    wording = one.facts.get("wording") or {}
    if len(set(wording.values())) == 1:
        return [str(next(iter(wording.values())))]
    return [f"{template} {word}" for template, word in wording.items()]
