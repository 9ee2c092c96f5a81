"""Mean over tokens of the token scores.

The function is that of `mean_then_linear`, linear in the mean activation; training differs in the scale of its inputs,
which are standardised over tokens here and over examples' means there.
"""

from torch import Tensor

from candor.config.probes import Mean
from candor.probes.features import Features
from candor.probes.pooling import mean_rows

FEATURES = "tokens"
PROJECTIONS = 1


def pool(z: Tensor, mask: Tensor, probe: Mean, width: int) -> Tensor:
    """Mean of z over real tokens, [n, p]."""
    real = mask[..., None]
    return (z[:, :, 0] * real).sum(1) / real.sum(1)


def candidates(features: Features, probe: Mean) -> Features:
    """One row for each text, its mean activation: the mean of projections is the projection of the mean."""
    return mean_rows(features)
