"""Examples whose rows lie end to end, and what is computed over each one's rows without padding."""

from collections.abc import Callable, Iterator

import numpy as np
import torch
from torch import Tensor

WithGradient = tuple[Tensor, Callable[[Tensor], Tensor]]
"""Scores, and the function from their gradient to that of what they were made of."""


class Texts:
    """n examples of `lengths` int64 [n] rows each, at least one; rows are the last axis of what is given.

    NumPy reduces runs of an array at the speed of the memory, torch's reductions by segment at a tenth of that.
    """

    def __init__(self, lengths: Tensor) -> None:
        self.lengths = lengths
        self._owner = torch.repeat_interleave(lengths)
        self._starts = (lengths.cumsum(0) - lengths).numpy()

    def sum(self, values: Tensor) -> Tensor:
        """Sums [..., n] over each example's rows of values [..., rows]."""
        return torch.from_numpy(np.add.reduceat(values.numpy(), self._starts, axis=-1))

    def mean(self, values: Tensor) -> Tensor:
        """Means [..., n] over each example's rows of values [..., rows]."""
        return self.sum(values) / self.lengths.to(values.dtype)

    def amax(self, values: Tensor) -> Tensor:
        """Largest [..., n] of each example's values [..., rows]."""
        return torch.from_numpy(np.maximum.reduceat(values.numpy(), self._starts, axis=-1))

    def spread(self, of_examples: Tensor) -> Tensor:
        """[..., rows]: for each row its example's number of [..., n]."""
        flat = of_examples.reshape(-1, of_examples.shape[-1])  # index_select is slow where there are more axes
        return flat.index_select(1, self._owner).view(*of_examples.shape[:-1], -1)

    def softmax(self, values: Tensor) -> Tensor:
        """Softmax over each example's rows of values [..., rows]."""
        powers = (values - self.spread(self.amax(values))).exp_()
        return powers.div_(self.spread(self.sum(powers)))

    def argmax(self, values: Tensor) -> Tensor:
        """Where the first of the largest of each example's values [..., rows] stands: int64 [..., n] on that axis."""
        below = values < self.spread(self.amax(values))
        # numbers of all values that are not, through all problems: the first one from each example's start is sought
        largest = np.flatnonzero(~below.numpy())
        count = len(self._owner)
        before = np.arange(0, values.numel(), count)[:, None]
        found = largest[np.searchsorted(largest, before + self._starts)] - before
        return torch.from_numpy(found).view(*values.shape[:-1], -1)

    def starts_of_windows(self, window: int) -> Tensor:
        """bool [rows]: where a window of so many rows of one example starts; of a shorter example, at its first row."""
        ends = self.lengths.cumsum(0)
        starts = torch.arange(len(self._owner)) + window <= self.spread(ends)
        starts[torch.from_numpy(self._starts)] = True
        return starts

    def runs(self, size: int) -> Iterator[tuple[slice, Tensor]]:
        """So many examples at a time: their rows, and their lengths."""
        start = 0
        for lengths in self.lengths.split(size):
            stop = start + int(lengths.sum())
            yield slice(start, stop), lengths
            start = stop
