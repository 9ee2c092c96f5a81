"""Labels that have changed places: a control in which nothing should be found."""

from collections.abc import Sequence

import numpy as np


def permuted_by_group(labels: np.ndarray, groups: Sequence[str], seed: int) -> np.ndarray:
    """Labels [n] after groups of one size have changed places, and examples within each group.

    Each group has the labels of some group, so that folds of pairs stay balanced and the control is drawn as the
    bootstrap over groups assumes.
    """
    rng = np.random.default_rng(seed)
    members: dict[str, list[int]] = {}
    for i, group in enumerate(groups):
        members.setdefault(group, []).append(i)
    permuted = labels.copy()
    for size in sorted({len(at) for at in members.values()}):
        at = np.array([members[group] for group in sorted(members) if len(members[group]) == size])
        permuted[at] = rng.permuted(labels[rng.permutation(at)], axis=1)
    return permuted
