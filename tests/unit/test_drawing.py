"""Draws of a few examples: whole groups, balanced in class, each size within the next."""

from itertools import pairwise

import numpy as np

from candor.experiments.drawing import Ordering, complaint, note

PAIRS = [f"{i // 2}" for i in range(60)]
PAIR_Y = np.arange(60) % 2


def test_each_size_is_within_the_next_and_pairs_stay_whole() -> None:
    ordering = Ordering(PAIRS, PAIR_Y, 0)
    draws = [ordering.first(size) for size in (2, 4, 16, 60)]
    for smaller, larger in pairwise(draws):
        assert set(smaller.examples) < set(larger.examples)
    for size, draw in zip((2, 4, 16, 60), draws, strict=True):
        assert len(draw.examples) == size and draw.n_groups == size // 2
        assert {PAIRS[i] for i in draw.examples} == {PAIRS[i] for i in draw.examples if PAIR_Y[i]}


def test_single_examples_are_drawn_from_both_classes_by_turns_while_they_last() -> None:
    y = np.array([1] * 10 + [0] * 40)
    ordering = Ordering([str(i) for i in range(50)], y, 0)
    for size in (2, 4, 10, 20):
        assert y[ordering.first(size).examples].sum() == size // 2
    assert y[ordering.first(50).examples].sum() == 10


def test_a_draw_depends_on_its_seed_and_the_groups_names_alone() -> None:
    drawn = {seed: {PAIRS[i] for i in Ordering(PAIRS, PAIR_Y, seed).first(20).examples} for seed in (0, 1)}
    assert drawn[0] != drawn[1]
    order = np.random.default_rng(0).permutation(60)
    mixed = [PAIRS[i] for i in order]
    assert {mixed[i] for i in Ordering(mixed, PAIR_Y[order], 0).first(20).examples} == drawn[0]


def test_a_group_that_does_not_fit_is_not_torn_and_the_note_says_how_many_there_are() -> None:
    ordering = Ordering([f"{i // 3}" for i in range(12)], np.arange(12) % 2, 0)
    drawn = ordering.first(8)
    assert len(drawn.examples) == 6
    assert note([drawn], 8) == ["whole groups: 6 examples"] and note([drawn], 6) == []


def test_what_cannot_be_trained_on_is_said() -> None:
    drawn = [Ordering(PAIRS, PAIR_Y, 0).first(4)]
    assert complaint(drawn, PAIR_Y, 4, 60) is None
    assert complaint(drawn, PAIR_Y, 64, 60) == "60 examples are all there are"
    assert "lack a class" in (complaint([Ordering(PAIRS, PAIR_Y, 0).first(1)], PAIR_Y, 1, 60) or "")
