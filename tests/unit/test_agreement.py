"""Kappa of two judges and of more: hand-worked tables, another library's numbers, and what is undefined."""

import numpy as np
import pytest

from candor.metrics.agreement import cohen_kappa, fleiss_kappa
from candor.metrics.rates import Draws

DRAWS = Draws(number=500, seed=0)
PUBLISHED = [
    (0, 0, 0, 0, 14),
    (0, 2, 6, 4, 2),
    (0, 0, 3, 5, 6),
    (0, 3, 9, 2, 0),
    (2, 2, 8, 1, 1),
    (7, 7, 0, 0, 0),
    (3, 2, 6, 3, 0),
    (2, 5, 3, 2, 2),
    (6, 5, 2, 1, 0),
    (0, 2, 2, 3, 7),
]
"""Ten subjects by fourteen raters in five classes, the worked example of the encyclopaedia's article on the measure."""
FOUR_JUDGES = (
    "2222 1121 2222 2220 1211 2222 2222 2000 0020 0000 0100 2222 2212 0000 1111 2022 0000 1122 0022 1111 "
    "0222 1012 1111 1000 2122 0010 0212 1111 1111 1111 1101 1111 1011 1202 1222 2122 2220 1111 1101 2222"
).split()
"""Forty texts, a digit for each judge's verdict: a truth that a judge repeats in 70 % of cases and else draws anew."""


def names(n: int) -> list[str]:
    return [f"group-{i}" for i in range(n)]


def spelt_out(counts: tuple[int, ...]) -> list[str]:
    """Verdicts on a text, from how many judges gave each."""
    return [name for name, count in zip("abcde", counts, strict=True) for _ in range(count)]


class TestFleiss:
    def test_the_published_example(self) -> None:
        found = fleiss_kappa([spelt_out(counts) for counts in PUBLISHED], names(10), DRAWS)
        assert found.value == pytest.approx(0.210, abs=5e-4)
        assert (found.n, found.n_prompts, found.remark) == (10, 10, None)

    def test_a_table_worked_by_hand(self) -> None:
        """Three judges: pairs agree on 1, 1/3, 1/3 and 1 of a text's three, mean 2/3; p = 7/12 and 5/12, P_e = 74/144.

        (2/3 - 74/144) / (1 - 74/144) = (96 - 74) / (144 - 74) = 22/70.
        """
        found = fleiss_kappa([("y", "y", "y"), ("y", "y", "n"), ("y", "n", "y"), ("n", "n", "n")], names(4), DRAWS)
        assert found.value == pytest.approx(22 / 70)

    def test_statsmodels_gives_the_same(self) -> None:
        """statsmodels 0.15.0: fleiss_kappa(aggregate_raters(digits)[0]), method "fleiss"; the published table too."""
        assert fleiss_kappa(FOUR_JUDGES, names(40), DRAWS).value == pytest.approx(0.5098858256752993, abs=1e-12)
        published = fleiss_kappa([spelt_out(counts) for counts in PUBLISHED], names(10), DRAWS)
        assert published.value == pytest.approx(0.20993070442195522, abs=1e-12)

    def test_two_judges_have_scotts_pi_which_is_not_cohens_kappa(self) -> None:
        """Agreement 3/4; all verdicts are 5 y and 3 n: P_e = 34/64, (48 - 34) / (64 - 34)."""
        pairs = [("y", "y"), ("y", "y"), ("n", "n"), ("y", "n")]
        assert fleiss_kappa(pairs, names(4), DRAWS).value == pytest.approx(14 / 30)
        one, other = ([pair[i] for pair in pairs] for i in (0, 1))
        assert cohen_kappa(one, other, names(4), DRAWS).value == pytest.approx(0.5)

    def test_judges_that_agree_throughout_are_not_known_to_be_one(self) -> None:
        found = fleiss_kappa(["aaa", "bbb"] * 10, names(20), DRAWS)
        assert found.value == found.high == 1
        assert found.low == pytest.approx(0.025 ** (1 / 20))

    def test_fewer_agreements_than_by_chance_are_below_zero(self) -> None:
        found = fleiss_kappa(["ab"] * 12, names(12), DRAWS)
        assert found.value == pytest.approx(-1)

    def test_it_is_undefined_where_all_say_the_same(self) -> None:
        found = fleiss_kappa(["aaa"] * 9, names(9), DRAWS)
        assert found == (None, None, None, 9, 9, "undefined: one class only")
        assert fleiss_kappa([], [], DRAWS).value is None

    def test_texts_of_one_group_count_as_one_for_the_interval(self) -> None:
        apart = fleiss_kappa(FOUR_JUDGES * 2, names(80), DRAWS)
        together = fleiss_kappa(FOUR_JUDGES * 2, names(40) * 2, DRAWS)
        assert together.value == pytest.approx(apart.value)
        assert (together.n, together.n_prompts) == (80, 40)
        assert together.low is not None and together.high is not None
        assert apart.low is not None and apart.high is not None
        assert together.high - together.low > 1.3 * (apart.high - apart.low)

    def test_a_single_group_has_no_interval(self) -> None:
        found = fleiss_kappa(["aab", "abb", "aaa"], ["only"] * 3, DRAWS)
        assert found.value is not None and (found.low, found.high) == (None, None) and found.remark

    def test_the_interval_covers_the_truth(self) -> None:
        """Judges who repeat a fair truth with chance r and else toss a coin: kappa is r^2."""
        rng, covered = np.random.default_rng(0), 0
        for _ in range(60):
            truth = rng.integers(2, size=(80, 1))
            said = np.where(rng.random((80, 3)) < 0.8, truth, rng.integers(2, size=(80, 3)))
            found = fleiss_kappa([["ab"[i] for i in row] for row in said.tolist()], names(80), Draws(200, 0))
            assert found.low is not None and found.high is not None
            covered += found.low <= 0.64 <= found.high
        assert covered >= 52  # of 57 that are due, less three standard errors of sixty simulations


class TestCohen:
    def test_a_textbook_table(self) -> None:
        one = ["yes"] * 25 + ["no"] * 25
        other = ["yes"] * 20 + ["no"] * 5 + ["yes"] * 10 + ["no"] * 15
        assert cohen_kappa(one, other, names(50), DRAWS).value == pytest.approx(0.4)

    @pytest.mark.parametrize(("judges", "value"), [((0, 1), 0.5042897998093423), ((2, 3), 0.5765158806544755)])
    def test_statsmodels_gives_the_same(self, judges: tuple[int, int], value: float) -> None:
        """statsmodels 0.15.0: cohens_kappa of the 3 by 3 table of two judges; its intervals are asymptotic."""
        one, other = ([text[judge] for text in FOUR_JUDGES] for judge in judges)
        found = cohen_kappa(one, other, names(40), DRAWS)
        assert found.value == pytest.approx(value, abs=1e-12)
        low, high = {(0, 1): (0.2860, 0.7226), (2, 3): (0.3654, 0.7876)}[judges]
        assert (found.low, found.high) == pytest.approx((low, high), abs=0.05)

    @pytest.mark.parametrize(("one", "other"), [("aaaa", "aaaa"), ("aaaa", "bbbb"), ("aaaa", "aabb"), ("abab", "bbbb")])
    def test_it_is_undefined_where_a_judge_has_one_verdict(self, one: str, other: str) -> None:
        found = cohen_kappa(list(one), list(other), names(4), DRAWS)
        assert found == (None, None, None, 4, 4, "undefined: one class only")

    def test_judges_that_agree_throughout_are_not_known_to_be_one(self) -> None:
        found = cohen_kappa(["yes", "no"] * 10, ["yes", "no"] * 10, names(20), DRAWS)
        assert found.value == found.high == 1
        assert found.low is not None and 0.7 < found.low < 0.9

    def test_texts_of_one_group_count_as_one_for_the_interval(self) -> None:
        rng = np.random.default_rng(0)
        calls = [("yes", "no")[i] for i in rng.integers(2, size=60)]
        others = [call if rng.random() < 0.7 else "no" for call in calls]
        apart = cohen_kappa(calls * 2, others * 2, names(120), DRAWS)
        together = cohen_kappa(calls * 2, others * 2, names(60) * 2, DRAWS)
        assert None not in (apart.low, apart.high, together.low, together.high)
        assert together.value == pytest.approx(apart.value)
        assert together.high - together.low > 1.3 * (apart.high - apart.low)  # type: ignore[operator]

    def test_without_texts_it_is_undefined(self) -> None:
        found = cohen_kappa([], [], [], DRAWS)
        assert found.value is None and found.n == 0 and found.remark == "no response that counts"


def test_the_same_draws_give_the_same_interval() -> None:
    one, other = (fleiss_kappa(FOUR_JUDGES, names(40), DRAWS) for _ in range(2))
    assert one == other
