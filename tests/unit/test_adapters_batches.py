"""Which examples share a batch, a step and a pass."""

import numpy as np
import pytest

from candor.adapters.batches import epoch_batches, evaluation_steps, passes, shared_out, steps_of

LENGTHS = [int(n) for n in np.random.default_rng(0).integers(10, 200, 101)]
KINDS = ["length_grouped", "packed", "shuffled"]


def batches(batching: str, seed: int = 0, epoch: int = 0) -> list[list[int]]:
    return epoch_batches(LENGTHS, batching, 4, 256, seed, epoch)


def spread(found: list[list[int]]) -> float:
    """Padding that the batches would need, as a share of all tokens."""
    return sum(max(LENGTHS[i] for i in each) * len(each) for each in found) / sum(LENGTHS) - 1


@pytest.mark.parametrize("batching", KINDS)
def test_an_epoch_holds_every_example_once_in_an_order_of_its_own(batching: str) -> None:
    found = batches(batching)
    assert sorted(i for each in found for i in each) == list(range(len(LENGTHS)))
    assert found == batches(batching)
    assert found != batches(batching, epoch=1)
    assert found != batches(batching, seed=1)
    assert batches(batching, seed=-1) == batches(batching, seed=-1)


def test_length_grouped_batches_are_of_like_lengths_in_random_order() -> None:
    found = batches("length_grouped")
    assert [len(each) for each in found].count(4) == 25
    assert spread(found) < 0.05 < spread(batches("shuffled"))
    means = [np.mean([LENGTHS[i] for i in each]) for each in found]
    assert abs(np.corrcoef(means, range(len(means)))[0, 1]) < 0.5


def test_packed_batches_fill_their_rows() -> None:
    loads = [sum(LENGTHS[i] for i in each) for each in batches("packed")]
    assert max(loads) <= 4 * 256
    assert min(loads[:-1]) > 4 * 256 - max(LENGTHS)


@pytest.mark.parametrize(("accumulation", "sizes"), [(1, [1] * 5), (2, [2, 2, 1]), (5, [5]), (99, [5])])
def test_the_last_step_takes_the_batches_that_are_left(accumulation: int, sizes: list[int]) -> None:
    steps = steps_of([[i] for i in range(5)], accumulation)
    assert [len(step) for step in steps] == sizes
    assert [i for step in steps for batch in step for i in batch] == list(range(5))


@pytest.mark.parametrize(
    ("n_steps", "evaluations", "after"), [(10, 1, {10}), (10, 2, {5, 10}), (7, 3, {2, 5, 7}), (2, 9, {1, 2})]
)
def test_validations_are_spread_over_an_epoch_and_the_last_step_has_one(
    n_steps: int, evaluations: int, after: set[int]
) -> None:
    assert evaluation_steps(n_steps, evaluations) == after


def test_processes_share_a_batch_out_by_length() -> None:
    batch = list(range(11))
    parts = [shared_out(batch, LENGTHS, rank, 3) for rank in range(3)]
    assert sorted(i for part in parts for i in part) == batch
    assert {len(part) for part in parts} == {3, 4}
    longest = sorted(batch, key=lambda i: -LENGTHS[i])[:3]
    assert [part[0] for part in parts] == longest


def test_a_pass_is_a_batch_or_as_many_tokens_as_are_read_at_once() -> None:
    step = [[0, 1, 2], [3], [], [4, 5]]
    assert [sorted(each) for each in passes(step, LENGTHS, None)] == [[0, 1, 2], [3], [4, 5]]
    found = passes(step, LENGTHS, 150)
    assert sorted(i for each in found for i in each) == [0, 1, 2, 3, 4, 5]
    for each in found:
        assert sum(LENGTHS[i] for i in each) <= 150 or len(each) == 1
