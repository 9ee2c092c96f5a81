"""Taking a direction out of the residual stream while a model runs."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from candor.activations.hooks import blocks_of
from candor.errors import CandorError


def read_direction(path: Path, name: str, width: int) -> Tensor:
    """A named direction, float32 [width], of a safetensors file of directions, scaled to length 1."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        found: Tensor = load_file(path)[name]
    except (OSError, SafetensorError, KeyError) as error:
        raise CandorError(f"{path}: no direction {name!r} can be read ({error}); delete it to make it again") from None
    if found.shape != (width,) or not bool(found.isfinite().all()) or not bool(found.any()):
        raise CandorError(f"{path}: {name} is {list(found.shape)}, not {width} finite numbers; check the subject")
    wide = found.float()
    unit: Tensor = wide / wide.norm()
    return unit


@contextmanager
def ablated(network: nn.Module, direction: Tensor | None) -> Iterator[None]:
    """Project a direction of length 1 out of each block's output: h - (h . d) d, in float32; None changes nothing.

    As Arditi et al. (2024, "Refusal in language models is mediated by a single direction"), with one direction for all
    blocks; the embedding, which no block has written, stays.
    """
    hook = None if direction is None else _without(direction)
    handles = [] if hook is None else [block.register_forward_hook(hook) for block in blocks_of(network)]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _without(direction: Tensor) -> Any:
    on: dict[torch.device, Tensor] = {}

    def project(_module: nn.Module, _inputs: Any, output: Any) -> Any:
        hidden = output[0] if isinstance(output, tuple) else output
        unit = on.setdefault(hidden.device, direction.to(hidden.device))
        wide = hidden.float()
        changed = (wide - (wide @ unit)[..., None] * unit).to(hidden.dtype)
        return (changed, *output[1:]) if isinstance(output, tuple) else changed

    return project
