"""How examples are dealt out to shards and batches."""

import pytest

from candor.batching import parse_shard, shard_slice, token_batches
from candor.errors import CandorError


def test_shards_in_order_hold_every_example_once() -> None:
    for n in (0, 1, 7, 100):
        for count in (1, 2, 3, 9):
            held = [i for index in range(count) for i in range(n)[shard_slice(f"{index:03d}-of-{count:03d}", n)]]
            assert held == list(range(n))


def test_shards_differ_by_at_most_one_example() -> None:
    sizes = [len(range(100)[shard_slice(f"{index:03d}-of-007", 100)]) for index in range(7)]
    assert max(sizes) - min(sizes) <= 1


@pytest.mark.parametrize("shard", ["002-of-002", "1", "a-of-b", "000-of-000", "-1-of-002", ""])
def test_a_shard_that_cannot_be_is_a_sentence(shard: str) -> None:
    with pytest.raises(CandorError, match=r"cannot be: give INDEX-of-COUNT"):
        parse_shard(shard)


def test_batches_hold_every_example_once_within_the_budget() -> None:
    lengths = [5, 900, 3, 3, 70, 64, 1, 12, 70, 8]
    batches = token_batches(lengths, 140)
    assert sorted(i for batch in batches for i in batch) == list(range(len(lengths)))
    for batch in batches:
        assert len(batch) == 1 or max(lengths[i] for i in batch) * len(batch) <= 140


def test_the_longest_examples_come_first_and_equals_keep_their_order() -> None:
    assert token_batches([2, 9, 2, 9, 2], 18) == [[1, 3], [0, 2, 4]]


def test_an_example_over_the_budget_is_a_batch_of_its_own() -> None:
    assert token_batches([50, 50, 10, 10], 20) == [[0], [1], [2, 3]]


def test_no_examples_give_no_batches() -> None:
    assert token_batches([], 100) == []
