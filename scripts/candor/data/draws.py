"""Draws of whole groups: nested, so that a smaller draw is part of a larger one, and balanced by class."""

from collections.abc import Hashable, Sequence
from itertools import accumulate

from candor.data.examples import shuffled


def balanced_order(groups: Sequence[str], labels: Sequence[Hashable], seed: int) -> list[list[int]]:
    """The examples of each group, by index, the groups in an order whose every start has its classes in balance.

    Of the groups that bring the classes' counts nearest to one another, the first in a shuffled order comes next, which
    depends on the seed and the groups' names alone. So pairs stand in that order, and single examples alternate between
    classes for as long as there are some of each.
    """
    members: dict[str, list[int]] = {}
    for i, group in enumerate(groups):
        members.setdefault(group, []).append(i)
    classes = sorted(set(labels), key=str)
    place: dict[str, int] = {}
    waiting: dict[tuple[int, ...], list[str]] = {}  # by how many of each class a group holds; the next one last
    for rank, group in enumerate(shuffled(members, seed)):
        place[group] = rank
        own = [labels[i] for i in members[group]]
        waiting.setdefault(tuple(own.count(name) for name in classes), []).append(group)
    for queue in waiting.values():
        queue.reverse()
    total = [0] * len(classes)

    def apart(counts: tuple[int, ...]) -> tuple[int, int]:
        after = [have + more for have, more in zip(total, counts, strict=True)]
        return max(after) - min(after), place[waiting[counts][-1]]

    order = []
    while waiting:
        counts = min(waiting, key=apart)
        order.append(members[waiting[counts].pop()])
        total = [have + more for have, more in zip(total, counts, strict=True)]
        if not waiting[counts]:
            del waiting[counts]
    return order


def first_groups(order: Sequence[list[int]], limit: int | None) -> list[list[int]]:
    """As many groups from the start as hold at most `limit` examples; None: all."""
    if limit is None:
        return list(order)
    held = accumulate(map(len, order))
    return [inside for inside, count in zip(order, held, strict=True) if count <= limit]
