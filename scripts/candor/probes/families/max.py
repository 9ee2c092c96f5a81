"""Largest token score; padding never wins."""

from torch import Tensor

from candor.config.probes import Max
from candor.probes.features import Features

FEATURES = "tokens"
PROJECTIONS = 1


def pool(z: Tensor, mask: Tensor, probe: Max, width: int) -> Tensor:
    """Maximum of z over real tokens, [n, p]."""
    return z[:, :, 0].masked_fill(~mask[..., None], float("-inf")).amax(1)


def candidates(features: Features, probe: Max) -> Features:
    """Every token."""
    return features
