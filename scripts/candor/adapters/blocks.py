"""Transformer blocks of the Llama family on a CPU, with few operations and the gradients written out.

What transformers runs as dozens of small operations on float32 copies, each with a gradient of its own, is one step
here: norms, the gated unit, and attention with its rotation. The CPU's own attention kernel takes several times as long
for its gradient as the plain products do. Results are those of transformers up to the order of sums.
"""

from collections.abc import Sequence
from functools import lru_cache, partial
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import silu
from transformers.activations import SiLUActivation

from candor.adapters.attention import attention, seen
from candor.adapters.linears import Linears, can_join

FAMILIES = ("llama", "mistral", "qwen2")
"""Model types whose blocks are as written here."""
LONGEST = 1024
"""Longest example whose attention weights are kept for the gradient."""
PADDING = 1.2
"""Attention of several examples at once may compute this many times what each for itself would."""


class _Norm(torch.autograd.Function):
    """Root mean square norm of x [tokens, width] with a frozen weight [width]."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, epsilon: float) -> Tensor:
        wide = x.float()
        inverse = torch.rsqrt(torch.linalg.vector_norm(wide, dim=-1, keepdim=True).square_() / x.shape[-1] + epsilon)
        normed = (wide * inverse).to(x.dtype)
        ctx.save_for_backward(normed, inverse, weight)
        return normed * weight

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        normed, inverse, weight = ctx.saved_tensors
        own = (gradient * weight).float()
        along = torch.linalg.vecdot(own, normed.float()).unsqueeze(-1) / normed.shape[-1]
        return own.addcmul_(normed, along, value=-1).mul_(inverse).to(gradient.dtype), None, None


class _GatedUnit(torch.autograd.Function):
    """silu(gate) * up for gate and up side by side, [tokens, 2 width]."""

    @staticmethod
    def forward(ctx: Any, both: Tensor) -> Tensor:
        gate, up = both.chunk(2, dim=-1)
        opened = silu(gate)
        ctx.save_for_backward(both, opened)
        return opened * up

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        both, opened = ctx.saved_tensors
        gate, up = both.chunk(2, dim=-1)
        found = torch.empty_like(both)
        own_gate, own_up = found.chunk(2, dim=-1)
        torch.mul(gradient, opened, out=own_up)
        torch.ops.aten.silu_backward.grad_input(gradient * up, gate, grad_input=own_gate)
        return found


class Heads(NamedTuple):
    """Shape of an attention: query heads, key heads, width of a head, and the scale of its scores."""

    queries: int
    keys: int
    width: int
    scale: float


class Bundle(NamedTuple):
    """Examples whose attention is computed at once: `examples` of them, of at most `longest` tokens, in
    `rows`.

    `spread` [examples * longest] are the rows of each example, padded with its last; `real` [rows] are the places of
    the rows among those. Both are None where all are of one length. `mask` [heads of a group * longest, longest] is
    added to scores.
    """

    rows: slice
    examples: int
    longest: int
    spread: Tensor | None
    real: Tensor | None
    mask: Tensor


@lru_cache(maxsize=4)  # all blocks of a network ask for the same
def bundles(segments: tuple[int, ...], groups: int, window: int | None, dtype: torch.dtype) -> list[Bundle]:
    """Bundle neighbours of like length, for attention with `groups` query heads to a key head."""
    found, start, at = [], 0, 0
    while at < len(segments):
        end = at + 1
        while end < len(segments) and _pads_little(segments[at : end + 1]):
            end += 1
        own = segments[at:end]
        longest, spread, real = max(own), None, None
        if min(own) < longest:
            first = [sum(own[:i]) for i in range(len(own))]
            spread = torch.tensor([f + min(t, n - 1) for f, n in zip(first, own, strict=True) for t in range(longest)])
            real = torch.tensor([i * longest + t for i, n in enumerate(own) for t in range(n)])
        mask = torch.zeros(longest, longest, dtype=dtype).masked_fill_(~seen(longest, window), -torch.inf)
        rows = slice(start, start + sum(own))
        found.append(Bundle(rows, len(own), longest, spread, real, mask.repeat(groups, 1)))
        start, at = rows.stop, end
    return found


def _pads_little(lengths: Sequence[int]) -> bool:
    return len(lengths) * max(lengths) ** 2 <= PADDING * sum(n * n for n in lengths)


class _Attention(torch.autograd.Function):
    """Causal attention within bundles, for query, key and value heads side by side, [tokens, heads * width].

    `cosine` and `sine` [tokens, 1, width] rotate queries and keys; `sine` has its first half negated.
    """

    @staticmethod
    def forward(
        ctx: Any, joined: Tensor, cosine: Tensor, sine: Tensor, heads: Heads, bundled: Sequence[Bundle]
    ) -> Tensor:
        tokens = len(joined)
        rotated = heads.queries + heads.keys
        each = joined.view(tokens, -1, heads.width)
        turned = torch.empty_like(each)
        source = each[:, :rotated]
        torch.addcmul(source * cosine, _halves_swapped(source), sine, out=turned[:, :rotated])
        turned[:, rotated:] = each[:, rotated:]
        found = joined.new_empty(tokens, heads.queries, heads.width)
        saved: list[Tensor] = []
        for bundle in bundled:
            parts = _spread(turned, bundle).split([heads.queries, heads.keys, heads.keys], dim=2)
            query, key, value = (_by_head(part, heads.keys) for part in parts)
            weights = torch.softmax(torch.baddbmm(bundle.mask, query, key.mT, alpha=heads.scale), -1)
            _by_row(torch.bmm(weights, value), bundle, found)
            saved += [query, key, value, weights]
        ctx.save_for_backward(cosine, sine, *saved)
        ctx.heads, ctx.bundled = heads, bundled
        return found.view(tokens, -1)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        cosine, sine, *saved = ctx.saved_tensors
        heads: Heads = ctx.heads
        tokens, rotated = len(gradient), heads.queries + heads.keys
        found = gradient.new_empty(tokens, rotated + heads.keys, heads.width)
        queries, keys, values = found.split([heads.queries, heads.keys, heads.keys], dim=1)
        each = gradient.view(tokens, heads.queries, heads.width)
        for i, bundle in enumerate(ctx.bundled):
            query, key, value, weights = saved[4 * i : 4 * i + 4]
            own = _by_head(_spread(each, bundle, pad_with_zero=True), heads.keys)
            inner = torch._softmax_backward_data(torch.bmm(own, value.mT), weights, -1, weights.dtype)
            inner *= heads.scale
            _by_row(torch.bmm(inner, key), bundle, queries)
            _by_row(torch.bmm(inner.mT, query), bundle, keys)
            _by_row(torch.bmm(weights.mT, own), bundle, values)
        turned = found[:, :rotated]
        turned.copy_((turned * cosine).add_(_halves_swapped(turned * sine)))
        return found.view(tokens, -1), None, None, None, None


def _halves_swapped(x: Tensor) -> Tensor:
    return torch.cat(x.chunk(2, dim=-1)[::-1], dim=-1)


def _spread(x: Tensor, bundle: Bundle, pad_with_zero: bool = False) -> Tensor:
    """A bundle's rows of x [tokens, heads, width] as [examples, longest, heads, width]."""
    rows = x[bundle.rows]
    if bundle.spread is not None and bundle.real is not None:
        if pad_with_zero:
            rows = rows.new_zeros(len(bundle.spread), *rows.shape[1:]).index_copy_(0, bundle.real, rows)
        else:
            rows = rows.index_select(0, bundle.spread)
    return rows.view(bundle.examples, bundle.longest, *rows.shape[1:])


def _by_head(x: Tensor, keys: int) -> Tensor:
    """[examples, longest, heads, width] as [examples * keys, heads / keys * longest, width]."""
    examples, longest, heads, width = x.shape
    grouped = x.view(examples, longest, keys, heads // keys, width).permute(0, 2, 3, 1, 4)
    return grouped.reshape(examples * keys, heads // keys * longest, width)


def _by_row(x: Tensor, bundle: Bundle, target: Tensor) -> None:
    """The reverse of `_by_head`, written into the bundle's rows of target [tokens, heads, width]."""
    rows = x.view(bundle.examples, -1, bundle.longest, x.shape[-1]).transpose(1, 2)
    if bundle.real is None:
        target[bundle.rows].unflatten(0, (bundle.examples, bundle.longest)).copy_(rows)
    else:
        target[bundle.rows] = rows.flatten(0, 1).index_select(0, bundle.real)


def attention_forward(
    module: Any,
    joined: Linears,
    hidden_states: Tensor,
    position_embeddings: tuple[Tensor, Tensor],
    *,
    segments: tuple[int, ...],
    **_: Any,
) -> tuple[Tensor, None]:
    """What a Llama attention makes of hidden states [1, tokens, width]."""
    config = module.config
    heads = Heads(config.num_attention_heads, config.num_key_value_heads, module.head_dim, module.scaling)
    window = getattr(module, "sliding_window", getattr(config, "sliding_window", None))
    cosine, sine = (each[0].unsqueeze(1) for each in position_embeddings)
    below, above = sine.chunk(2, dim=-1)
    sine = torch.cat([-below, above], dim=-1)
    states = joined(hidden_states[0], module.training)
    if max(segments) <= LONGEST:
        bundled = bundles(segments, heads.queries // heads.keys, window, states.dtype)
        found = _Attention.apply(states, cosine, sine, heads, bundled)
    else:
        found = _long_attention(states, cosine, sine, heads, segments, window)
    return module.o_proj(found.unsqueeze(0)), None


def _long_attention(
    states: Tensor, cosine: Tensor, sine: Tensor, heads: Heads, segments: Sequence[int], window: int | None
) -> Tensor:
    """The same for examples whose attention weights would take too much memory."""
    each = states.unflatten(1, (-1, heads.width))
    rotated = heads.queries + heads.keys
    turned = each[:, :rotated] * cosine + _halves_swapped(each[:, :rotated]) * sine
    query, key = turned.split([heads.queries, heads.keys], dim=1)
    q, k, v = (part.transpose(0, 1).unsqueeze(0) for part in (query, key, each[:, rotated:]))
    return attention(q, k, v, segments, heads.scale, window=window)[0].flatten(1)


def mlp_forward(module: Any, joined: Linears, x: Tensor) -> Tensor:
    """What a Llama MLP makes of x [1, tokens, width]."""
    out: Tensor = module.down_proj(_GatedUnit.apply(joined(x[0], module.training)).unsqueeze(0))
    return out


def norm_forward(module: Any, x: Tensor) -> Tensor:
    """What a Llama norm makes of x [1, tokens, width]."""
    out: Tensor = _Norm.apply(x[0], module.weight, module.variance_epsilon).unsqueeze(0)
    return out


def rewrite(model: Any) -> list[Linears]:
    """Give a network of the Llama family on a CPU the forward passes above; return its joined linear modules.

    Whatever is not exactly a block of that family keeps its own.
    """
    joined: list[Linears] = []
    if model.config.model_type not in FAMILIES or model.device.type != "cpu" or model.config.attention_dropout:
        return joined
    for layer in model.model.layers:
        attention, mlp = layer.self_attn, layer.mlp
        if can_join(read := [attention.q_proj, attention.k_proj, attention.v_proj]):
            joined.append(Linears(read))
            attention.forward = partial(attention_forward, attention, joined[-1])
        if can_join(read := [mlp.gate_proj, mlp.up_proj]) and isinstance(mlp.act_fn, torch.nn.SiLU | SiLUActivation):
            joined.append(Linears(read))
            mlp.forward = partial(mlp_forward, mlp, joined[-1])
    for module in model.modules():
        if type(module).__name__.endswith("RMSNorm") and not module.weight.requires_grad:
            module.forward = partial(norm_forward, module)
    return joined
