"""Score of the last real token."""

import torch
from torch import Tensor

from candor.config.probes import Last
from candor.probes.features import Features

FEATURES = "last"
PROJECTIONS = 1


def pool(z: Tensor, mask: Tensor, probe: Last, width: int) -> Tensor:
    """z at the last real token, [n, p]."""
    last = mask.sum(1) - 1
    return z[:, :, 0].gather(1, last[:, None, None].expand(-1, 1, z.shape[-1])).squeeze(1)


def candidates(features: Features, probe: Last) -> Features:
    """The last token of each text."""
    return Features(features.x[features.lengths.cumsum(0) - 1], torch.ones_like(features.lengths))
