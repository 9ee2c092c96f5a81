"""How many examples of each label every part of a task holds, in how many groups, and how long they are."""

from collections.abc import Sequence
from typing import NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from candor.config.figures import Figure
from candor.config.tasks import Task, dataset_of, split_of
from candor.figures import marks, style
from candor.figures.inputs import Drawn, FigureError, FigureInput, Mark

BAR = 0.19  # inches per label
LINE = 0.7  # bars per line of a part's name
GAP = 0.8  # bars between parts
NAME_WIDTH = 2.0  # inches
NO_LABEL = "no label"
OTHER = style.Look("#bbbbbb", "", "-", True, "")


class LabelCount(NamedTuple):
    """Examples and groups of one label in one part, and their mean number of words (None: no example)."""

    label: str
    n: int
    n_groups: int
    words: float | None


class Block(NamedTuple):
    """One part of the task: what it is for, and its labels, those of the task first."""

    role: str
    part: str
    counts: list[LabelCount]
    n: int
    n_groups: int
    n_skipped: int  # examples with no class of the task
    repeats_dropped: int | None  # of the whole dataset


def draw(data: FigureInput, figure: Figure) -> Drawn:
    """A block per part (train, control, evaluation), a bar per label; labels outside the task's classes in grey."""
    task = data.the_task()
    blocks = [_block(data, task, role, part) for role, part in _parts(task)]
    names = [_name(block) for block in blocks]
    heights = [max(len(block.counts), LINE * (name.count("\n") + 1)) for block, name in zip(blocks, names, strict=True)]
    about = (
        "n: examples. Groups: units of splitting and of intervals. Skipped (grey): no class of the task ("
        f"{', '.join(task.classes)}). Repeats: texts dropped from the whole dataset when it was built. Words: mean "
        "over examples, all turns. These are counts, without intervals."
    )
    picture = style.page(
        style.FULL,
        BAR * (sum(heights) + GAP * len(blocks)) + 0.45,
        figure.title,
        [about, " ".join(marks.model_notes(data))],
    )
    axes = picture.subplots()
    middles = []
    top = 0.0
    for block, height in zip(blocks, heights, strict=True):
        middles.append(top + height / 2)
        first = top + (height - len(block.counts)) / 2 + 0.5
        for i, count in enumerate(block.counts):
            look = style.LABELS[task.classes.index(count.label) % 4] if count.label in task.classes else OTHER
            axes.barh(
                first + i, count.n, height=0.8, facecolor=look.colour, edgecolor="white", hatch=look.hatch, linewidth=0
            )
            axes.annotate(
                _words(count),
                (count.n, first + i),
                (3, 0),
                textcoords="offset points",
                va="center",
                fontsize=style.NOTE_SIZE,
            )
        top += height + GAP
    axes.set_yticks(middles, names)
    axes.tick_params(axis="y", length=0)
    axes.set_ylim(top - GAP / 2, -GAP / 2)
    axes.set_xlabel("Examples")
    return Drawn(picture, [_mark(block, count) for block in blocks for count in block.counts])


def _parts(task: Task) -> list[tuple[str, str]]:
    return [("train", task.train), ("control", task.control), *(("evaluation", part) for part in task.evaluation)]


def _block(data: FigureInput, task: Task, role: str, part: str) -> Block:
    dataset = data.datasets.get(dataset_of(part))
    if dataset is None:
        raise FigureError(f"the task has the part {part}, but --datasets names no {dataset_of(part)}.parquet; add it.")
    table = dataset.table.filter(pc.equal(dataset.table.column("split"), split_of(part)))
    counts = _counts(table, task.classes)
    groups = len(set(table.column("group_id").to_pylist()))
    skipped = sum(count.n for count in counts if count.label not in task.classes)
    return Block(role, part, counts, table.num_rows, groups, skipped, dataset.repeats_dropped)


def _counts(table: pa.Table, classes: Sequence[str]) -> list[LabelCount]:
    """Counts of the task's classes in their order, then of other labels by name, then of rows without a label."""
    labels = [label if label is not None else NO_LABEL for label in table.column("label").to_pylist()]
    groups = table.column("group_id").to_pylist()
    words = [sum(len(m["content"].split()) for m in messages) for messages in table.column("messages").to_pylist()]
    others = sorted(set(labels) - {*classes, NO_LABEL}) + ([NO_LABEL] if NO_LABEL in labels else [])
    counts = []
    for name in (*classes, *others):
        chosen = [i for i, label in enumerate(labels) if label == name]
        mean = sum(words[i] for i in chosen) / len(chosen) if chosen else None
        counts.append(LabelCount(name, len(chosen), len({groups[i] for i in chosen}), mean))
    return counts


def _name(block: Block) -> str:
    dropped = "" if block.repeats_dropped is None else f", {block.repeats_dropped} repeats"
    return (
        f"{block.role}\n{style.wrap_name(block.part, NAME_WIDTH)}\n"
        f"n {block.n}, {block.n_groups} groups\n{block.n_skipped} skipped{dropped}"
    )


def _words(count: LabelCount) -> str:
    length = "" if count.words is None else f", {count.words:.0f} words"
    groups = "group" if count.n_groups == 1 else "groups"
    return f"{count.label}: {count.n}, {count.n_groups} {groups}{length}"


def _mark(block: Block, count: LabelCount) -> Mark:
    row = {
        "value": count.n,
        "low": None,
        "high": None,
        "n": block.n,
        "n_groups": count.n_groups,
        "n_skipped": block.n_skipped,
    }
    return marks.mark(
        "count",
        row,
        role=block.role,
        dataset=block.part,
        label=count.label,
        mean_words=count.words,
        repeats_dropped=block.repeats_dropped,
    )
