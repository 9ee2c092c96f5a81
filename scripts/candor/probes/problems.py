"""The problems that are trained together: the full training set for each seed, and each fold's complement for one.

Cross-validation, which only selects, takes one seed: that more than halves the work.

All problems of a layer read the same activations, so one matrix product serves them all; they differ in their first
weights, in the examples that carry loss, and in the groups that early stopping watches.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from candor.data.examples import shuffled
from candor.errors import CandorError


class TooFewGroups(CandorError):
    """A problem would lack a class; the message says which."""


class Problems(NamedTuple):
    """p problems over n examples: seed and left-out fold (None: the full set) of each, and who does what in it."""

    seeds: list[int]
    folds: list[int | None]
    train: Tensor
    """bool [n, p]: carries loss."""
    watch: Tensor
    """bool [n, p]: watched by early stopping; never trained on, never in the left-out fold."""


def make_problems(
    groups: Sequence[str],
    labels: Sequence[int],
    assigned: Sequence[int],
    seeds: Sequence[int],
    held_out: float | None,
    name: str,
    classes: int,
) -> Problems:
    """Problems for examples with a group, a class index and a fold each; `held_out` None: no early stopping.

    Held-out groups depend on the seed and on their names alone. TooFewGroups when a problem would lack a class.
    """
    columns: list[tuple[int, int | None]] = [(seed, None) for seed in seeds]
    columns += [(seeds[0], fold) for fold in sorted(set(assigned))]
    train, watch = torch.zeros(2, len(groups), len(columns), dtype=torch.bool)
    for p, (seed, fold) in enumerate(columns):
        inside = [i for i in range(len(groups)) if fold is None or assigned[i] != fold]
        order = shuffled((groups[i] for i in inside), seed)
        watched = set(order[: max(1, round(len(order) * held_out))]) if held_out is not None else set()
        for i in inside:
            (watch if groups[i] in watched else train)[i, p] = True
    label = torch.tensor(labels)
    for k in range(classes):
        of_class = (label == k)[:, None]
        for mask, what in ((train, "train on"), (watch, "watch in early stopping")):
            if (mask is train or held_out is not None) and not (mask & of_class).any(0).all():
                raise TooFewGroups(
                    f"{name}: too few groups of class {k} to {what} in every fold; use fewer folds or more data."
                )
    return Problems([seed for seed, _ in columns], [fold for _, fold in columns], train, watch)
