"""Several heads, each the largest of its token scores: max over tokens of w_h·a, summed over heads.

A maximum keeps a short passage from being averaged away by the rest of a long text. After MultiMax of Kramár et al.,
Building Production-Ready Probes For Gemini (arXiv 2601.11516), section 3.2; theirs scores a small network's output at
each token, this one the activation itself.
"""

from torch import Tensor

from candor.config.probes import MultiMax
from candor.probes.features import Features

FEATURES = "tokens"


def projections(probe: MultiMax) -> int:
    """One for each head."""
    return probe.heads


def scoring(probe: MultiMax) -> int:
    """Every head's score counts."""
    return probe.heads


def pool(z: Tensor, mask: Tensor, probe: MultiMax, width: int) -> Tensor:
    """Sum over heads of the maximum of z over real tokens, [n, p]."""
    return z.masked_fill(~mask[..., None, None], float("-inf")).amax(1).sum(1)


def candidates(features: Features, probe: MultiMax) -> Features:
    """Every token, for each head."""
    return features
