"""Mean over tokens of the token scores, which is the score of the mean activation."""

from torch import Tensor

from candor.config.probes import Mean

FEATURES = "mean"
PROJECTIONS = 1


def pool(z: Tensor, mask: Tensor, probe: Mean, width: int) -> Tensor:
    """Mean of z over real tokens, [n, p]."""
    real = mask[..., None]
    return (z[:, :, 0] * real).sum(1) / real.sum(1)
