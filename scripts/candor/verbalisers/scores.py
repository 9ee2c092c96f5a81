"""How much of an activation a reconstruction keeps. Only directions count: vectors are scaled to length 1 first.

The formulas are those of natural language autoencoders (natural_language_autoencoders, its worked transcripts).
Squared errors are sums over a vector of length 1, which is the same as means over one of length sqrt(width).
"""

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np


class Scores(NamedTuple):
    """Of one reconstruction: squared error 0 to 4, cosine, and the fraction of variance explained, at most 1."""

    mse: float
    cosine: float
    fve: float


def directions(vectors: np.ndarray) -> np.ndarray:
    """Vectors [n, width] at length 1, float64; a vector of zeros stays one."""
    values = np.asarray(vectors, dtype=np.float64)
    largest = np.abs(values).max(axis=-1, keepdims=True)
    scaled = values / np.where(largest > 0, largest, 1)  # no square of a large activation overflows
    length = np.linalg.norm(scaled, axis=-1, keepdims=True)
    found: np.ndarray = scaled / np.where(length > 0, length, 1)
    return found


def cosines(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Cosine of each pair of vectors, float64 [n], for [n, width] each."""
    found: np.ndarray = np.clip((directions(one) * directions(other)).sum(-1), -1, 1)
    return found


def mse_of(cosine: float) -> float:
    """Squared error between two directions: 2 (1 - cosine); 0 the same, 2 orthogonal, 4 opposite."""
    return 2 * (1 - cosine)


def mse_of_mean(blocks: Iterable[np.ndarray]) -> float:
    """Mean squared error of predicting the mean of the directions of vectors, in blocks [n, width]: 1 - |mean|^2.

    It is their variance; 0.7335 for Qwen2.5-7B at layer 20, on the training data of the released verbaliser. Vectors of
    zeros and those that are not finite have no direction and do not count; of none it is 0.
    """
    total, n = np.zeros(1), 0
    for block in blocks:
        pointing = block[np.isfinite(block).all(axis=-1) & block.any(axis=-1)]
        total = total + directions(pointing).sum(axis=0)
        n += len(pointing)
    mean = total / max(n, 1)
    return max(1 - float(mean @ mean), 0.0) if n else 0.0


def explained(mse: float, mean_mse: float) -> float:
    """Fraction of variance explained: 1 - mse / mse of the mean. Negative where the mean would have been nearer."""
    return 1 - mse / mean_mse


def scores(reconstructed: np.ndarray, originals: np.ndarray, mean_mse: float) -> list[Scores]:
    """The scores of reconstructions [n, width] of activations [n, width]."""
    found = cosines(reconstructed, originals).tolist()
    return [Scores(mse_of(cosine), cosine, explained(mse_of(cosine), mean_mse)) for cosine in found]
