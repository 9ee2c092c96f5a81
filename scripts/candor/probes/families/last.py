"""Score of the last real token."""

from torch import Tensor

from candor.config.probes import Last

FEATURES = "last"
PROJECTIONS = 1


def pool(z: Tensor, mask: Tensor, probe: Last, width: int) -> Tensor:
    """z at the last real token, [n, p]."""
    last = mask.sum(1) - 1
    return z[:, :, 0].gather(1, last[:, None, None].expand(-1, 1, z.shape[-1])).squeeze(1)
