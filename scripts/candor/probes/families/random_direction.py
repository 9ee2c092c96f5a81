"""A random direction of the standardised mean activation: a control, for what a direction tells by chance.

The direction is drawn from the seed alone; its sign, scale and bias are fitted to the training labels.
"""

import numpy as np
import torch
from torch import Tensor

from candor.config.probes import RandomDirection
from candor.probes.regression import along

FEATURES = "mean"
PROJECTIONS = 1
SEEDED = True


def pool(z: Tensor, mask: Tensor, probe: RandomDirection, width: int) -> Tensor:
    """Mean of z over real tokens, [n, p]."""
    real = mask[..., None]
    return (z[:, :, 0] * real).sum(1) / real.sum(1)


def fit(features: Tensor, labels: Tensor, classes: int, probe: RandomDirection, seed: int) -> tuple[Tensor, Tensor]:
    """Weights [width, c] and biases [c] in float64, for features [n, width] as they are; c = 1 for two classes.

    The direction is uniform over the sphere of standardised features, the same for every fold and layer of a seed.
    """
    direction = np.random.default_rng(seed).standard_normal((features.shape[1], 1))
    direction /= np.linalg.norm(direction)
    weights, biases = along(direction, features.double().numpy(), labels.numpy(), probe.c)
    return torch.from_numpy(weights), torch.from_numpy(biases)
