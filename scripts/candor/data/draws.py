"""Draws of whole groups: nested, so that a smaller draw is part of a larger one, and balanced by class."""

from collections import Counter
from collections.abc import Sequence

from candor.data.examples import shuffled


def balanced_order(groups: Sequence[str], labels: Sequence[str], seed: int) -> list[list[int]]:
    """The examples of each group, by index, the groups in an order whose every start has its classes in balance.

    The order depends on the seed and the groups' names alone. A group that would bring the classes further apart than
    one group can waits until others have made up for it; what can never be made up for comes last.
    """
    members: dict[str, list[int]] = {}
    for i, group in enumerate(groups):
        members.setdefault(group, []).append(i)
    classes = sorted(set(labels))
    own = {group: Counter(labels[i] for i in inside) for group, inside in members.items()}
    total: Counter[str] = Counter()
    order: list[list[int]] = []
    waiting: list[str] = []

    def apart(counts: Counter[str]) -> int:
        return max(counts[name] for name in classes) - min(counts[name] for name in classes)

    def take(group: str) -> bool:
        fits = apart(total + own[group]) <= max(apart(total), apart(own[group]))
        if fits:
            total.update(own[group])
            order.append(members[group])
        return fits

    for group in shuffled(groups, seed):
        if not take(group):
            waiting.append(group)
            continue
        while (found := next((each for each in waiting if take(each)), None)) is not None:
            waiting.remove(found)
    return order + [members[group] for group in waiting]


def first_groups(order: Sequence[Sequence[int]], limit: int | None) -> list[int]:
    """The examples of as many groups from the start as hold at most `limit`, in ascending order; None: of all."""
    found: list[int] = []
    for inside in order:
        if limit is not None and len(found) + len(inside) > limit:
            break
        found += inside
    return sorted(found)
