"""A probe's scores on a subject's weights as they are, and on the same weights rounded to a few bits.

The subject reads the texts anew with each set of weights, in one pass over each whole text, and the probe is scored at
the positions that the task's activations hold. Where those were read while the subject answered, a text is the prompt
with the answer that was given then: the words stay the same, so that what differs is the weights.

A subject that was quantised before lies on a grid of its own already, and rounding to as many bits moves it little. So
there are controls. `rerounded`: each group's grid is moved by up to half a step, so that it is nobody's.
`random_weights`: random matrices of the same spread, against their own rounding; the probe means nothing there, but how
far its score moves does.

Sources are `full`, `rounded`, `rerounded`, `random` and `random_rounded`; a row with `versus` sets one against the
weights that were rounded. Decisions are those at the thresholds that the probe ships, one for each class, with the
number of texts above it before and after; without a class the decision is the class with the highest score. A threshold
says nothing about random weights, whose scores are of another scale, nor about a class that the control set's own
texts are of, since it was set where hardly any of them exceed it: no row. Examples count once and are resampled by
group.
"""

import importlib
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from pydantic import TypeAdapter
from scipy.stats import rankdata
from scipy.stats import t as student_t
from torch import Tensor

from candor.activations.files import ActivationsError
from candor.activations.hooks import blocks_of, reading
from candor.batching import token_batches
from candor.chat_text import encode, open_turn, token_ids
from candor.config.captures import Capture
from candor.config.experiments import Quantisation
from candor.config.probes import Probe
from candor.config.samplings import Sampling
from candor.config.tasks import Measurement
from candor.data.examples import shuffled
from candor.errors import CandorError
from candor.experiments.cells import Drawn, Found, by_class, cell, compared, valued
from candor.experiments.resampling import ONE_GROUP
from candor.generations.responding import prefill_of
from candor.metrics.intervals import TAIL
from candor.metrics.points import Floats
from candor.models import Subject
from candor.probes.features import Features, Part
from candor.probes.files import SavedProbe
from candor.probes.scoring import UNCALIBRATED, class_scores, logits_by_seed
from candor.rounding import randomise_weights, round_weights
from candor.scores import scored_classes

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

FULL, ROUNDED, RANDOM, RANDOM_ROUNDED = "full", "rounded", "random", "random_rounded"
NO_PROBABILITIES = "no probabilities: no spot checks"
SURE = 1 - 1e-12
"""Correlation above which Fisher's z is cut, which has no end."""


class Text(NamedTuple):
    """A text as the model reads it, and the positions in it that the probe reads."""

    ids: list[int]
    positions: list[int]


@dataclass
class QuantisationContext:
    """A task's probe at its selected layer, the part whose texts are read, and how to read them.

    `texts` gives the token ids of rows of the dataset, `load` the subject as it is, anew each time. `control_labels`
    are those of the texts that the probe's thresholds were set on.
    """

    id: str
    experiment: Quantisation
    task: Measurement
    monitor: str
    layer: int
    saved: SavedProbe
    part: Part
    texts: Callable[[Sequence[Mapping[str, Any]]], Sequence[Sequence[int]]]
    load: Callable[[], Subject]
    batch_tokens: int
    progress: Callable[[str, int, str], Any]
    control_labels: Collection[str] = ()


def run(context: QuantisationContext) -> list[dict[str, Any]]:
    """Rows of the cell table."""
    experiment, task, saved = context.experiment, context.task, context.saved
    monitor, layer, batch_tokens = context.monitor, context.layer, context.batch_tokens
    probe = TypeAdapter(Probe).validate_python(saved.header.probe)
    family = importlib.import_module(f"candor.probes.families.{probe.family}")
    part = context.part.of_roles(probe.roles)
    header = part.activations.header
    saved.refuse_other(
        subject=header.subject,
        revision=header.revision,
        hook=header.hook,
        width=header.width,
        path=part.activations.paths[0],
    )
    if family.FEATURES == "log_loss" or header.store not in ("positions", "tokens"):
        raise CandorError(
            f"experiments.{context.id}: {monitor} on {experiment.part} has no positions to be read anew; name a probe "
            "that reads activations, of a capture with `store: positions` or `store: tokens`."
        )
    labels = part.labels(task.classes)
    usable = [i for i in part.scored() if labels[i] is not None]
    at = _chosen(part, usable, task.seed, experiment.limit)
    read = _texts(context.id, part, at, context.texts([part.rows[i] for i in at]))
    sources = [FULL, ROUNDED, *(["rerounded"] if "rerounded" in experiment.controls else [])]
    sources += [RANDOM, RANDOM_ROUNDED] if "random_weights" in experiment.controls else []
    weights, biases = zip(*(saved.at(layer, seed) for seed in saved.header.seeds), strict=True)
    progress = context.progress(f"quantisation {context.id}", len(sources), "passes")
    scores: dict[str, Floats] = {}
    for number, source in enumerate(sources, start=1):
        subject = context.load()
        _change(subject, source, experiment, layer)
        rows = states(subject, header.hook, layer, read, batch_tokens)
        if not all(bool(each.isfinite().all()) for each in rows):
            raise CandorError(f"experiments.{context.id}: activations of {source} weights are not finite.")
        logits = logits_by_seed(features_of(rows, family.FEATURES), weights, biases, probe, family)
        scores[source] = np.stack([class_scores(each, probe.family)[0] for each in logits])
        progress.update(number)
    y = np.array(labels)[at].astype(np.int64)
    groups = [part.rows[i]["group_id"] for i in at]
    drawn = Drawn(y, groups, len(part.rows) - len(usable), task.bootstrap, task.seed, part.name)
    place = {"experiment": context.id, "monitor": monitor, "layer": layer, "dataset": part.name}
    thresholds = saved.header.thresholds.get(str(layer), {})
    by_seed = [thresholds.get(str(seed), {}) for seed in saved.header.seeds]
    uncalibrated = probe.family in UNCALIBRATED  # gives no probabilities
    return [
        *_rows(place, drawn, scores, task.classes, by_seed, context.control_labels, task.seed),
        *_spot_checks(place, part, at, y, scores, task.classes, experiment.spot_checks, uncalibrated),
        *_single_scores(place, [part.rows[i]["example_id"] for i in at], scores, scored_classes(task.classes)),
    ]


def _change(subject: Subject, source: str, experiment: Quantisation, layer: int) -> None:
    """Turn a subject's weights up to a layer, in place, into those of a source."""
    above = list(blocks_of(subject.model))[layer + 1 :]
    if source in (RANDOM, RANDOM_ROUNDED):
        randomise_weights(subject.model, experiment.seed, above)
    if source not in (FULL, RANDOM):
        moved = experiment.seed if source == "rerounded" else None
        round_weights(subject.model, experiment.bits, experiment.group, moved, above)


def _chosen(part: Part, usable: Sequence[int], seed: int, limit: int | None) -> list[int]:
    """Of the usable rows, at most `limit`, in whole groups; which ones hangs on no order of the file."""
    members: dict[str, list[int]] = {}
    for i in usable:
        members.setdefault(part.rows[i]["group_id"], []).append(i)
    found: list[int] = []
    for group in shuffled(members, seed):
        if limit is not None and found and len(found) + len(members[group]) > limit:
            break
        found += members[group]
    if not found:
        raise CandorError(f"{part.name}: no example has a label of the task and tokens that the probe reads.")
    return sorted(found)


def _texts(id: str, part: Part, at: Sequence[int], ids: Sequence[Sequence[int]]) -> list[Text]:
    """Texts with the positions that were stored of them; stops where the tokens there are others."""
    positions, stored = (part.activations.index(name) for name in ("positions", "token_ids"))
    found = []
    for i, rows, own in zip(at, part.read_rows(at), ids, strict=True):
        places, expected = positions[rows].tolist(), stored[rows].tolist()
        if max(places) >= len(own) or [own[place] for place in places] != expected:
            raise ActivationsError(
                f"experiments.{id}: {part.rows[i]['example_id']} of {part.name} has other tokens than those that its "
                "activations were read from; make the activations again, or name a task whose capture reads the "
                "dataset's texts or plain responses to them."
            )
        found.append(Text(list(own), places))
    return found


def ids_of(
    rows: Sequence[Mapping[str, Any]],
    tokenizer: "PreTrainedTokenizerBase",
    capture: Capture,
    sampling: Sampling | None,
    answers: Mapping[str, Sequence[int]],
) -> list[list[int]]:
    """Token ids of rows of a dataset as a capture has read them; `answers` by example id, where it has a sampling."""
    if sampling is None:
        return [
            encode(
                row["messages"], tokenizer, capture.max_tokens, capture.truncate, capture.generation_prompt
            ).token_ids
            for row in rows
        ]
    prompts = [open_turn(row["messages"], tokenizer, prefill_of(row["messages"], sampling)).text for row in rows]
    return [
        [*token_ids(prompt, tokenizer), *answers[row["example_id"]]] for prompt, row in zip(prompts, rows, strict=True)
    ]


def states(subject: Subject, hook: str, layer: int, texts: Sequence[Text], batch_tokens: int) -> list[Tensor]:
    """Activations float32 [positions, width] of each text."""
    device = next(subject.model.get_input_embeddings().parameters()).device
    found: dict[int, Tensor] = {}
    with reading(subject.model, hook, [layer]) as reader:
        for batch in token_batches([len(text.ids) for text in texts], batch_tokens):
            longest = max(len(texts[i].ids) for i in batch)
            padded = [texts[i].ids + texts[i].ids[-1:] * (longest - len(texts[i].ids)) for i in batch]
            seen = reader.read(torch.tensor(padded).to(device))[layer]
            for row, i in enumerate(batch):
                found[i] = seen[row, texts[i].positions].float().cpu()
    return [found[i] for i in range(len(texts))]


def features_of(rows: Sequence[Tensor], kind: str) -> Features:
    """Rows [tokens, width] of each example as a family reads them: every one, their mean, or the last."""
    read = {"mean": [each.mean(0, keepdim=True) for each in rows], "last": [each[-1:] for each in rows]}.get(kind, rows)
    return Features(torch.cat(list(read)), torch.tensor([len(each) for each in read]))


def _rows(
    place: Mapping[str, Any],
    drawn: Drawn,
    scores: Mapping[str, Floats],
    classes: Sequence[str],
    thresholds: Sequence[Mapping[str, float]],
    control_labels: Collection[str],
    seed: int,
) -> list[dict[str, Any]]:
    rows = []
    names = scored_classes(classes)
    worth = {source: by_class(drawn, of, classes) for source, of in scores.items() if not source.startswith(RANDOM)}
    for source, values in worth.items():
        for (metric, name), of_class in values.items():
            at = {**place, "source": source, "class": name, "metric": metric}
            rows.append(cell(at, **valued([of_class], seed, source)))
            if source != FULL:
                gap = compared([of_class], [worth[FULL][metric, name]], seed, (source, FULL))
                rows.append(cell({**at, "versus": FULL}, **gap))
    for source, of in scores.items():
        if source in (FULL, RANDOM):
            continue
        versus = RANDOM if source == RANDOM_ROUNDED else FULL
        at = {**place, "source": source, "versus": versus}
        for k, name in enumerate(names):
            one, other = scores[versus][..., k], of[..., k]
            for metric, (a, b) in {
                "correlation": (one, other),
                "rank_correlation": (rankdata(one, axis=1), rankdata(other, axis=1)),
            }.items():
                rows.append(cell({**at, "class": name, "metric": metric}, **correlation(a, b, drawn)))
            if source != RANDOM_ROUNDED and name not in control_labels:
                limits = np.array([[each.get(name, np.nan)] for each in thresholds])
                of_changed = _changed(one, other, limits, drawn)
                rows.append(cell({**at, "class": name, "metric": "changed"}, **valued([of_changed], seed, source)))
        if len(names) > 1:
            flipped = scores[versus].argmax(2) != of.argmax(2)
            of_changed = drawn.mean(flipped.astype(np.float64))
            rows.append(cell({**at, "metric": "changed"}, **valued([of_changed], seed, source)))
    return rows


def _changed(one: Floats, other: Floats, limits: Floats, drawn: Drawn) -> Found:
    """The share of decisions that differ between scores [runs, n] at thresholds [runs, 1], and how many are flagged."""
    flagged = [one > limits, other > limits]
    found = drawn.mean((flagged[0] != flagged[1]).astype(np.float64))
    if not np.isfinite(limits).all():
        return found._replace(sample=None, remark="no threshold from the control set")
    before, after = (f"{round(float(each.sum(1).mean()), 1):g}" for each in flagged)  # a mean over runs
    return found._replace(remark=f"{before} flagged before, {after} after")


def correlation(one: Floats, other: Floats, drawn: Drawn) -> dict[str, Any]:
    """Pearson's correlation of scores [runs, n], mean over runs, with an interval over groups on Fisher's scale."""
    values = np.mean([_correlations(a, b, drawn.weights) for a, b in zip(one, other, strict=True)], 0)
    row = valued([Found(None, len(drawn.y), None, drawn.n_groups, drawn.n_skipped)], 0, "")
    row["n_runs"] = len(one)
    if np.isnan(values[0]):
        return {**row, "remark": "all scores are equal"}
    row["value"] = float(values[0])
    if drawn.n_groups < 2:
        return {**row, "remark": ONE_GROUP}
    z = np.arctanh(np.clip(values, -SURE, SURE))
    # as intervals.py: a bootstrap over G groups has (G - 1)/G of the variance that it estimates
    spread = float(np.nanstd(z[1:])) * (drawn.n_groups / (drawn.n_groups - 1)) ** 0.5
    half = float(student_t.ppf(1 - TAIL, drawn.n_groups - 1)) * spread
    row["low"], row["high"] = (float(np.tanh(z[0] + side * half)) for side in (-1, 1))
    return row


def _correlations(one: Floats, other: Floats, weights: Floats) -> Floats:
    """Weighted correlation [draws] of scores [n]; weights [draws, n]."""
    total = weights.sum(1)
    a, b = one - one.mean(), other - other.mean()  # small numbers, whatever the scores' offset
    mean_a, mean_b = weights @ a / total, weights @ b / total
    covariance = weights @ (a * b) / total - mean_a * mean_b
    variances = [weights @ (v * v) / total - m * m for v, m in ((a, mean_a), (b, mean_b))]
    product = np.sqrt(np.clip(variances[0], 0, None) * np.clip(variances[1], 0, None))
    return np.asarray(np.divide(covariance, product, out=np.full(len(total), np.nan), where=product > 0))


def _single_scores(
    place: Mapping[str, Any], examples: Sequence[str], scores: Mapping[str, Floats], names: Sequence[str]
) -> list[dict[str, Any]]:
    """The score of each text and class with each set of weights, a mean over seeds; what the figure's scatter shows."""
    none = dict.fromkeys(("low", "high", "n_positive", "remark"))
    rows = []
    for source, of in scores.items():
        counted = {"n": 1, "n_groups": 1, "n_skipped": 0, "n_runs": len(of)}
        for i, example in enumerate(examples):
            for k, name in enumerate(names):
                named = {"source": source, "target": example, "class": name, "metric": "score"}
                rows.append(cell({**place, **named}, **none, **counted, value=float(of[:, i, k].mean())))
    return rows


def _spot_checks(
    place: Mapping[str, Any],
    part: Part,
    at: Sequence[int],
    y: np.ndarray,
    scores: Mapping[str, Floats],
    classes: Sequence[str],
    count: int,
    uncalibrated: bool,
) -> list[dict[str, Any]]:
    """Probability of the true class of a few texts, the first ones of each class in turn, with each set of weights.

    A probe that gives none has one empty row, which says so.
    """
    none = dict.fromkeys(("low", "high", "n_positive", "remark"))
    if count and uncalibrated:
        empty = {"value": None, "n": 0, "n_groups": 0, "n_skipped": 0, "n_runs": 0, "remark": NO_PROBABILITIES}
        return [cell({**place, "source": FULL, "metric": "probability"}, **{**none, **empty})]
    by_kind = [np.flatnonzero(y == k).tolist() for k in range(len(classes))]
    turns = [own[i] for i in range(len(at)) for own in by_kind if i < len(own)]
    rows = []
    for i in turns[:count]:
        row, true = part.rows[at[i]], classes[y[i]]
        for source in (FULL, ROUNDED):
            column = scored_classes(classes).index(true) if len(classes) > 2 else 0
            score = scores[source][:, i, column]
            probability = 1 / (1 + np.exp(-np.clip(score, -700, 700)))
            if len(classes) == 2 and y[i] == 0:
                probability = 1 - probability
            known = {"value": float(probability.mean()), "n": 1, "n_groups": 1, "n_skipped": 0, "n_runs": len(score)}
            named = {"source": source, "target": row["example_id"], "class": true, "metric": "probability"}
            rows.append(cell({**place, **named}, **{**none, **known}))
    return rows
