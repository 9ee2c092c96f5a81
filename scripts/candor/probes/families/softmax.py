"""Token scores weighted by their own softmax."""

from torch import Tensor

from candor.config.probes import Softmax

FEATURES = "tokens"
PROJECTIONS = 1


def pool(z: Tensor, mask: Tensor, probe: Softmax, width: int) -> Tensor:
    """Sum over real tokens of softmax(z / temperature) z, [n, p]; a bias in z would shift it by itself."""
    scores = z[:, :, 0]
    weights: Tensor = (scores / probe.temperature).masked_fill(~mask[..., None], float("-inf")).softmax(1)
    return (weights * scores).sum(1)
