"""One learned query and one learned value: v·(sum over tokens of alpha a), alpha = softmax(q·a / sqrt(width))."""

from torch import Tensor

from candor.config.probes import Attention
from candor.probes.pooling import token_softmax

FEATURES = "tokens"
PROJECTIONS = 2


def pool(z: Tensor, mask: Tensor, probe: Attention, width: int) -> Tensor:
    """Sum over real tokens of softmax(q·a / sqrt(width)) v·a, [n, p]; z holds v·a and q·a, in this order."""
    queries = (z[:, :, 1] / width**0.5).masked_fill(~mask[..., None], float("-inf"))
    alpha = token_softmax(queries)
    return (alpha * z[:, :, 0]).sum(1)
