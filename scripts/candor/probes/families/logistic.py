"""L2-regularised logistic regression on the mean activation, standardised over the training examples."""

import numpy as np
import torch
from sklearn.linear_model import LogisticRegression
from torch import Tensor

from candor.config.probes import Logistic

FEATURES = "mean"
PROJECTIONS = 1
MAX_ITERATIONS = 5000
ROUNDING = 1e-6
"""A feature that varies by less, relative to its size, is constant up to float32's rounding."""


def pool(z: Tensor, mask: Tensor, probe: Logistic, width: int) -> Tensor:
    """Mean of z over real tokens, [n, p]."""
    real = mask[..., None]
    return (z[:, :, 0] * real).sum(1) / real.sum(1)


def fit(features: Tensor, labels: Tensor, classes: int, probe: Logistic) -> tuple[Tensor, Tensor]:
    """Weights [width, c] and biases [c] in float64, for features as they are, the standardisation folded in.

    c = 1 for two classes; for more it is the multinomial model, one logit per class.
    """
    x = features.double().numpy()
    center, scale = x.mean(0), x.std(0)
    scale[scale <= ROUNDING * abs(center)] = 1.0
    model = LogisticRegression(C=probe.c, fit_intercept=probe.intercept, max_iter=MAX_ITERATIONS)
    model.fit((x - center) / scale, labels.numpy())
    weights = (model.coef_ / scale).T
    biases = np.broadcast_to(model.intercept_, (weights.shape[1],)) - center @ weights
    return torch.from_numpy(weights), torch.from_numpy(biases)
