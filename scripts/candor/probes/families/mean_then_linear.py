"""A linear map of the mean activation.

The function is that of `mean`; training differs in the scale of its inputs, which are standardised over examples'
means here and over tokens there.
"""

from torch import Tensor

from candor.config.probes import MeanThenLinear
from candor.probes.features import Features
from candor.probes.pooling import mean_rows

FEATURES = "mean"
PROJECTIONS = 1


def pool(z: Tensor, mask: Tensor, probe: MeanThenLinear, width: int) -> Tensor:
    """Mean of z over real tokens, [n, p]: the map is linear, so the mean may be taken before or after it."""
    real = mask[..., None]
    return (z[:, :, 0] * real).sum(1) / real.sum(1)


def candidates(features: Features, probe: MeanThenLinear) -> Features:
    """One row for each text, its mean activation."""
    return mean_rows(features)
