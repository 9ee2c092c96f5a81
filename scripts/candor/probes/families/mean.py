"""Mean over tokens of the token scores.

The function is that of `mean_then_linear`, linear in the mean activation; training differs in the scale of its inputs,
which are standardised over tokens here and over examples' means there.
"""

from torch import Tensor

from candor.config.probes import Mean

FEATURES = "tokens"
PROJECTIONS = 1


def pool(z: Tensor, mask: Tensor, probe: Mean, width: int) -> Tensor:
    """Mean of z over real tokens, [n, p]."""
    real = mask[..., None]
    return (z[:, :, 0] * real).sum(1) / real.sum(1)
