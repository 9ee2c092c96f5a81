"""Intervals: what is drawn, what widens them, what holds at the borders. Their coverage is in tests/planted."""

import numpy as np
import pytest

from candor.metrics import intervals
from candor.metrics.intervals import Sample


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def sample(*values: float, spread: float = 0.02, n_groups: int = 100, trials: int = 50, seed: int = 0) -> Sample:
    """A metric with one value per seed, whose draws differ by a normal error that all seeds share."""
    error = rng(seed).normal(size=(2000, 1)) * spread
    return Sample(np.array(values), np.array(values) + error, n_groups, trials)


def test_a_draw_takes_whole_groups_as_many_as_there_are():
    groups = np.array([0, 0, 1, 2, 2, 2])
    weights = intervals.group_weights(groups, np.array([1, 0, 1, 0, 0, 1], dtype=bool), 500, rng())
    assert (weights[:, 0] == weights[:, 1]).all() and (weights[:, 3] == weights[:, 5]).all()
    assert (weights[:, [0, 2, 3]].sum(axis=1) == 3).all()
    assert weights[:, [0, 2, 3]].mean(axis=0) == pytest.approx([1, 1, 1], abs=0.1)


def test_no_draw_loses_a_class_that_few_groups_hold():
    label = np.arange(20) == 0
    weights = intervals.group_weights(np.arange(20), label, 500, rng())
    assert (weights[:, 0] > 0).all()
    assert (weights[:, 1:].sum(axis=1) > 0).all()


def test_one_class_alone_is_drawn_without_end():
    weights = intervals.group_weights(np.arange(5), np.ones(5, dtype=bool), 50, rng())
    assert (weights.sum(axis=1) == 5).all()


def test_seed_noise_has_the_unbiased_variance_of_the_mean():
    values = np.array([0.8, 0.85, 0.95])
    noise = intervals.seed_noise(values, 50_000, rng())
    assert noise.var() == pytest.approx(values.var(ddof=1) / 3, rel=0.03)
    assert noise.mean() == pytest.approx(0, abs=1e-3)


def test_one_seed_has_no_seed_noise():
    assert not intervals.seed_noise(np.array([0.8]), 10, rng()).any()


def test_an_estimate_is_the_mean_over_datasets_and_seeds():
    found = intervals.mean_estimate([sample(0.7, 0.9), sample(0.5, 0.7, n_groups=30)], rng())
    assert found.value == pytest.approx(0.7)
    assert found.freedom == 99 + 29


def test_one_dataset_needs_no_list():
    one = sample(0.7, 0.9)
    alone, listed = intervals.estimate(*one, rng()), intervals.mean_estimate([one], rng())
    assert intervals.share_interval(alone) == intervals.share_interval(listed)


def test_seeds_that_differ_widen_the_interval():
    alike = intervals.share_interval(intervals.mean_estimate([sample(0.8, 0.8, 0.8)], rng()))
    apart = intervals.share_interval(intervals.mean_estimate([sample(0.7, 0.8, 0.9)], rng()))
    assert apart.low < alike.low < 0.8 < alike.high < apart.high


def test_two_datasets_with_errors_of_their_own_give_a_shorter_interval_than_one():
    one = intervals.share_interval(intervals.mean_estimate([sample(0.8)], rng()))
    two = intervals.share_interval(intervals.mean_estimate([sample(0.8), sample(0.8, seed=1)], rng()))
    assert two.high - two.low == pytest.approx((one.high - one.low) / np.sqrt(2), rel=0.05)


def test_an_interval_near_one_is_longer_below_and_stays_within():
    low, high = intervals.share_interval(intervals.mean_estimate([sample(0.98)], rng()))
    assert 0.98 - low > high - 0.98 > 0
    assert high < 1


def test_few_groups_widen_the_interval_as_students_t_does():
    few = intervals.difference_interval(intervals.mean_estimate([sample(0.5, n_groups=5)], rng()))
    many = intervals.difference_interval(intervals.mean_estimate([sample(0.5, n_groups=1000)], rng()))
    assert (few.high - few.low) / (many.high - many.low) == pytest.approx(2.776 / 1.962 * np.sqrt(5 / 4), rel=1e-2)


def test_a_single_group_has_no_interval():
    found = intervals.mean_estimate([sample(0.8, n_groups=1)], rng())
    assert np.isnan(intervals.share_interval(found)).all()
    assert np.isnan(intervals.p_value(found))


def test_perfect_separation_has_the_exact_binomial_lower_end():
    found = intervals.mean_estimate([sample(1, 1, 1, spread=0, trials=50)], rng())
    low, high = intervals.share_interval(found)
    assert high == 1
    assert low**50 == pytest.approx(0.025)
    assert low == pytest.approx(1 - 3.7 / 50, abs=0.005)  # the rule of three, two-sided


def test_a_rate_of_zero_has_room_above():
    low, high = intervals.share_interval(intervals.mean_estimate([sample(0, spread=0, trials=30)], rng()))
    assert low == 0
    assert (1 - high) ** 30 == pytest.approx(0.025)


def test_a_perfect_dataset_widens_the_mean_that_it_is_part_of():
    with_room = intervals.mean_estimate([sample(1, spread=0, trials=20), sample(0.8)], rng())
    without = intervals.mean_estimate([sample(1, spread=0, trials=10**9), sample(0.8)], rng())
    assert intervals.share_interval(with_room).low < intervals.share_interval(without).low - 0.05


@pytest.mark.parametrize(
    ("groups", "label", "pairs"),
    [
        ([0, 1, 2, 3], [1, 1, 0, 0], 2),  # groups of one label
        ([0, 0, 1, 1, 2, 2], [1, 0, 1, 0, 1, 0], 1),  # three groups that hold both: two make a pair, one is left
        ([0, 1, 2, 3, 4], [1, 0, 0, 0, 0], 1),  # one positive
        ([0, 0, 0, 0], [1, 0, 1, 0], 0),  # one group
    ],
)
def test_independent_pairs_share_no_group(groups, label, pairs):
    assert intervals.independent_pairs(np.array(groups), np.array(label, dtype=bool)) == pairs


def test_a_difference_of_alike_draws_is_sharper_than_its_parts():
    better = intervals.mean_estimate([sample(0.84)], rng())
    worse = intervals.mean_estimate([sample(0.80)], rng())
    other = intervals.mean_estimate([sample(0.80, seed=1)], rng())
    paired = intervals.difference_interval(intervals.difference(better, worse))
    apart = intervals.difference_interval(intervals.difference(better, other))
    assert paired == pytest.approx((0.04, 0.04))
    assert apart.low < 0 < apart.high


def test_two_perfect_monitors_are_not_known_to_be_equal():
    perfect = intervals.mean_estimate([sample(1, spread=0, trials=20)], rng())
    found = intervals.difference(perfect, perfect)
    low, high = intervals.difference_interval(found)
    assert low == -high < -0.1
    assert intervals.p_value(found) == 1


@pytest.mark.parametrize("value", [0.001, 0.03, 0.038, 0.042, 0.06, -0.038, -0.042])
def test_p_value_and_interval_agree(value):
    found = intervals.mean_estimate([sample(value)], rng())
    low, high = intervals.difference_interval(found)
    assert (intervals.p_value(found) < 0.05) == (low > 0 or high < 0)


def test_p_value_is_never_zero():
    assert intervals.p_value(intervals.mean_estimate([sample(0.9)], rng())) == 1 / 2001


def test_holm_steps_down_keeps_order_and_never_decreases():
    assert intervals.holm([0.04, 0.01, 0.03]) == pytest.approx([0.06, 0.03, 0.06])
    assert intervals.holm([0.5, 0.6]) == [1, 1]
    assert intervals.holm([]) == []


def test_holm_leaves_out_tests_that_could_not_be_made():
    corrected = intervals.holm([float("nan"), 0.02, 0.01])
    assert np.isnan(corrected[0])
    assert corrected[1:] == pytest.approx([0.02, 0.02])


@pytest.mark.parametrize(("successes", "n"), [(15, 100), (1, 10), (99, 100)])
def test_the_ends_of_wilson_are_the_proportions_that_a_score_test_just_keeps(successes, n):
    for end in intervals.wilson(successes, n):
        assert abs(successes / n - end) == pytest.approx(1.959964 * np.sqrt(end * (1 - end) / n))


def test_wilson_at_the_borders():
    assert intervals.wilson(0, 10) == pytest.approx((0, 0.2775), abs=1e-4)
    assert intervals.wilson(10, 10) == pytest.approx((0.7225, 1), abs=1e-4)
    assert np.isnan(intervals.wilson(0, 0)).all()


def test_the_same_numbers_give_the_same_interval():
    first, second = (intervals.share_interval(intervals.mean_estimate([sample(0.7, 0.8)], rng())) for _ in range(2))
    assert first == second
