"""Class probability along a text, from the first position that was kept to the last, by the class of the text.

The probability at a position is the probe's for a text of that token alone. x is the position's number, from 0, or with
`bins` that of the part of the text; the row without x is the whole text's. Lines are `monitor/true class/class`; of two
classes only the second one has lines. A text has one value at each x, and whole groups are resampled, the same for all
points: tokens of one text are no independent observations.
"""

import importlib
from typing import Any

import numpy as np
import torch

from candor.activations.files import ActivationsError
from candor.config.experiments import Timeline
from candor.errors import CandorError
from candor.experiments.cells import Drawn, valued
from candor.experiments.evaluation_context import EvaluationContext
from candor.metrics.points import Floats
from candor.probes.features import Features, Part
from candor.probes.scoring import class_scores, logits_by_seed, part_scores
from candor.scores import scored_classes

METRIC = "probability"


def run(context: EvaluationContext) -> list[dict[str, Any]]:
    """Rows of the curve table."""
    experiment: Timeline = context.experiment
    task = context.task
    monitor, probe, saved, layer = context.probe(experiment.probe)
    family = importlib.import_module(f"candor.probes.families.{probe.family}")
    part = context.evaluation[experiment.part].of_roles(probe.roles)
    header = part.activations.header
    if family.FEATURES == "log_loss":
        raise CandorError(f"experiments.{context.id}: {monitor} reads no activations; name another probe.")
    if header.store not in ("positions", "tokens") or layer not in header.layers:
        raise ActivationsError(
            f"experiments.{context.id}: layer {layer} of {experiment.part} is not stored position by position; name it "
            "in the `layers` of a capture with `store: positions` or `store: tokens`."
        )
    labels = part.labels(task.classes)
    at = [i for i in part.scored() if labels[i] is not None]
    y = np.array([labels[i] for i in at], dtype=np.int64)
    rows = part.read_rows(at)
    lengths = [len(each) for each in rows]
    weights, biases = zip(*(saved.at(layer, seed) for seed in saved.header.seeds), strict=True)
    x = part.activations.layer(layer).index_select(0, torch.cat(rows)).float()
    alone = Features(x, torch.ones(len(x), dtype=torch.int64))
    by_seed = [class_scores(each, probe.family)[1] for each in logits_by_seed(alone, weights, biases, probe, family)]
    of_texts = part_scores(part, saved.header.seeds, weights, biases, layer, probe, family).values()
    whole = [probabilities for _, probabilities in of_texts]
    if by_seed[0] is None:
        raise CandorError(
            f"experiments.{context.id}: {monitor} gives margins and no probabilities; name a probe of another family "
            f"than {probe.family}."
        )
    points = along(np.stack([each for each in by_seed if each is not None]), lengths, experiment.bins)
    texts = np.stack([each[at] for each in whole if each is not None])
    groups = [part.rows[i]["group_id"] for i in at]
    drawn = Drawn(y, groups, len(part.rows) - len(at), task.bootstrap, task.seed, part.name)
    found = []
    for k, true in enumerate(task.classes):
        for column, shown in enumerate(scored_classes(task.classes)):
            values = [(None, texts[..., column]), *((i, points[:, :, i, column]) for i in range(points.shape[2]))]
            for number, of in values:
                curve = f"{monitor}/{true}/{shown}"
                found.append(_row(context, part, (curve, monitor, layer), number, drawn, of, y == k))
    return found


def along(probabilities: Floats, lengths: list[int], bins: int | None) -> Floats:
    """Probabilities [runs, n, x, c] at each text's positions, or means over its parts, from rows' [runs, rows, c].

    Row i of a text of `length` rows is in part floor(bins * i / length). nan where a text has no such position.
    """
    count = bins or max(lengths, default=0)
    found = np.full((len(probabilities), len(lengths), count, probabilities.shape[2]), np.nan)
    ends = np.cumsum(lengths)
    for text, (length, end) in enumerate(zip(lengths, ends, strict=True)):
        own = probabilities[:, end - length : end]
        places = np.arange(length) * count // length if bins else np.arange(length)
        for place in np.unique(places):
            found[:, text, place] = own[:, places == place].mean(1)
    return found


def _row(
    context: EvaluationContext,
    part: Part,
    line: tuple[str, str, int],
    x: int | None,
    drawn: Drawn,
    values: Floats,
    of_class: np.ndarray,
) -> dict[str, Any]:
    of = of_class & np.isfinite(values).all(0)
    row = valued([drawn.mean(np.nan_to_num(values), of)], context.task.seed, line[1])
    curve, monitor, layer = line
    more = {"dataset": part.name, "x": None if x is None else float(x), "metric": METRIC, "flops": None}
    return {"experiment": context.id, "curve": curve, "monitor": monitor, "layer": layer, **more, **row}
