"""Draws of a few examples out of many: whole groups, balanced in class, each size within the next."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from candor.data.examples import shuffled


class Drawn(NamedTuple):
    """Examples by index, in the order in which they were drawn."""

    examples: list[int]
    n_groups: int


class Ordering:
    """Groups in an order, by seed and name, of which every beginning is balanced between classes.

    Of the groups that balance what stands before them best, the first in a shuffled order comes next. So pairs stand in
    that order, and single examples alternate between classes for as long as both are left.
    """

    def __init__(self, groups: Sequence[str], y: np.ndarray, seed: int) -> None:
        members: dict[str, list[int]] = {}
        for i, group in enumerate(groups):
            members.setdefault(group, []).append(i)
        waiting: dict[int, list[str]] = {}  # by how many more of class 1 than of class 0 a group holds
        place = {}
        for rank, group in enumerate(shuffled(groups, seed)):
            surplus = int(sum(1 if y[i] else -1 for i in members[group]))
            waiting.setdefault(surplus, []).append(group)
            place[group] = rank
        for queue in waiting.values():
            queue.reverse()
        balance = 0
        self._groups: list[list[int]] = []
        while waiting:
            surplus = min(waiting, key=lambda s: (abs(balance + s), place[waiting[s][-1]]))
            self._groups.append(members[waiting[surplus].pop()])
            balance += surplus
            if not waiting[surplus]:
                del waiting[surplus]
        self.n_examples = len(groups)

    def first(self, size: int) -> Drawn:
        """As many whole groups from the beginning as hold at most `size` examples."""
        chosen: list[int] = []
        for count, members in enumerate(self._groups):
            if len(chosen) + len(members) > size:
                return Drawn(chosen, count)
            chosen += members
        return Drawn(chosen, len(self._groups))


def complaint(drawn: Sequence[Drawn], y: np.ndarray, size: int, available: int) -> str | None:
    """Why one size cannot be trained on in every run; None where it can."""
    if available < size:
        return f"{available} examples are all there are"
    if any(len(set(y[each.examples].tolist())) < 2 for each in drawn):
        return "whole groups of so few examples lack a class"
    return None


def note(drawn: Sequence[Drawn], size: int) -> list[str]:
    """What is to be known of draws that whole groups keep below their size."""
    counts = sorted({len(each.examples) for each in drawn} - {size})
    return [f"whole groups: {' or '.join(map(str, counts))} examples"] if counts else []
