"""Folds for cross-validation by group: the same for every monitor of a task, so that their scores can be paired."""

from collections.abc import Sequence

import numpy as np

from candor.data.examples import shuffled
from candor.errors import CandorError


class FoldError(CandorError):
    """Examples cannot be dealt out to folds; the message says why and what to do."""


def group_folds(groups: Sequence[str], labels: Sequence[str | None], n_folds: int, seed: int) -> np.ndarray:
    """The fold of each example, int64 [n] in 0 … n_folds - 1; a group is never torn apart.

    The largest groups are dealt first, groups of one size in an order that depends on the seed and their names alone;
    each goes to the fold that has the least of its labels, and among those to the smallest. So folds are balanced in
    size and labels, and the order of the examples does not matter.
    """
    order = shuffled(groups, seed)
    if len(order) < n_folds:
        raise FoldError(f"{len(order)} groups cannot be dealt out to {n_folds} folds; set `folds` of the task lower.")
    group_of = {group: i for i, group in enumerate(order)}
    codes = {label: i for i, label in enumerate(sorted(set(labels), key=str))}
    at = np.array([group_of[group] for group in groups])
    counts = np.zeros((len(order), len(codes)))
    np.add.at(counts, (at, np.array([codes[label] for label in labels])), 1)

    shares = counts / counts.sum(0)
    filled, sizes = np.zeros((n_folds, len(codes))), np.zeros(n_folds)
    fold_of_group = np.zeros(len(order), dtype=np.int64)
    for group in np.argsort(-counts.sum(1), kind="stable"):
        # the fold whose sum of squared label shares grows least
        fold = np.lexsort((np.arange(n_folds), sizes, filled @ shares[group]))[0]
        fold_of_group[group] = fold
        filled[fold] += shares[group]
        sizes[fold] += counts[group].sum()
    folds: np.ndarray = fold_of_group[at]
    return folds
