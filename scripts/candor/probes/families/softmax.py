"""Token scores weighted by their own softmax."""

from torch import Tensor

from candor.config.probes import Softmax
from candor.probes.pooling import token_softmax

FEATURES = "tokens"
PROJECTIONS = 1


def pool(z: Tensor, mask: Tensor, probe: Softmax, width: int) -> Tensor:
    """Sum over real tokens of softmax(z / temperature) z, [n, p]; a bias in z would shift it by itself."""
    scores = z[:, :, 0]
    weights = token_softmax((scores / probe.temperature).masked_fill(~mask[..., None], float("-inf")))
    return (weights * scores).sum(1)
