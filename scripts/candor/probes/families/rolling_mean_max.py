"""Largest mean over a window of tokens; a text shorter than the window is one window."""

import torch
from torch import Tensor

from candor.config.probes import RollingMeanMax
from candor.probes.features import Features

FEATURES = "tokens"
PROJECTIONS = 1


def pool(z: Tensor, mask: Tensor, probe: RollingMeanMax, width: int) -> Tensor:
    """Maximum over windows of min(window, length) tokens of the window's mean of z, [n, p]."""
    lengths = mask.sum(1)
    window = lengths.clamp(max=probe.window)
    # a double-precision running sum, so that differences of long sums stay exact to float32
    sums = torch.nn.functional.pad((z[:, :, 0] * mask[..., None]).double().cumsum(1), (0, 0, 1, 0))
    starts = torch.arange(z.shape[1], device=z.device)[None, :]
    ends = starts + window[:, None]
    valid = ends <= lengths[:, None]
    high = sums.gather(1, ends.clamp(max=z.shape[1])[..., None].expand(-1, -1, z.shape[-1]))
    means = ((high - sums[:, :-1]) / window[:, None, None]).to(z.dtype)
    return means.masked_fill(~valid[..., None], float("-inf")).amax(1)


def candidates(features: Features, probe: RollingMeanMax) -> Features:
    """A row for each window, its mean activation: the mean of projections is the projection of the mean."""
    windows = (features.lengths - probe.window).clamp(min=0) + 1
    x = features.x.new_empty(int(windows.sum()), features.x.shape[1])
    for part, found in zip(features.x.split(features.lengths.tolist()), x.split(windows.tolist()), strict=True):
        size = min(probe.window, len(part))
        torch.div(_window_sums(part, size), size, out=found)
    return Features(x, windows)


def _window_sums(x: Tensor, size: int) -> Tensor:
    """Sums [rows - size + 1, width] of every `size` rows in a row, of sums of 1, 2, 4, … rows that lie side by side."""
    sums, power, parts, done = x, 1, [], 0
    while done < size:
        if size & power:
            parts.append(sums[done : len(x) - size + 1 + done])
            done += power
        if done < size:
            sums, power = sums[:-power] + sums[power:], power * 2
    total = parts[0].clone()
    for part in parts[1:]:
        total += part
    return total
