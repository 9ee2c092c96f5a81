"""Causal attention over examples that lie end to end without padding, each for itself.

Registered with transformers as an attention implementation: a network reads one row of tokens [1, tokens] and is told
the examples' lengths by the keyword `segments`.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from candor.errors import CandorError

if TYPE_CHECKING:
    from transformers import PreTrainedModel

NAME = "candor_segments"
LAYER_TYPES = {"full_attention", "sliding_attention"}


def attend_by_segment(model: "PreTrainedModel") -> None:
    """Make a network attend by segment; CandorError for a network that mixes tokens by other means than attention."""
    from transformers import AttentionInterface

    AttentionInterface.register(NAME, segment_attention)
    text = model.config.get_text_config()
    others = set(getattr(text, "layer_types", None) or []) - LAYER_TYPES
    if others or getattr(model, "_is_stateful", False) or not getattr(model, "_supports_attention_backend", False):
        raise CandorError(
            f"{type(model).__name__} cannot be finetuned here: its layers ({', '.join(sorted(others)) or 'own ones'}) "
            "would mix examples that lie end to end; take a network whose layers are plain causal attention"
        )
    model.set_attn_implementation(NAME)


def segment_attention(
    module: torch.nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    *,
    segments: Sequence[int],
    scaling: float,
    dropout: float = 0.0,
    sliding_window: int | None = None,
    softcap: float | None = None,
    s_aux: Tensor | None = None,
    **_: Any,
) -> tuple[Tensor, None]:
    """Attention of query [1, heads, tokens, d] to key and value [1, key heads, tokens, d], as [1, tokens, heads, d]."""
    if s_aux is not None:
        raise CandorError(f"{type(module).__name__} has attention sinks, which cannot be finetuned here")
    return attention(query, key, value, segments, scaling, dropout, sliding_window, softcap), None


def attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    segments: Sequence[int],
    scaling: float,
    dropout: float = 0.0,
    window: int | None = None,
    softcap: float | None = None,
) -> Tensor:
    """Attention within each segment, [1, tokens, heads, d]."""
    parts = zip(*(each.split(list(segments), dim=2) for each in (query, key, value)), strict=True)
    found = [_attend(q, k, v, scaling, dropout, window, softcap) for q, k, v in parts]
    return torch.cat(found, dim=2).transpose(1, 2).contiguous()


def seen(length: int, window: int | None) -> Tensor:
    """Which tokens a token may look at, bool [length, length]: itself and those before it, of the last `window`."""
    ones = torch.ones(length, length, dtype=torch.bool)
    return ones.tril() if window is None else ones.tril() & ones.triu(1 - window)


def _attend(
    query: Tensor, key: Tensor, value: Tensor, scaling: float, dropout: float, window: int | None, softcap: float | None
) -> Tensor:
    length = query.shape[2]
    if window is not None and window >= length:
        window = None
    if softcap is None:
        mask = None if window is None else seen(length, window).to(query.device)
        return scaled_dot_product_attention(
            query, key, value, mask, dropout, is_causal=mask is None, scale=scaling, enable_gqa=True
        )
    groups = query.shape[1] // key.shape[1]
    scores = (query * scaling) @ key.repeat_interleave(groups, 1).mT
    scores = (softcap * torch.tanh(scores / softcap)).masked_fill(~seen(length, window).to(query.device), -torch.inf)
    weights = torch.nn.functional.dropout(scores.softmax(-1, dtype=torch.float32).to(query.dtype), dropout)
    return weights @ value.repeat_interleave(groups, 1)
