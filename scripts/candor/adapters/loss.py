"""The loss of finetuning: negative log-likelihood of completion tokens, each given all tokens before it."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from candor.adapters.blocks import FAMILIES
from candor.adapters.examples import Example

if TYPE_CHECKING:
    from transformers import PreTrainedModel


HEAD_ROWS = {"cpu": 128}
"""Tokens whose logits are computed at once, by device; elsewhere 1024."""


class Row(NamedTuple):
    """Examples end to end: token ids and positions [1, tokens], lengths, and where and what is predicted [completion
    tokens]: the token after row position `read_at[j]` is `targets[j]`."""

    token_ids: Tensor
    positions: Tensor
    segments: tuple[int, ...]
    read_at: Tensor
    targets: Tensor


def row_of(examples: Sequence[Example], device: torch.device) -> Row:
    """Lay examples end to end."""
    token_ids: list[int] = []
    positions: list[int] = []
    read_at: list[int] = []
    targets: list[int] = []
    for example in examples:
        start, ids = len(token_ids), example.token_ids
        read_at += range(start + example.n_prompt - 1, start + len(ids) - 1)
        targets += ids[example.n_prompt :]
        token_ids += ids
        positions += range(len(ids))
    tensors = [torch.tensor(each, device=device) for each in ([token_ids], [positions], read_at, targets)]
    segments = tuple(len(example.token_ids) for example in examples)
    return Row(tensors[0], tensors[1], segments, tensors[2], tensors[3])


def summed_loss(model: "PreTrainedModel", row: Row) -> Tensor:
    """Sum of the completion tokens' negative log-likelihoods in nats; logits are computed for those tokens alone.

    A network over several devices has its last block on another than its first, and may have its head on either.
    """
    inputs: dict[str, Any] = {"input_ids": row.token_ids, "position_ids": row.positions, "segments": row.segments}
    head, inner = model.get_output_embeddings(), model.get_decoder()
    if model.config.model_type in FAMILIES and type(head) is torch.nn.Linear and not head.weight.requires_grad:
        states = inner(**inputs, use_cache=False).last_hidden_state[0]
        hidden = states.index_select(0, row.read_at.to(states.device)).to(head.weight.device)
        return _HeadLoss.apply(hidden, head.weight, row.targets.to(hidden.device))  # type: ignore[no-any-return]
    # a list suits a head on any device
    logits = model(**inputs, use_cache=False, logits_to_keep=row.read_at.tolist()).logits[0]
    return cross_entropy(logits.float(), row.targets.to(logits.device), reduction="sum")


class _HeadLoss(torch.autograd.Function):
    """Summed loss of hidden states [n, width] under a frozen head [vocabulary, width], for targets [n].

    The gradient is computed at once, a few rows at a time, so that no logits are stored, which for a large vocabulary
    take more memory than all the blocks do.
    """

    @staticmethod
    def forward(ctx: Any, hidden: Tensor, head: Tensor, targets: Tensor) -> Tensor:
        total = torch.zeros((), device=hidden.device)
        found = torch.empty_like(hidden) if ctx.needs_input_grad[0] else None
        count = HEAD_ROWS.get(hidden.device.type, 1024)
        for at in range(0, len(hidden), count):
            rows = slice(at, at + count)
            logits = (hidden[rows] @ head.T).float()
            own = targets[rows].unsqueeze(1)
            wanted = logits.gather(1, own)
            highest = logits.amax(1, keepdim=True)
            weights = logits.sub_(highest).exp_()
            sums = weights.sum(1, keepdim=True)
            total += (sums.log() + highest - wanted).sum()
            if found is not None:
                weights.div_(sums).scatter_add_(1, own, weights.new_full((len(own), 1), -1))
                torch.mm(weights.to(head.dtype), head, out=found[rows])
        ctx.save_for_backward(found)
        return total

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        (found,) = ctx.saved_tensors
        return found * gradient.to(found.dtype), None, None
