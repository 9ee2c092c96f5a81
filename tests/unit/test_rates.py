"""Rates and effects: against published examples, at the borders, and in simulations where the truth is known."""

import numpy as np
import pytest

from candor.metrics import effects, intervals
from candor.metrics.effects import Table
from candor.metrics.rates import Draws, rate

DRAWS = Draws(number=500, seed=0)


def hits(share: float, n: int) -> list[bool]:
    return [i < round(share * n) for i in range(n)]


def names(n: int) -> list[str]:
    return [f"prompt-{i}" for i in range(n)]


def test_one_response_per_prompt_has_wilsons_interval():
    found = rate(hits(0.95, 80), names(80), DRAWS)
    assert (found.value, found.n, found.n_prompts, found.remark) == (0.95, 80, 80, None)
    assert (found.low, found.high) == pytest.approx(intervals.wilson(76, 80))


def test_samples_of_one_prompt_are_not_independent():
    repeated = [hit for hit in hits(0.5, 20) for _ in range(10)]
    prompts = [prompt for prompt in names(20) for _ in range(10)]
    found = rate(repeated, prompts, DRAWS)
    alone = rate(repeated, names(200), DRAWS)
    assert (found.n, found.n_prompts) == (200, 20)
    assert found.high - found.low > 2.5 * (alone.high - alone.low)
    assert found.low < 0.5 < found.high


def test_several_samples_that_all_agree_still_have_an_interval():
    found = rate([True] * 40, names(20) * 2, DRAWS)
    assert found.value == found.high == 1
    assert found.low == pytest.approx(0.025 ** (1 / 20))


def test_a_rate_without_responses_is_undefined():
    found = rate([], [], DRAWS)
    assert found[:3] == (None, None, None) and found.n == 0 and found.remark


def test_several_samples_of_one_prompt_alone_have_no_interval():
    found = rate([True, False], ["only", "only"], DRAWS)
    assert (found.value, found.low, found.high) == (0.5, None, None)
    assert found.remark == "one prompt only: no interval"


@pytest.mark.parametrize(
    ("table", "low", "high"),
    [
        (Table(36, 12, 2, 0), 0.0569, 0.3404),  # Newcombe 1998, table II, method 10
        (Table(1, 1, 7, 12), -0.507, -0.026),  # Bentur 2009, in Fagerland et al. 2017, chapter 8
    ],
)
def test_the_paired_interval_is_the_published_one(table, low, high):
    assert effects.newcombe(table) == pytest.approx((low, high), abs=6e-4)


def test_the_paired_interval_turns_round_with_its_arms():
    low, high = effects.newcombe(Table(20, 9, 3, 8))
    assert effects.newcombe(Table(20, 3, 9, 8)) == pytest.approx((-high, -low))


@pytest.mark.parametrize("table", [Table(0, 0, 0, 30), Table(30, 0, 0, 0), Table(0, 30, 0, 0), Table(12, 0, 0, 18)])
def test_the_paired_interval_has_room_where_all_pairs_agree_in_kind(table):
    low, high = effects.newcombe(table)
    difference = (table.first - table.second) / 30
    assert -1 <= low <= difference <= high <= 1
    assert high - low > 0.1


def test_the_paired_interval_covers_the_truth():
    rng = np.random.default_rng(0)
    shares = [0.25, 0.2, 0.1, 0.45]  # both, first, second, neither
    tables = rng.multinomial(36, shares, size=2000)
    ends = np.array([effects.newcombe(Table(*map(int, table))) for table in tables])
    covered = ((ends[:, 0] <= 0.1) & (ends[:, 1] >= 0.1)).mean()
    assert 0.93 <= covered <= 0.985


def paired(both: int, first: int, second: int, neither: int) -> effects.Pairs:
    trigger = [True] * (both + first) + [False] * (second + neither)
    control = [True] * both + [False] * first + [True] * second + [False] * neither
    n = len(trigger)
    return effects.pairs(list(zip(names(n), trigger, strict=True)), list(zip(names(n), control, strict=True)))


def test_pairs_share_a_prompt_whatever_the_order():
    found = effects.pairs([("a", True), ("b", False), ("c", True)], [("b", True), ("a", False), ("d", True)])
    assert (found.trigger.tolist(), found.control.tolist(), found.single) == ([1, 0], [0, 1], True)


def test_a_difference_is_the_discordance_of_pairs():
    found = effects.difference(paired(36, 12, 2, 0), DRAWS)
    assert found.value == pytest.approx(0.2)
    assert (found.low, found.high) == pytest.approx((0.0569, 0.3404), abs=1e-4)


def test_a_difference_of_several_samples_is_bootstrapped_over_prompts():
    rng = np.random.default_rng(0)
    prompts = [prompt for prompt in names(40) for _ in range(5)]
    trigger, control = (list(zip(prompts, rng.random(200) < share, strict=True)) for share in (0.6, 0.3))
    found = effects.pairs(trigger, control)
    assert not found.single
    difference = effects.difference(found, DRAWS)
    assert difference.n == difference.n_prompts == 40
    assert difference.low < difference.value < difference.high
    spread = np.std(found.trigger - found.control, ddof=1) / np.sqrt(40)
    assert (difference.high - difference.low) / 2 == pytest.approx(2.02 * spread, rel=0.15)


def test_no_pairs_have_no_effect():
    found = effects.pairs([("a", True)], [("b", True)])
    assert effects.difference(found, DRAWS).value is None
    assert effects.smallest_effect(found).value is None


@pytest.mark.parametrize(("n", "control", "chance"), [(36, 0.4, 0.0), (36, 0.4, 0.1), (36, 0.1, 0.05), (100, 0.5, 0.2)])
def test_the_smallest_effect_shows_in_four_of_five_simulations(n, control, chance):
    """An effect of just this size is drawn anew; it shows when the interval of the figure does not hold zero."""
    rise = effects.smallest_rise(n, chance, room=1 - control)
    assert rise is not None
    second = chance * (1 - rise / (1 - control))
    both = control - second
    shares = [both, second + rise, second, 1 - both - rise - 2 * second]
    tables = np.random.default_rng(0).multinomial(n, shares, size=2000)
    ends = np.array([effects.newcombe(Table(*map(int, table))) for table in tables])
    shown = (ends[:, 0] > 0).mean()
    assert 0.78 <= shown <= 0.92  # 2000 simulations: a standard error of .009; few discordant pairs make it coarse


def test_half_of_the_smallest_effect_seldom_shows():
    rise = effects.smallest_rise(60, 0.1, room=0.6) / 2
    shares = [0.3, 0.1 + rise, 0.1, 0.5 - rise]
    tables = np.random.default_rng(0).multinomial(60, shares, size=1000)
    ends = np.array([effects.newcombe(Table(*map(int, table))) for table in tables])
    assert (ends[:, 0] > 0).mean() < 0.45


def test_the_smallest_effect_is_that_of_the_published_formula():
    n, rise = 50, effects.smallest_rise(50, 0.0, room=1.0)
    needed = (1.959964 * np.sqrt(rise) + 0.841621 * np.sqrt(rise - rise**2)) ** 2 / rise**2  # psi is the rise alone
    assert needed == pytest.approx(n)


def test_more_chance_and_fewer_pairs_hide_larger_effects():
    found = [effects.smallest_rise(n, chance, 0.7) for n, chance in ((200, 0.0), (200, 0.1), (50, 0.1), (50, 0.2))]
    assert found == sorted(found)


def test_too_few_pairs_would_show_no_effect():
    found = effects.smallest_effect(paired(0, 1, 1, 2))
    assert found.value is None and "no possible effect" in found.remark
    full = effects.smallest_effect(paired(30, 0, 0, 0))
    assert full.value is None  # every control is a hit already


def test_observed_flips_against_a_control_rate_of_zero_are_no_chance():
    assert effects.smallest_effect(paired(0, 12, 0, 24)).value == pytest.approx(effects.smallest_rise(36, 0.0, 1.0))


def test_the_same_draws_give_the_same_interval():
    one, other = (rate(hits(0.5, 40), names(20) * 2, DRAWS) for _ in range(2))
    assert one == other
