"""AUROC on the evaluation sets by the number of training examples, for a finetuned classifier (Fig. 4b).

A run draws whole groups of the training set as the probes' experiment does, each size within the next, and finetunes
from the one start that all share, with a head of its own. At the end stand all examples that the baseline may learn
from. A job that was killed goes on after the last finetuning that was done.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from candor.baselines.finetuned.network import Classifier
from candor.baselines.finetuned.scoring import read_logits
from candor.baselines.finetuned.texts import Texts, divided, drawn, labelled, usable_rows
from candor.baselines.finetuned.training import Trainer
from candor.config.baselines import Finetuned
from candor.config.tasks import Measurement
from candor.errors import CandorError
from candor.experiments.curves import Line, Sheet, point
from candor.experiments.drawing import Ordering, complaint, note
from candor.partial import journalled

NOTHING_HELD_OUT = "nothing held out: the last epoch is kept"


class Part(NamedTuple):
    """One split of one dataset: rows of its table, and what the classifier reads of them."""

    rows: list[dict[str, Any]]
    texts: Texts


@dataclass
class FinetunedContext:
    """A classifier at its start, the task's parts, and a folder for unfinished work."""

    id: str
    experiment: Any
    task: Measurement
    options: Finetuned
    classifier: Classifier
    train: Part
    evaluation: Mapping[str, Part]
    """By name, in the order of the task."""
    folder: Path
    progress: Callable[[str, int, str], Any]


class Evaluated(NamedTuple):
    """The examples of an evaluation set that are scored, and its draws; mean FLOPs of an example."""

    texts: Texts
    sheet: Sheet
    flops: float | None


def run(context: FinetunedContext) -> list[dict[str, Any]]:
    """Rows of the curve table: for each size and evaluation set, and for the mean over sets."""
    task, rows, classes = context.task, context.train.rows, context.task.classes
    if len(classes) != 2:
        raise CandorError(f"experiments.{context.id}: the task has {len(classes)} classes; its curve is one of two.")
    seeds = [task.seed + number for number in range(context.experiment.runs)]
    usable = usable_rows(rows, context.train.texts, classes)
    y = np.array([classes.index(rows[i]["label"]) for i in usable])
    orderings = [Ordering([rows[i]["group_id"] for i in usable], y, seed) for seed in seeds]
    whole = min(len(usable), context.options.limit or len(usable))
    sizes = sorted({*(size for size in context.experiment.sizes if size < whole), whole})
    draws = {size: [ordering.first(size) for ordering in orderings] for size in sizes}
    refused = {size: complaint(found, y, size, len(usable)) for size, found in draws.items()}
    todo = [(size, number) for size in sizes if refused[size] is None for number in range(len(seeds))]
    sets = {name: _evaluated(name, part, context) for name, part in context.evaluation.items()}
    scores: dict[tuple[int, int], dict[str, list[float]]] = {}
    remarks = {size: note(found, size) for size, found in draws.items()}
    progress = context.progress(f"efficiency {context.id}", len(todo), "finetunings")
    with journalled(context.folder / "scores.jsonl") as journal:
        scores |= {(entry["size"], entry["run"]): entry["scores"] for entry in journal.done}
        for done, (size, number) in enumerate(todo, start=1):
            which = [usable[i] for i in draws[size][number].examples]
            if not divided(rows, which, context.options.held_out, seeds[number]).held_out:
                remarks[size].append(NOTHING_HELD_OUT)
            if (size, number) not in scores:
                scores[size, number] = _finetuned(context, which, seeds[number], f"{size}-{number}", sets)
                journal.add({"size": size, "run": number, "scores": scores[size, number]})
            progress.update(done)
    outside = [part for part in task.evaluation if part not in task.in_distribution] or list(task.evaluation)
    line = Line(context.experiment.baseline, context.experiment.baseline, None)
    found: list[dict[str, Any]] = []
    for size in sizes:
        reason = refused[size]
        if reason is None:
            told = list(dict.fromkeys(remarks[size]))
            of = {
                name: each.sheet.found(np.array([scores[size, number][name] for number in range(len(seeds))]), told)
                for name, each in sets.items()
            }
        else:
            of = {name: each.sheet.undefined(reason) for name, each in sets.items()}
        found += point(context.id, line, size, of, outside, task.seed)
    return [{**row, "flops": _flops(row["dataset"], sets, outside)} for row in found]


def _finetuned(
    context: FinetunedContext, which: Sequence[int], seed: int, name: str, sets: Mapping[str, Evaluated]
) -> dict[str, list[float]]:
    """Scores of every set by the classifier finetuned on the rows `which`."""
    rows, texts = context.train
    division = divided(rows, which, context.options.held_out, seed)
    train, held_out = (labelled(rows, texts, context.task.classes, side) for side in division)
    context.classifier.begin(seed)
    Trainer(context.classifier, context.options, train, held_out, seed).run(context.folder / name, -1, name)
    return {
        part: read_logits(context.classifier, each.texts, context.options)[:, 0].tolist() for part, each in sets.items()
    }


def _evaluated(name: str, part: Part, context: FinetunedContext) -> Evaluated:
    """At most `limit` examples of a set, whole groups, the same for every size and run."""
    task = context.task
    usable = usable_rows(part.rows, part.texts, task.classes)
    chosen = drawn(part.rows, usable, context.experiment.limit, task.seed)
    positive = np.array([part.rows[i]["label"] == task.classes[1] for i in chosen], dtype=bool)
    groups = [part.rows[i]["group_id"] for i in chosen]
    sheet = Sheet(name, positive, groups, len(part.rows) - len(usable), task.bootstrap, task.seed)
    texts = part.texts.of(chosen)
    flops = context.classifier.flops(texts.n_tokens)
    return Evaluated(texts, sheet, float(np.mean(flops)) if flops else None)


def _flops(dataset: str, sets: Mapping[str, Evaluated], outside: Sequence[str]) -> float | None:
    """Mean FLOPs of an example of a set, or of the mean over the sets out of distribution."""
    known = [sets[name].flops for name in ([dataset] if dataset in sets else outside)]
    values = [value for value in known if value is not None]
    return float(np.mean(values)) if values else None
