"""Weights in the layout that a CPU's matrix kernels want, for as long as an engine runs.

oneDNN rearranges a weight each time that it multiplies by it. For the few dozen rows of a decoding pass that takes as
long as the product, or longer: a packed copy makes such passes 1.3 to 2 times as fast, with the same numbers in
bfloat16. It is torch's inductor that uses these operators otherwise.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.nn.functional import linear

ROWS = 64
"""Number of rows that the layout is chosen for."""
MOST_ROWS = 128
"""Passes of more rows take the plain weights, to which the rearranging is nothing."""
MOST_PARAMETERS = 2_000_000_000
"""Larger models are not packed: the copies would double their memory."""


class Packed:
    """Packed copies of a network's linear layers, where they can be had and help: on a CPU; else none."""

    def __init__(self, network: nn.Module) -> None:
        layers = [module for module in network.modules() if type(module) is nn.Linear]
        fit = sum(layer.weight.numel() for layer in layers) <= MOST_PARAMETERS
        self._forwards = [(each, _forward(each)) for each in layers if fit and served(each.weight)]

    @contextmanager
    def used(self) -> Iterator[None]:
        """Let the layers compute with the packed copies, which know no gradients."""
        for layer, forward in self._forwards:
            layer.forward = forward  # type: ignore[method-assign, assignment]
        try:
            yield
        finally:
            for layer, _ in self._forwards:
                del layer.forward


def served(weight: Tensor) -> bool:
    """Whether this machine's torch multiplies by packed copies of such a weight."""
    if weight.device.type != "cpu" or not torch.backends.mkldnn.is_available():
        return False
    if weight.dtype == torch.bfloat16:
        return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())
    return weight.dtype == torch.float32


def _forward(layer: nn.Linear) -> Callable[[Tensor], Tensor]:
    weight, bias = layer.weight.detach(), None if layer.bias is None else layer.bias.detach()
    packed = torch.ops.mkldnn._reorder_linear_weight(weight, ROWS)

    def forward(x: Tensor) -> Tensor:
        if x.numel() > MOST_ROWS * x.shape[-1]:
            return linear(x, weight, bias)
        found: Tensor = torch.ops.mkldnn._linear_pointwise(x, packed, bias, "none", [], "")
        return found

    return forward
