"""Token scores weighted by their own softmax."""

from torch import Tensor

from candor.config.probes import Softmax
from candor.probes.texts import Texts, WithGradient

FEATURES = "tokens"
PROJECTIONS = 1


def pool(z: Tensor, mask: Tensor, probe: Softmax, width: int) -> Tensor:
    """Sum over real tokens of softmax(z / temperature) z, [n, p]; a bias in z would shift it by itself."""
    scores = z[:, :, 0]
    weights = (scores / probe.temperature).masked_fill(~mask[..., None], float("-inf")).softmax(1)
    return (weights * scores).sum(1)


def pool_rows(z: Tensor, texts: Texts, probe: Softmax, width: int) -> WithGradient:
    """`pool`, and its gradient: alpha (1 + (z - score) / temperature) at each token."""
    scores = z[0]
    alpha = texts.softmax(scores / probe.temperature)
    found = texts.sum(alpha * scores)

    def back(of_found: Tensor) -> Tensor:
        off = (scores - texts.spread(found)) / probe.temperature
        return (texts.spread(of_found) * alpha * (1 + off))[None]

    return found, back
