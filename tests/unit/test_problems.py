"""Which examples each problem trains on, watches and leaves out."""

import pytest
import torch

from candor.data.folds import group_folds
from candor.errors import CandorError
from candor.probes.problems import Problems, TooFewGroups, make_problems

PAIRS = 20
GROUPS = [f"g{i // 2}" for i in range(2 * PAIRS)]
LABELS = [i % 2 for i in range(2 * PAIRS)]
FOLDS = group_folds(GROUPS, [str(label) for label in LABELS], 4, 0).tolist()


def made(held_out: float | None = 0.2, seeds: list[int] | None = None) -> Problems:
    return make_problems(GROUPS, LABELS, FOLDS, seeds or [0, 1], held_out, "set@train", 2)


def groups_of(mask: torch.Tensor) -> set[str]:
    return {group for group, inside in zip(GROUPS, mask.tolist(), strict=True) if inside}


def test_every_seed_has_the_full_set_and_the_first_seed_each_folds_complement_too() -> None:
    found = made(seeds=[5, 1])
    assert found.seeds == [5, 1, 5, 5, 5, 5]
    assert found.folds == [None, None, 0, 1, 2, 3]


def test_training_watching_and_the_left_out_fold_share_out_the_examples_by_group() -> None:
    found = made()
    for p, fold in enumerate(found.folds):
        left_out = torch.tensor([fold is not None and assigned == fold for assigned in FOLDS])
        parts = found.train[:, p], found.watch[:, p], left_out
        assert (sum(part.int() for part in parts) == 1).all()
        names = [groups_of(part) for part in parts]
        assert not (names[0] & names[1] or names[0] & names[2] or names[1] & names[2])


def test_so_many_groups_are_watched() -> None:
    found = made(0.2)
    for p, fold in enumerate(found.folds):
        inside = PAIRS if fold is None else PAIRS - len({g for g, f in zip(GROUPS, FOLDS, strict=True) if f == fold})
        assert len(groups_of(found.watch[:, p])) == round(0.2 * inside)


def test_a_small_share_still_watches_a_group() -> None:
    assert (made(0.001).watch.sum(0) == 2).all()


def test_without_early_stopping_all_examples_outside_the_fold_are_trained_on() -> None:
    found = made(None)
    assert not found.watch.any()
    assert found.train.sum(0).tolist() == [2 * PAIRS] * 2 + [2 * PAIRS - FOLDS.count(fold) for fold in range(4)]


def test_watched_groups_depend_on_the_seed_and_the_groups_names_alone() -> None:
    found = made()
    assert groups_of(found.watch[:, 0]) != groups_of(found.watch[:, 1])
    reverse = make_problems(GROUPS[::-1], LABELS[::-1], FOLDS[::-1], [0, 1], 0.2, "set@train", 2)
    assert torch.equal(reverse.watch.flip(0), found.watch) and torch.equal(reverse.train.flip(0), found.train)


@pytest.mark.parametrize("positives", [0, 1])
@pytest.mark.parametrize("held_out", [None, 0.2])
def test_a_class_that_a_fold_cannot_train_on_is_a_sentence(positives: int, held_out: float | None) -> None:
    labels = [1] * positives + [0] * (2 * PAIRS - positives)
    with pytest.raises(
        TooFewGroups, match=r"set@train: too few groups of class 1 to train on in every fold; use fewer"
    ):
        make_problems(GROUPS, labels, FOLDS, [0], held_out, "set@train", 2)


def test_a_class_that_early_stopping_cannot_see_is_a_sentence() -> None:
    watched = made(0.2, [0]).watch.any(1)
    labels = [0 if watched[i] else LABELS[i] for i in range(2 * PAIRS)]
    with pytest.raises(CandorError, match=r"set@train: too few groups of class 1 to watch in early stopping"):
        make_problems(GROUPS, labels, FOLDS, [0], 0.2, "set@train", 2)
