"""Attention within each window of tokens, and the window with the largest score.

Score = max over windows of sum of alpha_j v·a_j, alpha = softmax(q·a) over the window's tokens. Windows keep a short
passage from being outweighed by the rest of a long text. After the max of rolling means attention probe of Kramár et
al., Building Production-Ready Probes For Gemini (arXiv 2601.11516), section 3.2, with one head, on the activation
itself; windows of 10 tokens as there.
"""

import torch
from torch import Tensor

from candor.config.probes import RollingAttention
from candor.probes.texts import Texts, WithGradient

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


def pool_rows(z: Tensor, texts: Texts, probe: RollingAttention, width: int) -> WithGradient:
    """`pool`, and its gradient, which is nothing outside the window that won."""
    size = min(probe.window, z.shape[2])
    # windows from every row on, their tokens along the first axis, along which sums are fast
    windows = torch.stack([z[:, :, j : z.shape[2] - size + 1 + j] for j in range(size)])
    pooled = (windows[:, 1].softmax(0) * windows[:, 0]).sum(0)
    of_windows = torch.nn.functional.pad(pooled, (0, size - 1)).masked_fill(~texts.starts_of_windows(size), -torch.inf)
    first = texts.argmax(of_windows)
    # the score of the one that wins, from its own tokens; a text shorter than a window has one of its length
    places = (first[..., None] + torch.arange(size)).clamp_(max=z.shape[2] - 1).flatten(1)
    inside = torch.arange(size) < texts.lengths[:, None]
    values, queries = (each.gather(1, places).view(*first.shape, size) for each in z)
    alpha = queries.masked_fill(~inside, -torch.inf).softmax(2)
    found = (alpha * values).sum(2)

    def back(of_found: Tensor) -> Tensor:
        of_value = of_found[..., None] * alpha
        of_query = of_value * (values - found[..., None])
        of_z = torch.zeros_like(z)
        for each, of_window in zip(of_z, (of_value, of_query), strict=True):
            each.scatter_add_(1, places, of_window.flatten(1))
        return of_z

    return found, back
