"""Groups dealt out to folds."""

import numpy as np
import pytest

from candor.data.folds import FoldError, group_folds

GROUPS = [f"pair-{i // 2}" for i in range(40)]
LABELS = ["low", "high"] * 20


def test_no_group_is_torn_apart() -> None:
    folds = group_folds(GROUPS, LABELS, 4, seed=0)
    assert all(len({int(f) for f, g in zip(folds, GROUPS, strict=True) if g == group}) == 1 for group in set(GROUPS))


def test_folds_are_balanced_in_size_and_labels() -> None:
    groups = [f"g{i}" for i in range(100)]
    labels = ["rare"] * 10 + ["common"] * 90
    folds = group_folds(groups, labels, 5, seed=0)
    assert np.bincount(folds).tolist() == [20] * 5
    assert np.bincount(folds[:10]).tolist() == [2] * 5


def test_large_groups_are_spread() -> None:
    groups = ["big"] * 10 + [f"small-{i}" for i in range(10)]
    folds = group_folds(groups, ["x"] * 20, 2, seed=0)
    assert np.bincount(folds).tolist() == [10, 10]


def test_depends_on_names_and_seed_and_not_on_the_order_of_examples() -> None:
    folds = group_folds(GROUPS, LABELS, 4, seed=0)
    backwards = group_folds(GROUPS[::-1], LABELS[::-1], 4, seed=0)
    assert folds.tolist() == backwards[::-1].tolist()
    assert folds.tolist() != group_folds(GROUPS, LABELS, 4, seed=1).tolist()


def test_too_few_groups_is_one_sentence() -> None:
    with pytest.raises(FoldError, match=r"3 groups cannot be dealt out to 4 folds; set `folds`"):
        group_folds(["a", "b", "c"], ["x", "y", "x"], 4, seed=0)
