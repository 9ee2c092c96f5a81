"""Attention whose weights are gated: v·(sum over tokens of alpha a), alpha ~ exp(q·a / sqrt(width)) sigmoid(gate).

The gate is g·a less its mean over the text, so that where a model's activations lie does not open or close it; alpha
sums to 1. A gate takes tokens out one by one, where a softmax only weighs them against each other. That gates help is
from the search for architectures of Kramár et al., Building Production-Ready Probes For Gemini (arXiv 2601.11516);
`gated_bipolar` is nearer to what it found.
"""

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from candor.config.probes import GatedAttention
from candor.probes.texts import Texts, WithGradient

FEATURES = "tokens"
PROJECTIONS = 3


def pool(z: Tensor, mask: Tensor, probe: GatedAttention, width: int) -> Tensor:
    """Weighted mean of v·a over real tokens, [n, p]; z holds v·a, q·a and g·a, in this order."""
    real = mask[..., None]
    value, query, gate = (z[:, :, k].masked_fill(~real, 0.0) for k in range(3))
    opened = logsigmoid(gate - (gate.sum(1) / real.sum(1))[:, None])
    alpha: Tensor = (query / width**0.5 + opened).masked_fill(~real, float("-inf")).softmax(1)
    return (alpha * value).sum(1)


def pool_rows(z: Tensor, texts: Texts, probe: GatedAttention, width: int) -> WithGradient:
    """`pool`, and its gradient: alpha at each token's value, and of its logit, from there to query and gate."""
    value, query, gate = z
    level = gate - texts.spread(texts.mean(gate))
    alpha = texts.softmax(query / width**0.5 + logsigmoid(level))
    found = texts.sum(alpha * value)

    def back(of_found: Tensor) -> Tensor:
        of_value = texts.spread(of_found) * alpha
        of_logit = of_value * (value - texts.spread(found))
        of_level = of_logit * (-level).sigmoid()
        return torch.stack([of_value, of_logit / width**0.5, of_level - texts.spread(texts.mean(of_level))])

    return found, back
