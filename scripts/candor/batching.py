"""How examples are spread over shards, chunks and batches. All three depend on the data alone, never on the machine."""

from collections.abc import Sequence

from candor.errors import CandorError


def parse_shard(shard: str) -> tuple[int, int]:
    """`000-of-002` as (0, 2); CandorError for a shard that cannot be."""
    index, _, count = shard.partition("-of-")
    if not (index.isdigit() and count.isdigit() and int(index) < int(count)):
        raise CandorError(f"shard {shard!r} cannot be: give INDEX-of-COUNT with INDEX below COUNT, as in 000-of-002")
    return int(index), int(count)


def shard_slice(shard: str, n: int) -> slice:
    """The contiguous run of examples that a shard holds; shards in order give all `n`, each once."""
    index, count = parse_shard(shard)
    return slice(index * n // count, (index + 1) * n // count)


def token_batches(lengths: Sequence[int], batch_tokens: int) -> list[list[int]]:
    """Batches of indices, longest examples first, each of at most `batch_tokens` tokens with its padding.

    Sorting by length keeps padding low; starting with the longest shows at once whether memory is enough. An example
    longer than the budget is a batch of its own.
    """
    order = sorted(range(len(lengths)), key=lambda i: (-lengths[i], i))
    batches: list[list[int]] = []
    for i in order:
        if batches and lengths[batches[-1][0]] * (len(batches[-1]) + 1) <= batch_tokens:
            batches[-1].append(i)
        else:
            batches.append([i])
    return batches
