"""L2-regularised logistic regression on the mean activation, standardised over the training examples."""

import torch
from torch import Tensor

from candor.config.probes import Logistic
from candor.probes.regression import regression

FEATURES = "mean"
PROJECTIONS = 1


def pool(z: Tensor, mask: Tensor, probe: Logistic, width: int) -> Tensor:
    """Mean of z over real tokens, [n, p]."""
    real = mask[..., None]
    return (z[:, :, 0] * real).sum(1) / real.sum(1)


def fit(features: Tensor, labels: Tensor, classes: int, probe: Logistic) -> tuple[Tensor, Tensor]:
    """Weights [width, c] and biases [c] in float64, for features as they are, the standardisation folded in.

    c = 1 for two classes; for more it is the multinomial model, one logit per class.
    """
    weights, biases = regression(features.double().numpy(), labels.numpy(), probe.c, probe.intercept)
    return torch.from_numpy(weights), torch.from_numpy(biases)
