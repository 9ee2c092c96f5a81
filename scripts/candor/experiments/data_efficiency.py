"""AUROC on the evaluation sets by the number of training examples, for probes at their selected layers (Fig. 4b).

A run draws whole groups of the training set, balanced in class, each size within the next; it has first weights of its
own. At the end of a line stand all training examples: the task's own probe, with its own seeds.
"""

import importlib
from collections.abc import Mapping
from typing import Any

from candor.experiments.curves import Found, Line, Sheet, point
from candor.experiments.drawing import Ordering, complaint, note
from candor.experiments.evaluation_context import EvaluationContext, Usable
from candor.experiments.refitting import Weights, own_weights, refit, scored
from candor.probes.features import read_features


def run(context: EvaluationContext) -> list[dict[str, Any]]:
    """Rows of the curve table: for each probe, size and evaluation set, and for the mean over sets."""
    task = context.task
    seeds = [task.seed + number for number in range(context.experiment.runs)]
    progress = context.progress(f"efficiency {context.id}", len(context.experiment.probes), "probes")
    rows = []
    for number, id in enumerate(context.experiment.probes, start=1):
        monitor, probe, saved, layer = context.probe(id)
        train = context.usable(context.train, probe)
        sets = {name: context.usable(part, probe) for name, part in context.evaluation.items()}
        sheets = {name: context.sheet(name, each) for name, each in sets.items()}
        orderings = [Ordering(train.groups, train.y, seed) for seed in seeds]
        line = Line(monitor, monitor, layer)
        family = importlib.import_module(f"candor.probes.families.{probe.family}")
        features = read_features(train.part, layer, family.FEATURES, train.at)
        trained: dict[int, Weights] = {}
        remarks: dict[int, list[str]] = {}
        for size in sorted(set(context.experiment.sizes) - {len(train.at)}):
            drawn = [ordering.first(size) for ordering in orderings]
            refused = complaint(drawn, train.y, size, len(train.at))
            if refused is None:
                draws = [each.examples for each in drawn]
                fitted = refit(features, train.y, train.groups, draws, seeds, probe, task.seed)
                trained[size], remarks[size] = fitted.found, [*note(drawn, size), *fitted.remarks]
            else:
                remarks[size] = [refused]
        trained[len(train.at)], remarks[len(train.at)] = own_weights(saved, layer), []
        found = _measured(sets, sheets, trained, remarks, layer, probe)
        for size, of in sorted(found.items()):
            rows += point(context.id, line, size, of, context.outside(list(sets)), task.seed)
        progress.update(number)
    return rows


def _measured(
    sets: Mapping[str, Usable],
    sheets: Mapping[str, Sheet],
    trained: Mapping[int, Weights],
    remarks: Mapping[int, list[str]],
    layer: int,
    probe: Any,
) -> dict[int, dict[str, Found]]:
    """AUROC by x and set; a set's activations are read once for all weights. x without weights is undefined."""
    found: dict[int, dict[str, Found]] = {x: {} for x in remarks}
    for name, usable in sets.items():
        scores = scored(usable, trained, layer, probe)
        for x, of in found.items():
            sheet = sheets[name]
            of[name] = sheet.found(scores[x], remarks[x]) if x in trained else sheet.undefined("; ".join(remarks[x]))
    return found
