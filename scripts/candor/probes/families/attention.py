"""One learned query and one learned value: v·(sum over tokens of alpha a), alpha = softmax(q·a / sqrt(width))."""

import torch
from torch import Tensor

from candor.config.probes import Attention
from candor.probes.texts import Texts, WithGradient

FEATURES = "tokens"
PROJECTIONS = 2


def pool(z: Tensor, mask: Tensor, probe: Attention, width: int) -> Tensor:
    """Sum over real tokens of softmax(q·a / sqrt(width)) v·a, [n, p]; z holds v·a and q·a, in this order."""
    queries = (z[:, :, 1] / width**0.5).masked_fill(~mask[..., None], float("-inf"))
    alpha: Tensor = queries.softmax(1)
    return (alpha * z[:, :, 0]).sum(1)


def pool_rows(z: Tensor, texts: Texts, probe: Attention, width: int) -> WithGradient:
    """`pool`, and its gradient: alpha at each token's value, alpha (value - score) / sqrt(width) at its query."""
    value, query = z
    alpha = texts.softmax(query / width**0.5)
    found = texts.sum(alpha * value)

    def back(of_found: Tensor) -> Tensor:
        of_value = texts.spread(of_found) * alpha
        return torch.stack([of_value, of_value * (value - texts.spread(found)) / width**0.5])

    return found, back
