"""Log-probabilities of two endings of each of many prompts, every token that they share read once.

A pass reads one row of packed tokens without padding: of each prompt its own tokens, then those of its two endings,
which see the prompt and not each other. What all prompts begin with is read before, alone, and its keys and values are
kept for all passes. All of the network but its attention works token by token and needs no more than each token's
position; its attention is taken over through transformers' attention interface. An ending's last token is never read,
since nothing follows it, and the output head is computed where an ending's tokens are foretold and nowhere else.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import linear, scaled_dot_product_attention
from transformers import AttentionInterface

from candor.activations.hooks import blocks_of
from candor.baselines.prompts import Encoded, common_start
from candor.batching import token_batches
from candor.errors import CandorError

if TYPE_CHECKING:
    from transformers import PreTrainedModel

NAME = "candor_branches"
HANDLED = {"full_attention", "sliding_attention"}
"""Kinds of attention that are served."""
VOCABULARY = 16_384
"""Entries of the vocabulary whose logits are computed at a time."""


class BranchesError(CandorError):
    """A network cannot be asked for endings; the message says why and what to do."""


class Endings(NamedTuple):
    """Of one prompt, by its place among all: the log-probabilities of its two endings, nats, and what they took.

    `flops` count 2 per multiply-add with a weight, of the blocks for every token read and of the output head for every
    token foretold; what all prompts begin with counts for each of n prompts with an n-th.
    """

    place: int
    log_probabilities: tuple[float, float]
    flops: float


class _Pass:
    """What one pass reads. `lengths` are, for each prompt, those of its own tokens and of its two endings as read.

    positions: of each token; padded [prompts, longest]: places of a prompt's tokens in the row, the last one repeated;
    real: places in `padded`, flattened, that are no repeats; kept: block -> keys and values of what all begin with.
    """

    def __init__(
        self,
        lengths: Sequence[tuple[int, int, int]],
        kept: dict[int, tuple[Tensor, Tensor]],
        before: int,
        keeping: bool,
    ) -> None:
        self.kept, self.keeping, self._before = kept, keeping, before
        totals = torch.tensor([sum(each) for each in lengths])
        starts = totals.cumsum(0) - totals
        columns = torch.arange(int(totals.max()))
        self.padded = starts[:, None] + torch.minimum(columns, totals[:, None] - 1)
        self._is_real = columns < totals[:, None]
        self.real = self._is_real.flatten().nonzero().squeeze(1)
        own, first = (torch.tensor([each[i] for each in lengths])[:, None] for i in (0, 1))
        second = own + first
        at = torch.minimum(columns, totals[:, None] - 1)
        self._branch = (at >= own).long() + (at >= second).long()
        self._positions = before + at - torch.where(at >= second, first, 0)
        self.positions = self._positions.flatten()[self.real]
        self._seen: dict[Any, Tensor] = {}

    def visible(self, window: int | None, device: torch.device) -> Tensor:
        """Which keys each token sees, [prompts, 1, longest, before + longest], those of what all begin with first."""
        if (window, device) not in self._seen:  # the same for all blocks of one kind
            queries, keys = self._positions[:, :, None], self._positions[:, None, :]
            branch = self._branch[:, None, :]
            seen = (keys <= queries) & ((branch == 0) | (branch == self._branch[:, :, None])) & self._is_real[:, None]
            early = torch.arange(self._before).expand(len(queries), queries.shape[1], self._before)
            seen = torch.cat([torch.ones_like(early, dtype=torch.bool), seen], 2)
            if window is not None:
                seen &= queries - torch.cat([early, keys.expand(-1, queries.shape[1], -1)], 2) < window
            self._seen[window, device] = seen[:, None].to(device)
        return self._seen[window, device]


def attend(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float | None = None,
    softcap: float | None = None,
    sliding_window: int | None = None,
    candor_branches: _Pass | None = None,
    **others: Any,
) -> tuple[Tensor, None]:
    """Attention of packed tokens: query [1, heads, tokens, width], keys and values [1, key heads, tokens, width]."""
    for name in ("s_aux", "position_bias"):
        if others.get(name) is not None:
            raise BranchesError(
                f"{type(module).__name__}: its attention has {name}, which the prompted baseline has not"
            )
    if candor_branches is None:
        raise BranchesError("the network is in use by a prompted baseline; read it when that is done")
    now = candor_branches
    layer: Any = module.layer_idx
    if now.keeping:
        now.kept[layer] = key[0], value[0]
    padded, real = now.padded.to(query.device), now.real.to(query.device)
    queries, keys, values = (each[0][:, padded].transpose(0, 1) for each in (query, key, value))
    if not now.keeping and layer in now.kept:
        early = (each.expand(len(padded), -1, -1, -1) for each in now.kept[layer])
        keys, values = (torch.cat([one, other], 2) for one, other in zip(early, (keys, values), strict=True))
    groups = queries.shape[1] // keys.shape[1]
    if groups > 1:
        keys, values = keys.repeat_interleave(groups, 1), values.repeat_interleave(groups, 1)
    scale = query.shape[-1] ** -0.5 if scaling is None else scaling
    seen = now.visible(sliding_window, query.device)
    if softcap is None:
        found = scaled_dot_product_attention(queries, keys, values, attn_mask=seen, scale=scale)
    else:
        scores = softcap * torch.tanh((queries @ keys.transpose(-1, -2)).float() * (scale / softcap))
        found = scores.masked_fill(~seen, -torch.inf).softmax(-1).to(values.dtype) @ values
    return found.transpose(1, 2).flatten(0, 1)[real][None], None


def endings(network: "PreTrainedModel", prompts: Sequence[Encoded], batch_tokens: int) -> Iterator[Endings]:
    """Yield what a causal network says of the two endings of each prompt, the longest prompts first."""
    if not prompts:
        return
    _refuse_unserved(network)
    device = next(network.get_input_embeddings().parameters()).device
    # of each prompt one token at least is its own: the one that foretells its endings
    before = common_start([each.shared for each in prompts]) if len(prompts) > 1 else 0
    before = min([before, *(len(each.shared) - 1 for each in prompts)])
    blocks = float(sum(weight.numel() for weight in blocks_of(network).parameters()))
    head = float(network.get_output_embeddings().weight.numel())
    with _taken_over(network):
        kept: dict[int, tuple[Tensor, Tensor]] = {}
        if before:
            _run(network.base_model, prompts[0].shared[:before], _Pass([(before, 0, 0)], kept, 0, True), device)
        lengths = [
            (len(each.shared) - before, max(len(each.ends[0]) - 1, 0), max(len(each.ends[1]) - 1, 0))
            for each in prompts
        ]
        for batch in token_batches([sum(each) for each in lengths], batch_tokens):
            found = _batch(network, [prompts[i] for i in batch], [lengths[i] for i in batch], kept, before, device)
            for i, log_probabilities in zip(batch, found, strict=True):
                read, foretold = sum(lengths[i]), 1 + sum(lengths[i][1:])
                flops = 2.0 * (blocks * (read + before / len(prompts)) + head * foretold)
                yield Endings(i, log_probabilities, flops)


@contextmanager
def _taken_over(network: "PreTrainedModel") -> Iterator[None]:
    """Let a network compute with this module's attention, and its output head in float32.

    A bfloat16 logit of 16 is known to a sixteenth, so that log-odds would come in steps and many texts would tie.
    """
    head = network.get_output_embeddings()
    usual, forward = network.config._attn_implementation, head.forward
    network.set_attn_implementation(NAME)
    head.forward = partial(_precise, head)
    try:
        yield
    finally:
        head.forward = forward
        network.set_attn_implementation(usual)


def _precise(head: nn.Linear, x: Tensor) -> Tensor:
    """Logits in float32, a slice of the vocabulary at a time: a copy of the whole head can be gigabytes."""
    x = x.to(head.weight.device, torch.float32)
    logits = torch.cat([linear(x, rows.float()) for rows in head.weight.split(VOCABULARY)], -1)
    return logits if head.bias is None else logits + head.bias.float()


def _batch(
    network: "PreTrainedModel",
    prompts: Sequence[Encoded],
    lengths: Sequence[tuple[int, int, int]],
    kept: dict[int, tuple[Tensor, Tensor]],
    before: int,
    device: torch.device,
) -> list[tuple[float, float]]:
    """Log-probabilities of the two endings of each prompt of a batch."""
    ids: list[int] = []
    foretelling: list[int] = []  # places in the row whose logits are wanted
    rows: list[int] = []  # of those logits, for each token of each ending
    for prompt in prompts:
        ids += prompt.shared[before:]
        last = len(foretelling)
        foretelling.append(len(ids) - 1)
        for end in prompt.ends:
            rows += [last, *range(len(foretelling), len(foretelling) + len(end) - 1)][: len(end)]
            foretelling += range(len(ids), len(ids) + len(end) - 1)
            ids += end[:-1]
    now = _Pass(lengths, kept, before, False)
    logits = _run(network, ids, now, device, logits_to_keep=foretelling).logits[0].float()
    wanted = torch.tensor([token for prompt in prompts for end in prompt.ends for token in end], device=logits.device)
    at = torch.tensor(rows, device=logits.device)
    each = (logits[at, wanted] - logits.logsumexp(-1)[at]).double().cpu()
    sums = [float(part.sum()) for part in each.split([len(end) for prompt in prompts for end in prompt.ends])]
    return list(zip(sums[::2], sums[1::2], strict=True))


def _run(network: nn.Module, ids: Sequence[int], now: _Pass, device: torch.device, **options: Any) -> Any:
    with torch.inference_mode():
        try:
            return network(
                input_ids=torch.tensor([list(ids)], device=device),
                position_ids=now.positions[None].to(device),
                use_cache=False,
                candor_branches=now,
                **options,
            )
        except torch.OutOfMemoryError:
            raise BranchesError(
                f"a batch of {len(ids)} tokens does not fit into the device's memory; "
                "lower the baseline's `batch_tokens`"
            ) from None


def _refuse_unserved(network: "PreTrainedModel") -> None:
    """BranchesError for a network whose attention cannot be taken over, or is of a kind that is not served."""
    name, config = type(network).__name__, network.config.get_text_config()
    unserved = set(getattr(config, "layer_types", None) or ["full_attention"]) - HANDLED
    if getattr(config, "num_kv_shared_layers", 0):
        unserved.add("layers that share keys")
    if not network.is_backend_compatible() or network.config.is_encoder_decoder:
        unserved.add("an attention of its own")
    if unserved:
        raise BranchesError(
            f"{name}: has {', '.join(sorted(unserved))}, which the prompted baseline does not serve; ask another model"
        )


AttentionInterface.register(NAME, attend)
