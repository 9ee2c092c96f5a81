"""Drawing tokens so that a draw depends on the seed, the example, the sample and the step alone.

Each sample has its own stream of uniform numbers, whatever runs beside it and in which order. A number becomes a token
by the inverse of the cumulative distribution over the tokens that temperature, top-k and top-p leave, in the order of
their ids: two tokens of almost the same probability that change places between two batches do not change the draw.
"""

import hashlib
import json

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import pad

from candor.config.samplings import Sampling

BLOCK = 128
"""Tokens of a block; the vocabulary is searched by its blocks' maxima or sums first."""
FIRST_GUESS = 64
"""Tokens among which top-p looks for its mass first; eight times as many each time that they do not hold it."""


def uniforms(seed: int, example_id: str, sample_index: int, steps: int) -> np.ndarray:
    """The numbers of one sample, float64 in [0, 1), one for each step: Philox, keyed by a hash of the first three."""
    name = json.dumps([seed, example_id, sample_index]).encode()
    key = int.from_bytes(hashlib.blake2b(name, digest_size=16).digest(), "little")
    raw = np.random.Philox(key=key).random_raw(steps)
    return np.asarray((raw >> np.uint64(11)) * 2.0**-53)


def draw(logits: Tensor, uniform: Tensor, sampling: Sampling) -> Tensor:
    """One token id a row, int64 [n], for logits [n, vocabulary] and float64 uniform [n].

    Temperature first, then top-k, then top-p: the smallest set of likeliest tokens whose mass reaches it (Holtzman et
    al. 2020), the mass being that among the top k. Of equally likely tokens the one of the lower id counts as likelier.
    Temperature 0 takes the likeliest.
    """
    if sampling.temperature == 0:
        return logits.argmax(-1)
    vocabulary = logits.shape[-1]
    if 0 < sampling.top_k < vocabulary:
        ids, values = _likeliest(logits, sampling.top_k)
        scaled = values.double() / sampling.temperature
        return _invert(ids, _nucleus(scaled.softmax(-1), sampling.top_p), uniform)
    scaled = logits.float() / sampling.temperature
    if sampling.top_p == 1:
        return _invert_all(scaled, uniform)
    total = scaled.logsumexp(-1, keepdim=True).double()
    guess = FIRST_GUESS
    while True:
        ids, values = _likeliest(scaled, min(guess, vocabulary))
        mass = (values.double() - total).exp()
        if guess >= vocabulary or bool((mass.sum(-1) >= sampling.top_p).all()):
            return _invert(ids, _nucleus(mass, sampling.top_p), uniform)
        guess *= 8


def _likeliest(logits: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """Ids, ascending, and values [n, m] of the k greatest of each row; m >= k, filled up with values of -inf."""
    blocks = _blocks(logits, -torch.inf)
    maxima = blocks.amax(-1)
    if k < maxima.shape[-1]:
        # k blocks have a maximum of at least the k-th greatest one, so all of the k greatest values lie in such blocks
        chosen, real = _at_least_kth(maxima, k)
        values = blocks.gather(1, chosen[..., None].expand(-1, -1, BLOCK)).masked_fill(~real[..., None], -torch.inf)
        ids = (chosen[..., None] * BLOCK + torch.arange(BLOCK, device=logits.device)).flatten(1)
        values = values.flatten(1)
    else:
        values, ids = logits, torch.arange(logits.shape[-1], device=logits.device).expand_as(logits)
    columns, real = _at_least_kth(values, k)
    values = values.gather(1, columns)
    # equal values at the border: the first ones in the order of ids stay
    border = values.masked_fill(~real, torch.inf).amin(-1, keepdim=True)
    above, at = real & (values > border), real & (values == border)
    surplus = at & (at.cumsum(-1) > k - above.sum(-1, keepdim=True))
    return ids.gather(1, columns), values.masked_fill(surplus | ~real, -torch.inf)


def _blocks(values: Tensor, filler: float) -> Tensor:
    """Rows [n, vocabulary] as [n, blocks, BLOCK], filled up at the end."""
    short = -values.shape[-1] % BLOCK
    filled = pad(values, (0, short), value=filler) if short else values
    blocks: Tensor = filled.unflatten(-1, (-1, BLOCK))
    return blocks


def _at_least_kth(values: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """Columns, ascending, of all values that are no less than the k-th greatest of their row, and which are real."""
    least = values.topk(k, sorted=False).values.amin(-1, keepdim=True)
    rows, columns = (values >= least).nonzero(as_tuple=True)
    counts = torch.bincount(rows, minlength=len(values))
    place = torch.arange(len(rows), device=values.device) - (counts.cumsum(0) - counts)[rows]
    width = int(counts.max()) if len(values) else 0
    found = columns.new_zeros(len(values), width)
    found[rows, place] = columns
    return found, torch.arange(width, device=values.device) < counts[:, None]


def _nucleus(mass: Tensor, top_p: float) -> Tensor:
    """The mass [n, m] with 0 where a token is not needed to reach `top_p`."""
    if top_p == 1:
        return mass
    ordered, order = mass.sort(stable=True, dim=-1, descending=True)
    needed = ordered.cumsum(-1) - ordered < top_p
    needed[:, 0] = True
    return mass * torch.zeros_like(needed).scatter(-1, order, needed)


def _invert(ids: Tensor, mass: Tensor, uniform: Tensor) -> Tensor:
    """The id in which the cumulative mass passes `uniform` of its total."""
    return ids.gather(1, _passed(mass.cumsum(-1), uniform)).squeeze(1)


def _invert_all(scaled: Tensor, uniform: Tensor) -> Tensor:
    """As `_invert`, over a whole vocabulary: sums of blocks first, then the block in which the sum passes."""
    mass = (scaled - scaled.amax(-1, keepdim=True)).exp()
    blocks = _blocks(mass, 0)
    sums = blocks.sum(-1).double()
    ends = sums.cumsum(-1)
    block = _passed(ends, uniform)
    inside = blocks.gather(1, block[..., None].expand(-1, -1, BLOCK)).squeeze(1).double().cumsum(-1)
    start = ends.gather(1, block) - sums.gather(1, block)
    rest = (uniform[:, None] * ends[:, -1:] - start) / inside[:, -1:]
    return (block * BLOCK + _passed(inside, rest.squeeze(1))).squeeze(1)


def _passed(ends: Tensor, uniform: Tensor) -> Tensor:
    """The first column [n, 1] in which a cumulative sum passes `uniform` of its last; never one that adds nothing."""
    place = torch.searchsorted(ends, (uniform.to(ends)[:, None] * ends[:, -1:]).contiguous(), right=True)
    last = (ends < ends[:, -1:]).sum(-1, keepdim=True)
    return torch.minimum(place, last)
