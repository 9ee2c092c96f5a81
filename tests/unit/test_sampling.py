"""How tokens are drawn: what a draw depends on, which tokens are left, and in what shares they come."""

import numpy as np
import pytest
import torch
from torch import Tensor

from candor.config.samplings import Sampling
from candor.generations.sampling import BLOCK, draw, uniforms

KINDS = {
    "plain": {},
    "warm": {"temperature": 1.7},
    "top-k": {"top_k": 5},
    "top-k of all": {"top_k": 10_000},
    "top-p": {"top_p": 0.7},
    "top-p of nearly all": {"top_p": 0.9999, "temperature": 3.0},
    "little top-p": {"top_p": 1e-9},
    "all three": {"temperature": 0.6, "top_k": 50, "top_p": 0.95},
}
PINNED = [0.08782750986134535, 0.33548147534257644, 0.3921937597917925]
SIZES = [7, BLOCK, 3 * BLOCK + 1, 60 * BLOCK]


def logits(rows: int, vocabulary: int, seed: int = 0, spread: float = 3.0) -> Tensor:
    """Random logits [rows, vocabulary]."""
    return torch.randn(rows, vocabulary, generator=torch.Generator().manual_seed(seed)) * spread


def numbers(rows: int, seed: int = 1) -> Tensor:
    """Random numbers in [0, 1)."""
    return torch.rand(rows, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def shares(row: Tensor, sampling: Sampling) -> np.ndarray:
    """The probability of each token, worked out the plain way."""
    scaled = row.double().numpy() / sampling.temperature
    order = sorted(range(len(scaled)), key=lambda i: (-scaled[i], i))
    kept = order[: sampling.top_k or len(order)]
    mass = np.exp(scaled[kept] - scaled[kept].max())
    mass /= mass.sum()
    before = np.cumsum(mass) - mass
    mass[(before >= sampling.top_p) & (np.arange(len(mass)) > 0)] = 0
    found = np.zeros(len(scaled))
    found[kept] = mass / mass.sum()
    return found


class TestUniforms:
    def test_are_in_reach_and_the_same_each_time(self) -> None:
        found = uniforms(3, "a", 1, 1000)
        assert found.dtype == np.float64
        assert ((found >= 0) & (found < 1)).all()
        assert abs(found.mean() - 0.5) < 0.05
        assert (uniforms(3, "a", 1, 1000) == found).all()

    def test_a_step_s_number_does_not_depend_on_how_many_follow(self) -> None:
        assert (uniforms(3, "a", 1, 1000)[:7] == uniforms(3, "a", 1, 7)).all()

    @pytest.mark.parametrize("other", [(4, "a", 1), (3, "b", 1), (3, "a", 2), (3, "a,1", 1), (31, "a", 1)])
    def test_differ_by_seed_example_and_sample(self, other: tuple[int, str, int]) -> None:
        assert not (uniforms(*other, 20) == uniforms(3, "a", 1, 20)).any()

    def test_stay_as_they_were_when_this_was_written(self) -> None:
        assert uniforms(0, "example-1", 0, 3).tolist() == pytest.approx(PINNED, abs=1e-15)


class TestDraw:
    @pytest.mark.parametrize("vocabulary", SIZES)
    @pytest.mark.parametrize("options", KINDS.values(), ids=KINDS.keys())
    def test_tokens_come_in_their_shares(self, options: dict[str, float], vocabulary: int) -> None:
        sampling = Sampling(**options)
        row, n = logits(1, vocabulary), 300
        grid = (torch.arange(n, dtype=torch.float64) + 0.5) / n
        drawn = draw(row.expand(n, -1), grid, sampling)
        counts = np.bincount(drawn.numpy(), minlength=vocabulary)
        assert np.abs(counts - n * shares(row[0], sampling)).max() <= 1.01
        assert (drawn.diff() >= 0).all()  # in the order of ids

    @pytest.mark.parametrize("options", [{}, {"top_k": 4}, {"top_p": 0.8}], ids=str)
    @pytest.mark.parametrize("number", [0.0, 1 - 2.0**-53])
    def test_the_outermost_numbers_draw_tokens_that_have_a_share(
        self, options: dict[str, float], number: float
    ) -> None:
        sampling = Sampling(**options)
        rows = logits(20, 300).index_fill(1, torch.tensor([0, 1, 298, 299]), -torch.inf)
        for row, token in zip(rows, draw(rows, torch.full((20,), number, dtype=torch.float64), sampling), strict=True):
            assert shares(row, sampling)[token] > 0

    @pytest.mark.parametrize("options", KINDS.values(), ids=KINDS.keys())
    def test_a_row_s_draw_does_not_depend_on_its_neighbours(self, options: dict[str, float]) -> None:
        sampling, rows, uniform = Sampling(**options), logits(64, 500), numbers(64)
        order = torch.randperm(64, generator=torch.Generator().manual_seed(2))
        together = draw(rows, uniform, sampling)
        assert (draw(rows[order], uniform[order], sampling) == together[order]).all()
        assert [int(draw(rows[i : i + 1], uniform[i : i + 1], sampling)) for i in range(64)] == together.tolist()

    @pytest.mark.parametrize("options", KINDS.values(), ids=KINDS.keys())
    def test_rounding_does_not_change_it(self, options: dict[str, float]) -> None:
        sampling, rows, uniform = Sampling(**options), logits(64, 1000), numbers(64)
        rounded = rows + 1e-6 * logits(64, 1000, seed=5)
        assert (draw(rounded, uniform, sampling) == draw(rows, uniform, sampling)).all()

    def test_two_tokens_of_nearly_one_probability_may_change_places(self) -> None:
        rows, uniform = torch.tensor([[1.0, 5.0, 5.0 + 1e-6, 0.0]]), torch.tensor([0.3], dtype=torch.float64)
        swapped = rows[:, [0, 2, 1, 3]]
        for options in ({}, {"top_k": 3}, {"top_p": 0.99}):
            sampling = Sampling(**options)
            assert draw(rows, uniform, sampling) == draw(swapped, uniform, sampling) == 1

    @pytest.mark.parametrize("vocabulary", SIZES)
    def test_of_equal_tokens_the_lower_ids_stay(self, vocabulary: int) -> None:
        row = torch.zeros(1, vocabulary)
        row[0, 3] = 2
        grid = (torch.arange(200, dtype=torch.float64) + 0.5) / 200
        assert set(draw(row.expand(200, -1), grid, Sampling(top_k=4)).tolist()) == {0, 1, 2, 3}
        half = float(torch.softmax(row.double(), -1)[0, [0, 1, 3]].sum()) - 1e-9
        assert set(draw(row.expand(200, -1), grid, Sampling(top_p=half)).tolist()) == {0, 1, 3}

    def test_temperature_0_takes_the_likeliest_and_of_equals_the_first(self) -> None:
        rows = torch.tensor([[0.0, 3.0, 3.0], [5.0, 1.0, 2.0]])
        assert draw(rows, numbers(2), Sampling(temperature=0, top_k=2, top_p=0.5)).tolist() == [1, 0]

    def test_half_precision_is_drawn_from_in_full(self) -> None:
        rows = logits(16, 1000).bfloat16()
        for options in KINDS.values():
            sampling = Sampling(**options)
            assert (draw(rows, numbers(16), sampling) == draw(rows.float(), numbers(16), sampling)).all()
