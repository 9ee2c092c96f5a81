"""The first principal components of the standardised mean activation: a control that finds them without labels.

Signs, scales and bias are fitted to the training labels, by logistic regression.
"""

import torch
from sklearn.decomposition import PCA
from torch import Tensor

from candor.config.probes import Pca
from candor.probes.regression import along, standardisation

FEATURES = "mean"
PROJECTIONS = 1


def pool(z: Tensor, mask: Tensor, probe: Pca, width: int) -> Tensor:
    """Mean of z over real tokens, [n, p]."""
    real = mask[..., None]
    return (z[:, :, 0] * real).sum(1) / real.sum(1)


def fit(features: Tensor, labels: Tensor, classes: int, probe: Pca) -> tuple[Tensor, Tensor]:
    """Weights [width, c] and biases [c] in float64, for features [n, width] as they are; c = 1 for two classes."""
    x = features.double().numpy()
    center, scale = standardisation(x)
    # some of scikit-learn's solvers start from random vectors
    found = PCA(min(probe.components, *x.shape), random_state=0).fit((x - center) / scale)
    weights, biases = along(found.components_.T, x, labels.numpy(), probe.c)
    return torch.from_numpy(weights), torch.from_numpy(biases)
