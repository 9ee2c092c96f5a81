"""Draws of a few examples out of many (data/draws.py) as an experiment makes them, and what is to be said of them."""

from collections.abc import Sequence
from itertools import chain
from typing import NamedTuple

import numpy as np

from candor.data.draws import balanced_order, first_groups


class Drawn(NamedTuple):
    """Examples by index, in the order in which they were drawn."""

    examples: list[int]
    n_groups: int


class Ordering:
    """Groups in an order of which every beginning is balanced between classes."""

    def __init__(self, groups: Sequence[str], y: np.ndarray, seed: int) -> None:
        self._groups = balanced_order(groups, y.tolist(), seed)

    def first(self, size: int) -> Drawn:
        """As many whole groups from the beginning as hold at most `size` examples."""
        chosen = first_groups(self._groups, size)
        return Drawn(list(chain(*chosen)), len(chosen))


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
