"""The highest and the lowest of gated token scores: m + max u + min u, u = (w·a - m) softplus(g·a - mean of g·a).

m is the mean of w·a over the text. After the probe that AlphaEvolve found in Kramár et al., Building Production-Ready
Probes For Gemini (arXiv 2601.11516): values times a softplus gate, pooled by their maximum and minus their minimum.
Theirs has many heads on a small network's output and learns what the two ends weigh; here there is one head on the
activation itself, both ends weigh the same, and values and gates are taken less their means over the text, so that
where a model's activations lie does not matter.
"""

from torch import Tensor
from torch.nn.functional import softplus

from candor.config.probes import GatedBipolar

FEATURES = "tokens"
PROJECTIONS = 2


def pool(z: Tensor, mask: Tensor, probe: GatedBipolar, width: int) -> Tensor:
    """Mean of z plus the largest and the smallest gated deviation from it, [n, p]; z holds w·a and g·a."""
    real = mask[..., None]
    value, gate = (z[:, :, k].masked_fill(~real, 0.0) for k in (0, 1))
    mean, level = (each.sum(1) / real.sum(1) for each in (value, gate))
    gated = (value - mean[:, None]) * softplus(gate - level[:, None])
    high, low = gated.masked_fill(~real, float("-inf")).amax(1), gated.masked_fill(~real, float("inf")).amin(1)
    return mean + high + low
