"""Attention within each window of tokens, and the window with the largest score.

Score = max over windows of sum of alpha_j v·a_j, alpha = softmax(q·a) over the window's tokens. Windows keep a short
passage from being outweighed by the rest of a long text. After the max of rolling means attention probe of Kramár et
al., Building Production-Ready Probes For Gemini (arXiv 2601.11516), section 3.2, with one head, on the activation
itself; windows of 10 tokens as there.
"""

import torch
from torch import Tensor

from candor.config.probes import RollingAttention

FEATURES = "tokens"
PROJECTIONS = 2


def pool(z: Tensor, mask: Tensor, probe: RollingAttention, width: int) -> Tensor:
    """Maximum over windows of min(window, length) tokens, [n, p]; z holds v·a and q·a, in this order."""
    missing = max(0, probe.window - z.shape[1])
    z, mask = torch.nn.functional.pad(z, (0, 0, 0, 0, 0, missing)), torch.nn.functional.pad(mask, (0, missing))
    value, query = (z[:, :, k].unfold(1, probe.window, 1) for k in (0, 1))  # [n, windows, p, window]
    real = mask.unfold(1, probe.window, 1)
    whole = real.all(2)
    whole[:, 0] = True  # of a text shorter than the window, all there is
    # a window that does not count keeps its numbers, since a softmax over nothing has no gradient
    alpha = query.masked_fill((~real & whole[..., None])[:, :, None], float("-inf")).softmax(3)
    return (alpha * value).sum(3).masked_fill(~whole[..., None], float("-inf")).amax(1)
