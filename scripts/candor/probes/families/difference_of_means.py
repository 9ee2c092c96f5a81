"""The direction between the class means, with the boundary halfway."""

import torch
from torch import Tensor

from candor.config.probes import DifferenceOfMeans

FEATURES = "mean"
PROJECTIONS = 1


def pool(z: Tensor, mask: Tensor, probe: DifferenceOfMeans, width: int) -> Tensor:
    """Mean of z over real tokens, [n, p]."""
    real = mask[..., None]
    return (z[:, :, 0] * real).sum(1) / real.sum(1)


def fit(features: Tensor, labels: Tensor, classes: int, probe: DifferenceOfMeans) -> tuple[Tensor, Tensor]:
    """Weights [width, c] and biases [c] in float64 from features [n, width] and labels int64 [n].

    Two classes: mu1 - mu0, bias at the midpoint (c = 1). More: mu_k against the mean of the other classes' means.
    """
    means = torch.stack([features[labels == k].double().mean(0) for k in range(classes)])
    wanted = [1] if classes == 2 else list(range(classes))
    directions, biases = [], []
    for k in wanted:
        rest = means[[j for j in range(classes) if j != k]].mean(0)
        directions.append(means[k] - rest)
        biases.append(-(means[k] - rest) @ (means[k] + rest) / 2)
    return torch.stack(directions, 1), torch.stack(biases)
