"""Attention over slots: what lets one forward pass read new prompts and go on with running texts, without padding.

A pass reads one row of packed tokens: first the newest token of every running text, then new prompts, end to end. All
of the network but its attention works token by token and needs no more than each token's position. Its attention,
taken over through transformers' attention interface, keeps every text's keys and values in a slot of its own.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention
from transformers import AttentionInterface

from candor.generations.engine import GenerationError

NAME = "candor_slots"
GROWTH = 64
"""Slots grow by a multiple of this many tokens."""


class Slots:
    """Tensors [slots, heads, length, width] by name, whose slots hold one text each, from index 0 on."""

    def __init__(self, count: int) -> None:
        self._count, self._length = count, 0
        self._tensors: dict[Any, Tensor] = {}

    def reserve(self, length: int) -> None:
        """Make room for texts of `length` tokens; what is held stays."""
        if length <= self._length:
            return
        self._length = -(-length // GROWTH) * GROWTH
        for name, tensor in self._tensors.items():
            grown = tensor.new_zeros(*tensor.shape[:2], self._length, tensor.shape[3])
            grown[:, :, : tensor.shape[2]] = tensor
            self._tensors[name] = grown

    def extent(self, length: int) -> int:
        """How many tokens of each slot to look at for texts of `length`: all where that is hardly more, uncopied."""
        return self._length if self._length - length < GROWTH else length

    def put(self, name: Any, values: Tensor, slots: Tensor, positions: Tensor) -> Tensor:
        """Write values [tokens, heads, width] to their slots and positions; return the whole tensor."""
        if name not in self._tensors:
            shape = (self._count, values.shape[1], self._length, values.shape[2])
            self._tensors[name] = values.new_zeros(shape)  # a masked value that is no number would still spread
        self._tensors[name][slots, :, positions] = values
        return self._tensors[name]

    def take(self, name: Any, slot: int, positions: Sequence[int]) -> Tensor:
        """A copy of some tokens of a slot, [positions, heads, width]."""
        held = self._tensors[name][slot]
        taken: Tensor = held[:, torch.tensor(positions, dtype=torch.int64, device=held.device)].transpose(0, 1)
        return taken

    def move(self, sources: list[int], targets: list[int], length: int) -> None:
        """Copy the first `length` tokens of some slots over those of others."""
        start, end = torch.tensor(sources), torch.tensor(targets)
        for tensor in self._tensors.values():
            tensor[end.to(tensor.device), :, :length] = tensor[start.to(tensor.device), :, :length]

    def clear(self, slot: int) -> None:
        """Forget a slot whose values may be no numbers, which would spread to the next text even where masked."""
        for tensor in self._tensors.values():
            tensor[slot] = 0


class Pass:
    """What one forward pass reads: which slots go on, which prompts are new, and where each token's values belong.

    `running` are the lengths of the texts in slots 0, 1, …, whose newest token is read; `prompts` the lengths of the
    new prompts; `copies` the number of slots that each new prompt takes, behind the running ones. `reads` are the
    positions of the tokens that are read, `ends` the places among them of each slot's last one.
    """

    def __init__(
        self, slots: Slots, running: list[int], prompts: list[int], copies: list[int], device: torch.device
    ) -> None:
        self.slots, self.running, self._device = slots, len(running), device
        self.prompts = prompts
        self.longest = slots.extent(max(running, default=0))
        self.ends = list(range(self.running))
        self._seen: dict[int | None, Tensor] = {}
        tokens = [torch.arange(self.running)]
        held, at = [torch.arange(self.running)], [torch.tensor(running, dtype=torch.int64) - 1]
        start = slot = self.running
        for length, n in zip(prompts, copies, strict=True):
            for _ in range(n):
                tokens.append(torch.arange(start, start + length))
                held.append(torch.full((length,), slot))
                at.append(torch.arange(length))
                self.ends.append(start + length - 1)
                slot += 1
            start += length
        self.reads = torch.cat(at if sum(copies) == len(prompts) else [at[0], *map(torch.arange, prompts)]).to(device)
        self._written = torch.cat(tokens).to(device) if sum(copies) != len(prompts) else None
        self._held, self._at = torch.cat(held).to(device), torch.cat(at).to(device)
        if len(prompts) > 1:
            starts = torch.tensor([0, *prompts[:-1]]).cumsum(0)
            lengths = torch.tensor(prompts)
            columns = torch.arange(max(prompts))
            self.padded = (starts[:, None] + torch.minimum(columns, lengths[:, None] - 1)).to(device)
            self.real = (columns < lengths[:, None]).flatten().nonzero().squeeze(1).to(device)

    def write(self, name: Any, values: Tensor) -> Tensor:
        """Put values [tokens, heads, width] of all tokens read into their slots; return all slots."""
        chosen = values if self._written is None else values[self._written.to(values.device)]
        return self.slots.put(name, chosen, self._held.to(values.device), self._at.to(values.device))

    def visible(self, window: int | None) -> Tensor:
        """Which keys each running text's newest token sees, [running, 1, 1, longest]."""
        if window not in self._seen:  # the same for all blocks of one kind
            keys, newest = torch.arange(self.longest, device=self._device), self._at[: self.running, None]
            seen = keys <= newest
            self._seen[window] = (seen if window is None else seen & (keys > newest - window))[:, None, None]
        return self._seen[window]


def attend(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float | None = None,
    softcap: float | None = None,
    sliding_window: int | None = None,
    candor_pass: Pass | None = None,
    **others: Any,
) -> tuple[Tensor, None]:
    """Attention of packed tokens: query [1, heads, tokens, width], keys and values [1, key heads, tokens, width]."""
    for name in ("s_aux", "position_bias"):
        if others.get(name) is not None:
            raise GenerationError(f"{type(module).__name__}: its attention has {name}, which candor's engine has not")
    if candor_pass is None:
        raise GenerationError("the network is in use by candor's generation engine; read it when that is done")
    now, layer = candor_pass, module.layer_idx
    keys = now.write((layer, "keys"), key[0].transpose(0, 1))
    values = now.write((layer, "values"), value[0].transpose(0, 1))
    scale = query.shape[-1] ** -0.5 if scaling is None else scaling
    n, found = now.running, []
    if n:
        # the query heads that share a key head stand beside each other: no key is copied for them
        grouped = query[0, :, :n].transpose(0, 1).unflatten(1, (keys.shape[1], -1))
        held = keys[:n, :, : now.longest], values[:n, :, : now.longest]
        found.append(
            _attend(grouped, *held, now.visible(sliding_window).to(query.device), scale, softcap).flatten(1, 2)
        )
    if now.prompts:
        found.append(_prompts(now, query[0, :, n:], key[0, :, n:], value[0, :, n:], scale, softcap, sliding_window))
    return (found[0] if len(found) == 1 else torch.cat(found))[None], None


def _prompts(
    now: Pass, query: Tensor, key: Tensor, value: Tensor, scale: float, softcap: float | None, window: int | None
) -> Tensor:
    """Attention of the new prompts' tokens among themselves, [tokens, heads, width]; padded here and only here."""
    groups = query.shape[0] // key.shape[0]
    if groups > 1:
        key, value = key.repeat_interleave(groups, 0), value.repeat_interleave(groups, 0)
    if len(now.prompts) == 1:
        return _attend(query[None], key[None], value[None], _band(query, window), scale, softcap)[0].transpose(0, 1)
    padded, real = now.padded.to(query.device), now.real.to(query.device)
    query, key, value = (each[:, padded].transpose(0, 1) for each in (query, key, value))
    found = _attend(query, key, value, _band(query, window), scale, softcap)
    return found.transpose(1, 2).flatten(0, 1)[real]


def _band(query: Tensor, window: int | None) -> Tensor | None:
    """Which keys each token of a prompt sees, [longest, longest]; None where it is all before it."""
    length = query.shape[-2]
    if window is None or window >= length:
        return None
    return torch.ones(length, length, dtype=torch.bool, device=query.device).tril().triu(1 - window)


def _attend(
    query: Tensor,
    keys: Tensor,
    values: Tensor,
    seen: Tensor | None,
    scale: float,
    softcap: float | None,
) -> Tensor:
    """Attention of query [n, heads, queries, width] to keys that are `seen`; to all before it where that is None.

    A CPU's own kernel for it is made for many queries a text; for the few of a running text two products are three
    times as fast, the first with its operands in this order.
    """
    if softcap is None and (seen is None or query.device.type != "cpu"):
        return scaled_dot_product_attention(query, keys, values, attn_mask=seen, scale=scale, is_causal=seen is None)
    scores = (keys @ query.transpose(-1, -2)).transpose(-1, -2)
    if seen is None:
        seen = torch.ones(scores.shape[-2:], dtype=torch.bool, device=scores.device).tril()
    hidden = torch.zeros(seen.shape, device=seen.device).masked_fill_(~seen, -torch.inf)
    if softcap is None:
        weights = torch.add(hidden, scores, alpha=scale)  # in float32
    else:
        weights = hidden + softcap * torch.tanh(scores.float() * (scale / softcap))
    return weights.softmax(-1).to(values.dtype) @ values


AttentionInterface.register(NAME, attend)
