"""Logistic regression on the mean log-loss of a token under the subject, the logarithm of its perplexity: a control.

The log-loss of a token is -log p(token | the tokens before it), natural logarithm. It reads the output of the whole
model, so it is stated at the top block.
"""

import torch
from torch import Tensor

from candor.config.probes import Perplexity
from candor.probes.regression import regression

FEATURES = "log_loss"
PROJECTIONS = 1


def pool(z: Tensor, mask: Tensor, probe: Perplexity, width: int) -> Tensor:
    """Mean of z over real tokens, [n, p]."""
    real = mask[..., None]
    return (z[:, :, 0] * real).sum(1) / real.sum(1)


def fit(features: Tensor, labels: Tensor, classes: int, probe: Perplexity) -> tuple[Tensor, Tensor]:
    """Weights [1, c] and biases [c] in float64, for mean log-losses [n, 1]; c = 1 for two classes."""
    weights, biases = regression(features.double().numpy(), labels.numpy(), probe.c, intercept=True)
    return torch.from_numpy(weights), torch.from_numpy(biases)
