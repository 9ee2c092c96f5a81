"""A probe trained again on a few examples: all draws of one size as one batched problem, with the probe's own config.

Two things cannot be as in a full training, and are said of each point that they bear on. Early stopping needs held-out
groups that tell something: with fewer than WATCHED examples of a class among them, no group is held out, and the probe
is trained for UNWATCHED_EPOCHS epochs, of which the training examples choose the best. Batches are made of the examples
of all draws, as many at a time as give each draw the probe's batch size.
"""

import importlib
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from candor.data.examples import shuffled
from candor.experiments.evaluation_context import Usable
from candor.probes.features import Features
from candor.probes.files import SavedProbe
from candor.probes.fitting import fit_problems
from candor.probes.pooling import scores, scoring_of
from candor.probes.problems import Problems
from candor.probes.regression import ROUNDING
from candor.probes.scoring import part_scores
from candor.probes.training import BETAS, EPSILON, learning_rate

WATCHED = 4
UNWATCHED_EPOCHS = 20


class Weights(NamedTuple):
    """Weight [projections, width, 1] and bias [1] of each run, for raw activations."""

    weights: list[Tensor]
    biases: list[Tensor]


class Scale(NamedTuple):
    """Mean and standard deviation of each feature, [width]."""

    center: Tensor
    deviation: Tensor


class Refitted(NamedTuple):
    """Weights by run, and what is to be known of their training."""

    found: Weights
    remarks: list[str]


def own_weights(saved: SavedProbe, layer: int) -> Weights:
    """The task's own probe, by seed."""
    pairs = [saved.at(layer, seed) for seed in saved.header.seeds]
    return Weights([weight for weight, _ in pairs], [bias for _, bias in pairs])


def scored(usable: Usable, trained: Mapping[Any, Weights], layer: int, probe: Any) -> dict[Any, np.ndarray]:
    """Scores [runs, n] of the usable examples by each key's weights."""
    weights = [weight for each in trained.values() for weight in each.weights]
    biases = [bias for each in trained.values() for bias in each.biases]
    if not weights:
        return {}
    family = importlib.import_module(f"candor.probes.families.{probe.family}")
    by_number = part_scores(usable.part, range(len(weights)), weights, biases, layer, probe, family)
    whole = np.stack([of_part[usable.at, 0] for of_part, _ in by_number.values()])
    ends = np.cumsum([0, *(len(each.weights) for each in trained.values())])
    return {key: whole[start:end] for key, start, end in zip(trained, ends, ends[1:], strict=False)}


def taken(features: Features, order: Sequence[int]) -> Features:
    """Features of some examples, in an order of their own; an example may come twice."""
    if len(features.x) == len(features.lengths):
        chosen = torch.as_tensor(list(order), dtype=torch.int64)
        return Features(features.x[chosen], features.lengths[chosen])
    parts = features.x.split(features.lengths.tolist())
    return Features(torch.cat([parts[i] for i in order]), features.lengths[list(order)])


def joined(one: Features, other: Features) -> Features:
    """Features of the examples of both."""
    return Features(torch.cat([one.x, other.x]), torch.cat([one.lengths, other.lengths]))


def refit(
    features: Features,
    y: np.ndarray,
    groups: Sequence[str],
    draws: Sequence[Sequence[int]],
    seeds: Sequence[int],
    probe: Any,
    seed: int,
    may_watch: np.ndarray | None = None,
) -> Refitted:
    """Train one probe for each draw of examples, by index; each holds both classes.

    y int64 [n]; `seeds` are of the first weights and of the held-out groups, one for each draw. `may_watch` bool [n]
    are the examples that can be held out, all by default.
    """
    used = sorted({i for draw in draws for i in draw})
    place = {example: at for at, example in enumerate(used)}
    train = torch.zeros(len(used), len(draws), dtype=torch.bool)
    for run, draw in enumerate(draws):
        train[[place[i] for i in draw], run] = True
    allowed = np.ones(len(used), dtype=bool) if may_watch is None else may_watch[used]
    family = importlib.import_module(f"candor.probes.families.{probe.family}")
    labels, names = y[used], [groups[i] for i in used]
    watch, remarks = torch.zeros_like(train), []
    if hasattr(probe, "held_out"):
        watch = _watched(train, labels, names, allowed, seeds, probe.held_out)
        if watch.any():
            train = train & ~watch
        else:
            epochs = min(probe.epochs, UNWATCHED_EPOCHS)
            remarks.append(f"too few to hold out for early stopping: {epochs} epochs")
            probe, watch = probe.model_copy(update={"epochs": epochs, "patience": epochs}), train
        share = float(train.float().mean())
        probe = probe.model_copy(update={"batch_size": round(probe.batch_size / share)})
    # a closed form is fitted once for each fold, so every draw counts as one
    problems = Problems(list(seeds), list(range(len(draws))), train, watch)
    fitted = fit_problems(taken(features, used), torch.from_numpy(labels), problems, family, probe, seed)
    runs = range(len(draws))
    return Refitted(Weights([fitted.weight[:, :, run] for run in runs], [fitted.bias[run] for run in runs]), remarks)


def _watched(
    train: Tensor, y: np.ndarray, groups: Sequence[str], allowed: np.ndarray, seeds: Sequence[int], held_out: float
) -> Tensor:
    """Which examples [n, runs] are held out of `train`, whole groups of them; none where some run has too few."""
    watch = torch.zeros_like(train)
    for run, seed in enumerate(seeds):
        inside = [i for i in range(len(y)) if train[i, run] and allowed[i]]
        order = shuffled((groups[i] for i in inside), seed)
        held = set(order[: max(1, round(len(order) * held_out))])
        watch[[i for i in inside if groups[i] in held], run] = True
        rest = (train[:, run] & ~watch[:, run]).numpy()
        watched = watch[:, run].numpy()
        if min((watched & (y == k)).sum() for k in (0, 1)) < WATCHED or len(set(y[rest].tolist())) < 2:
            return torch.zeros_like(train)
    return watch


def go_on(
    features: Features,
    y: np.ndarray,
    draws: Sequence[Sequence[int]],
    start: Weights,
    scale: Scale,
    probe: Any,
    epochs: int,
    seed: int,
) -> Weights:
    """Train copies of `start`, one of its weights for each draw, on the draws' examples, every epoch to the end.

    AdamW with the probe's learning rate on its cosine, weight decay, clipping and batch size; a draw of fewer examples
    than a batch is one batch. The optimiser steps along inputs standardised by `scale`, as in the probe's training.
    """
    family = importlib.import_module(f"candor.probes.families.{probe.family}")
    center, deviation = scale.center[None, :, None], scale.deviation[None, :, None]
    carry = scoring_of(family, probe)  # only these projections' shifts shift the score
    begun = torch.stack(start.weights, 2)[..., 0]  # [projections, width, runs]
    weight = (begun * deviation).requires_grad_()
    bias = (torch.stack(start.biases)[:, 0] + (center * begun)[:carry].sum((0, 1))).requires_grad_()
    optimiser = torch.optim.AdamW(
        [{"params": [weight], "weight_decay": probe.weight_decay}, {"params": [bias], "weight_decay": 0.0}],
        betas=BETAS,
        eps=EPSILON,
    )
    target = torch.from_numpy(y).float()
    rng = np.random.default_rng(seed)
    steps = max(1, min(len(draw) for draw in draws) // probe.batch_size)  # each draw has examples in every step
    for epoch in range(epochs):
        batches = [np.array_split(rng.permutation(draw), steps) for draw in draws]
        for step in range(steps):
            used = torch.zeros(len(y), len(draws), dtype=torch.bool)
            for run, of_run in enumerate(batches):
                used[of_run[step], run] = True
            if steps > 1 or epoch == 0:  # a single batch is the same every time
                rows = used.any(1).nonzero().squeeze(1)
                read = taken(features, rows.tolist())
            raw = weight / deviation
            logits = scores(read, raw, bias - (center * raw)[:carry].sum((0, 1)), family, probe)
            losses = torch.nn.functional.binary_cross_entropy_with_logits(
                logits, target[rows, None].expand_as(logits), reduction="none"
            )
            of_run_used = used[rows]
            loss = ((losses * of_run_used).sum(0) / of_run_used.sum(0)).sum()
            weight.grad, bias.grad = torch.autograd.grad(loss, (weight, bias))
            norm = (weight.grad.square().sum((0, 1)) + bias.grad.square()).sqrt()
            factor = (probe.clip / (norm + 1e-6)).clamp(max=1.0)
            weight.grad, bias.grad = weight.grad * factor, bias.grad * factor
            for group in optimiser.param_groups:
                group["lr"] = learning_rate(probe, (epoch * steps + step) / (epochs * steps))
            optimiser.step()
    raw = (weight / deviation).detach()
    shifted = (bias - (center * raw)[:carry].sum((0, 1))).detach()
    runs = range(len(draws))
    return Weights([raw[:, :, run, None].clone() for run in runs], [shifted[run, None].clone() for run in runs])


def scale_of(features: Features) -> Scale:
    """Mean and standard deviation of all rows; a feature that hardly varies keeps its scale."""
    variance, center = torch.var_mean(features.x, 0, correction=0)
    deviation = variance.sqrt()
    return Scale(center, deviation.masked_fill(deviation <= ROUNDING * center.abs(), 1.0))
