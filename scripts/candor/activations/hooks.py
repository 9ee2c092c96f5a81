"""Reading a decoder's residual stream while it runs, and stopping it after the deepest block that is asked for.

Layer convention: `residual`, layer k, is the output of block k counted from 0, before any final norm;
`input_layernorm`, layer k, is the normed input of block k.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

import torch
from torch import Tensor, nn

from candor.errors import CandorError


class _DeepestReached(Exception):
    """Thrown by the last hook, so that nothing after it is computed."""


def blocks_of(model: nn.Module) -> nn.ModuleList:
    """The decoder's blocks; CandorError for an architecture whose blocks cannot be found."""
    base = getattr(model, "base_model", model)
    for holder in (base, getattr(base, "language_model", None), getattr(base, "decoder", None)):
        for name in ("layers", "h", "blocks"):
            found = getattr(holder, name, None)
            if isinstance(found, nn.ModuleList):
                return found
    raise CandorError(f"{type(model).__name__}: its blocks cannot be found; candor reads decoders with .layers or .h")


class Reader:
    """Holds what the hooks of one forward pass saw: layer -> [batch, length, width].

    `top` is the pass's output after the final norm, [batch, length, width], where the pass runs to the top.
    """

    def __init__(self, model: nn.Module, layers: Sequence[int], to_the_top: bool) -> None:
        self.seen: dict[int, Tensor] = {}
        self.top: Tensor | None = None
        self._to_the_top = to_the_top
        self._model = getattr(model, "base_model", model)  # without the output head: no logits are computed
        self._layers = sorted(layers)

    def read(self, input_ids: Tensor) -> dict[int, Tensor]:
        """One pass over right-padded ids [batch, length].

        No attention mask is needed: attention is causal, so a token never sees the padding that follows it, and the
        padding's own rows are dropped. That holds whichever side the tokenizer pads and whatever its pad token is.
        """
        self.seen.clear()
        with suppress(_DeepestReached):
            self.top = self._model(input_ids=input_ids, use_cache=False)[0]
        if list(self.seen) != self._layers:
            raise CandorError(
                f"{type(self._model).__name__}: hooks fired for layers {list(self.seen)}, not {self._layers}"
            )
        return self.seen

    def keep(self, layer: int, tensor: Tensor) -> None:
        """Keep what a hook saw, and stop the pass after the deepest layer, unless it shall run to the top."""
        self.seen[layer] = tensor
        if layer == self._layers[-1] and not self._to_the_top:
            raise _DeepestReached


@contextmanager
def reading(model: nn.Module, hook: str, layers: Sequence[int], to_the_top: bool = False) -> Iterator[Reader]:
    """A Reader of the given hook and layers; the hooks are removed at the end."""
    blocks, reader, handles = blocks_of(model), Reader(model, layers, to_the_top), []
    for layer in layers:
        if not 0 <= layer < len(blocks):
            raise CandorError(f"there is no block {layer}: the model has {len(blocks)} blocks, 0 to {len(blocks) - 1}")
        module: Any = blocks[layer]
        if hook == "input_layernorm":
            module = getattr(module, "input_layernorm", None) or getattr(module, "ln_1", None)
            if module is None:
                raise CandorError(f"{type(blocks[layer]).__name__} has no input_layernorm; use hook: residual")
        handles.append(module.register_forward_hook(_hook(reader, layer)))
    try:
        with torch.inference_mode():
            yield reader
    finally:
        for handle in handles:
            handle.remove()


def _hook(reader: Reader, layer: int) -> Any:
    def keep(_module: nn.Module, _inputs: Any, output: Any) -> None:
        reader.keep(layer, output[0] if isinstance(output, tuple) else output)

    return keep
