"""A model that is asked: the likelihood of two replies to a prompt that holds the text, as a monitor.

Score = log-likelihood of the positive class's reply less that of the negative one's, sums over the replies' tokens;
probability = softmax of the two (docs/high_stakes.md). Of several prompts the one is used whose AUROC on training
examples is the highest.
"""

from argparse import Namespace
from collections.abc import Callable, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
from pydantic import TypeAdapter

from candor import models
from candor.baselines.branches import endings
from candor.baselines.prompts import Prompt, PromptError, encode_prompt
from candor.config.baselines import Prompted
from candor.config.models import Model
from candor.config.tasks import Bootstrapped
from candor.data.draws import balanced_order, first_groups
from candor.experiments.resampling import ONE_CLASS, ONE_GROUP, Measured, Resampling, measured
from candor.hardware import auto_batch_tokens
from candor.metrics.intervals import estimate, group_weights, share_interval
from candor.metrics.points import Bools, Floats, share_weighted
from candor.models import Subject
from candor.schemas.status import SCORED
from candor.scores import score_table

PACKAGES = ("torch", "transformers", "safetensors")


class Asked(NamedTuple):
    """What a model says of examples, [n]: log-odds of the positive class, FLOPs, and tokens of the prompt.

    They are nan and 0 where an example was not asked about, and `statuses` says why.
    """

    log_odds: np.ndarray
    flops: np.ndarray
    n_tokens: np.ndarray
    statuses: list[str]


class Loaded(NamedTuple):
    """A model, the tokens of a batch and of the longest prompt, and what of the machine bears on the numbers."""

    subject: Subject
    batch_tokens: int
    max_tokens: int
    facts: dict[str, Any]


class Trial(NamedTuple):
    """How a prompt does on training examples."""

    prompt: Prompt
    asked: Asked
    auroc: Measured
    accuracy: Measured


def load(args: Namespace, baseline: Prompted) -> Loaded:
    """The model of a script's --model and spec, on --threads CPU threads (all cores without it)."""
    import torch

    if args.threads:
        torch.set_num_threads(args.threads)
    model: Model = TypeAdapter(Model).validate_python(args.spec["models"])
    subject = models.load(model, models.read_facts(args.model))
    weights = subject.model.get_input_embeddings().weight
    context = getattr(subject.model.config.get_text_config(), "max_position_embeddings", None)
    device, batch_tokens = str(weights.device.type), baseline.batch_tokens
    facts = {"device": device, "dtype": str(weights.dtype).removeprefix("torch."), "threads": torch.get_num_threads()}
    return Loaded(
        subject,
        auto_batch_tokens(device) if batch_tokens == "auto" else batch_tokens,
        min(baseline.max_tokens, context or baseline.max_tokens),
        facts,
    )


def ask(
    loaded: Loaded,
    prompt: Prompt,
    rows: Sequence[Mapping[str, Any]],
    truncate: str,
    through: Callable[[int], None] = lambda _: None,
) -> Asked:
    """Ask about rows of a dataset table; `through` is told how many prompts are done."""
    statuses, encoded, at = [], [], []
    for i, row in enumerate(rows):
        status = "empty"
        if any(turn["content"].strip() for turn in row["messages"]):
            each = encode_prompt(prompt, row["messages"], loaded.subject.tokenizer, loaded.max_tokens, truncate)
            encoded.append(each)
            at.append(i)
            status = "truncated" if each.truncated else "ok"
        statuses.append(status)
    log_odds, flops, n_tokens = np.full(len(rows), np.nan), np.zeros(len(rows)), np.zeros(len(rows), dtype=np.int64)
    n_tokens[at] = [len(each.shared) for each in encoded]
    for done, found in enumerate(endings(loaded.subject.model, encoded, loaded.batch_tokens), start=1):
        negative, positive = found.log_probabilities
        log_odds[at[found.place]], flops[at[found.place]] = positive - negative, found.flops
        through(done)
    return Asked(log_odds, flops, n_tokens, statuses)


def table(asked: Asked, rows: Sequence[Mapping[str, Any]], part: str, classes: Sequence[str], monitor: str) -> pa.Table:
    """What a model says of rows of one part, in the score contract; its own pass is all that it costs."""
    if len(classes) != 2:
        raise PromptError(f"{monitor}: a prompted baseline tells two classes apart, and the task has {len(classes)}.")
    log_odds = asked.log_odds[:, None]
    return score_table(
        rows,
        part,
        classes,
        monitor,
        log_odds,
        1 / (1 + np.exp(-np.clip(log_odds, -700, 700))),
        statuses=asked.statuses,
        n_tokens=asked.n_tokens,
        flops_monitor=asked.flops,
        flops_total=asked.flops,
    )


def drawn(
    rows: Sequence[Mapping[str, Any]], classes: Sequence[str], limit: int | None, seed: int
) -> list[Mapping[str, Any]]:
    """At most `limit` rows of the classes, whole groups, balanced, in the order of the part."""
    of_classes = [row for row in rows if row["label"] in classes]
    order = balanced_order([row["group_id"] for row in of_classes], [row["label"] for row in of_classes], seed)
    found = [of_classes[i] for i in sorted(chain(*first_groups(order, limit)))]
    if not found:
        raise PromptError(
            f"`limit: {limit}` leaves none of {len(of_classes)} labelled training examples, since groups are taken "
            "whole; raise it."
        )
    return found


def try_prompt(
    loaded: Loaded,
    prompt: Prompt,
    rows: Sequence[Mapping[str, Any]],
    task: Bootstrapped,
    truncate: str,
    through: Callable[[int], None] = lambda _: None,
) -> Trial:
    """Ask about training examples with one prompt, and measure; all prompts meet the same draws of groups."""
    asked = ask(loaded, prompt, rows, truncate, through)
    known = scored(asked)
    positive = np.array([rows[i]["label"] == task.classes[1] for i in known], dtype=bool)
    groups = [rows[i]["group_id"] for i in known]
    resampling = Resampling(groups, positive, task.bootstrap, task.seed)
    auroc = measured(resampling.auroc(asked.log_odds[known]))
    return Trial(prompt, asked, auroc, _accuracy(asked.log_odds[known], positive, groups, task))


def scored(asked: Asked) -> list[int]:
    """Which examples have a score."""
    return [i for i, status in enumerate(asked.statuses) if status in SCORED and bool(np.isfinite(asked.log_odds[i]))]


def best(trials: Sequence[Trial]) -> Trial:
    """The trial with the highest AUROC, the first of several; one without an AUROC is below all others."""
    return max(trials, key=lambda trial: -1.0 if trial.auroc.value is None else trial.auroc.value)


def curve_rows(
    trials: Sequence[Trial], rows: Sequence[Mapping[str, Any]], task: Bootstrapped, monitor: str
) -> list[dict[str, Any]]:
    """Rows of the curve table, two for each prompt."""
    found = []
    for trial in trials:
        known = scored(trial.asked)
        for metric in ("auroc", "accuracy"):
            value: Measured = getattr(trial, metric)
            found.append(
                {
                    "experiment": monitor,
                    "curve": trial.prompt.name,
                    "monitor": monitor,
                    "layer": None,
                    "dataset": task.train,
                    "x": None,
                    "metric": metric,
                    **value._asdict(),
                    "flops": float(trial.asked.flops[known].mean()) if known else None,
                    "n": len(known),
                    "n_positive": sum(rows[i]["label"] == task.classes[1] for i in known),
                    "n_groups": len({rows[i]["group_id"] for i in known}),
                    "n_skipped": len(rows) - len(known),
                    "n_runs": 1,
                }
            )
    return found


def choice(chosen: Trial, trials: Sequence[Trial], monitor: str) -> dict[str, Any]:
    """What is known of the chosen prompt and of the others, as a JSON object."""
    return {
        "monitor": monitor,
        "template": chosen.prompt.name,
        "sha256": chosen.prompt.sha256,
        "rule": "highest AUROC on training examples, the first of several",
        "templates": {
            trial.prompt.name: {
                "sha256": trial.prompt.sha256,
                "wording": trial.prompt.wording,
                "replies": list(trial.prompt.replies),
                "n": len(scored(trial.asked)),
                "auroc": trial.auroc.value,
                "low": trial.auroc.low,
                "high": trial.auroc.high,
                "accuracy": trial.accuracy.value,
            }
            for trial in trials
        },
    }


def refuse_other(prompt: Prompt, chosen: Mapping[str, Any], path: Path) -> None:
    """PromptError unless a prompt is, letter by letter, the one that was chosen."""
    if prompt.sha256 != chosen["sha256"]:
        raise PromptError(
            f"template {prompt.name!r} was edited since {path} chose it; make that again, so that prompts are compared "
            "as they are."
        )


def _accuracy(log_odds: Floats, positive: Bools, groups: Sequence[str], task: Bootstrapped) -> Measured:
    """The share of examples whose more likely reply is the right one; None where an AUROC would be."""
    if not positive.any() or positive.all():
        return Measured(None, None, None, ONE_CLASS)
    codes = np.unique(np.asarray(groups, dtype=str), return_inverse=True)[1]
    rng = np.random.default_rng(task.seed)
    weights = np.concatenate([np.ones((1, len(codes))), group_weights(codes, positive, task.bootstrap, rng)])
    values, n_groups = share_weighted((log_odds > 0) == positive, weights), int(codes.max()) + 1
    ends = share_interval(estimate(values[:1], values[1:, None], n_groups, n_groups, rng))
    low, high = (None if np.isnan(end) else float(end) for end in ends)
    return Measured(float(values[0]), low, high, ONE_GROUP if low is None else None)
