"""How often reasoning mentions what it should not know, trigger and behaviour, at training and at evaluation."""

from candor.config.comparisons import Adherence
from candor.config.figures import Figure
from candor.config.judges import reads_reasoning
from candor.figures import forest, marks, style
from candor.figures.forest import Block, Layout
from candor.figures.inputs import Compared, Drawn, FigureError, FigureInput, Mark

PANELS = {"training_aspect": "Training examples", "aspect": "Evaluation"}
TITLE_WIDTH = 2.0  # inches


def draw(data: FigureInput, figure: Figure) -> Drawn:
    """A block per comparison and aspect, a line per arm; a panel of the training examples where they were judged."""
    told = [(compared, _lines(compared)) for compared in data.comparisons]
    if not any(lines for _, lines in told):
        raise FigureError("the comparisons have no aspect that is told of reasoning alone; name a judge in `aspects`.")
    measured = {row["measure"] for compared in data.comparisons for row in compared.rows}
    measures = [measure for measure in PANELS if measure in measured]
    layout = Layout([_block(compared, lines) for compared, lines in told])
    keys = forest.arm_keys(data.comparisons)
    picture = style.page(style.FULL, layout.height + 0.6, figure.title, _notes(data), keys)
    panels = picture.subplots(1, len(measures), squeeze=False)[0]
    drawn: list[Mark] = []
    for axes, measure in zip(panels, measures, strict=True):
        for (compared, lines), places in zip(told, layout.places, strict=True):
            for (aspect, arm), at in zip(lines, places, strict=True):
                row = compared.row(measure, arm, aspect, "yes")
                words = (
                    None if row is None else f"{marks.number(row['value'])} (n {row['n']}, {row['n_skipped']} skipped)"
                )
                forest.value(axes, row, at, forest.arm_look(arm), words)
                if row is not None:
                    drawn.append(forest.rate_mark(compared, row, arm=arm, aspect=aspect))
        forest.share_axis(axes, PANELS[measure], TITLE_WIDTH)
        axes.set_xlabel("Share of reasonings")
    layout.furnish(panels)
    return Drawn(picture, drawn)


def _lines(compared: Compared) -> list[tuple[str, str]]:
    """Aspects that are told of reasoning alone, and arms; those about the answer have a figure of their own."""
    assert isinstance(compared.config, Adherence)  # the inputs have checked the kind
    aspects = [id for id in compared.config.aspects if reads_reasoning(compared.judges[id])]
    return [(aspect, arm) for aspect in aspects for arm in compared.arms]


def _block(compared: Compared, lines: list[tuple[str, str]]) -> Block:
    entries = [f"{compared.judges[aspect].title}: {arm}" for aspect, arm in lines]
    return Block(f"{compared.config.title}: {forest.prompts(compared)}", entries)


def _notes(data: FigureInput) -> list[str]:
    return [
        "Shares of the reasonings that the judge could judge (n). Skipped: without a verdict, as where there is none. "
        "Evaluation: the prompts that are counted above, which training examples do not hold.",
        f"Subjects: {forest.subjects(data.comparisons)}.",
        *marks.provenance_notes(data, "Wilson score"),
    ]
