"""What is computed over each example's rows is what a loop over examples computes."""

import pytest
import torch
from torch import Tensor

from candor.probes.texts import Texts

LENGTHS = torch.tensor([3, 1, 5, 2])


def values(*leading: int) -> Tensor:
    return torch.randn(*leading, int(LENGTHS.sum()), generator=torch.Generator().manual_seed(0))


def parts(given: Tensor) -> tuple[Tensor, ...]:
    return given.split(LENGTHS.tolist(), -1)


@pytest.mark.parametrize("leading", [(), (2,), (2, 3)])
def test_reductions_are_those_of_each_example_alone(leading: tuple[int, ...]) -> None:
    texts, given = Texts(LENGTHS), values(*leading)
    torch.testing.assert_close(texts.sum(given), torch.stack([part.sum(-1) for part in parts(given)], -1))
    torch.testing.assert_close(texts.mean(given), torch.stack([part.mean(-1) for part in parts(given)], -1))
    assert torch.equal(texts.amax(given), torch.stack([part.amax(-1) for part in parts(given)], -1))
    torch.testing.assert_close(texts.softmax(given), torch.cat([part.softmax(-1) for part in parts(given)], -1))


@pytest.mark.parametrize("leading", [(), (2,), (2, 3)])
def test_the_largest_row_is_found_where_it_stands_among_all_rows(leading: tuple[int, ...]) -> None:
    given = values(*leading)
    starts = LENGTHS.cumsum(0) - LENGTHS
    wanted = torch.stack([part.argmax(-1) for part in parts(given)], -1) + starts
    assert torch.equal(Texts(LENGTHS).argmax(given), wanted)


def test_of_equals_the_first_is_the_largest_whatever_stands_before_it() -> None:
    given = torch.tensor([[1.0, 4.0, 4.0, 4.0, 4.0, 0.0, 4.0, 4.0, 4.0, 2.0, 2.0]])
    assert Texts(LENGTHS).argmax(given).tolist() == [[1, 3, 4, 9]]


def test_a_softmax_of_large_numbers_is_finite() -> None:
    found = Texts(LENGTHS).softmax(values(2) * 1e4)
    assert found.isfinite().all()
    torch.testing.assert_close(Texts(LENGTHS).sum(found), torch.ones(2, 4))


def test_windows_start_where_all_their_rows_are_of_one_example_or_it_is_shorter() -> None:
    starts = Texts(LENGTHS).starts_of_windows(2).nonzero().flatten().tolist()
    assert starts == [0, 1, 3, 4, 5, 6, 7, 9]


def test_runs_hold_every_row_once_and_in_order() -> None:
    found = list(Texts(LENGTHS).runs(3))
    assert [rows for rows, _ in found] == [slice(0, 9), slice(9, 11)]
    assert [lengths.tolist() for _, lengths in found] == [[3, 1, 5], [2]]
