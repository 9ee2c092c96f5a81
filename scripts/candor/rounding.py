"""Weights rounded to a few bits, group by group, as quantised models hold them; and random weights of the same shape.

The scheme is affine: the weights of a group of neighbours in a row are put on a grid of 2^bits even steps between the
group's smallest and largest. What is rounded are the matrices of linear layers and embeddings; norms and biases stay.
"""

from collections.abc import Iterator, Sequence
from hashlib import sha256

import torch
from torch import Tensor, nn


def round_weights(
    model: nn.Module, bits: int, group: int, seed: int | None = None, without: Sequence[nn.Module] = ()
) -> int:
    """Round a model's weights in place; return how many. With a seed each group's grid is moved by up to half a step.

    The modules `without` stay as they are: blocks that nothing is read from.
    """
    count = 0
    with torch.no_grad():
        for name, weight in matrices(model, without):
            weight.copy_(rounded(weight, bits, group, None if seed is None else _generator(seed, name)))
            count += weight.numel()
    return count


def randomise_weights(model: nn.Module, seed: int, without: Sequence[nn.Module] = ()) -> None:
    """Replace each matrix in place by normal numbers of its own mean and standard deviation."""
    with torch.no_grad():
        for name, weight in matrices(model, without):
            drawn = torch.randn(weight.shape, generator=_generator(seed, name))
            values = weight.float()
            weight.copy_(drawn.to(weight.device) * values.std() + values.mean())


def matrices(model: nn.Module, without: Sequence[nn.Module] = ()) -> Iterator[tuple[str, Tensor]]:
    """Names and weights of linear layers and embeddings, each once where two share it, but not those `without`."""
    seen = {id(weight) for module in without for weight in module.parameters()}
    for name, module in model.named_modules():
        if isinstance(module, nn.Linear | nn.Embedding) and id(module.weight) not in seen:
            seen.add(id(module.weight))
            yield name, module.weight


def rounded(weight: Tensor, bits: int, group: int, generator: torch.Generator | None = None) -> Tensor:
    """Weights [rows, columns] on their groups' grids, in their own dtype; the last group of a row may be shorter.

    With a generator each group's grid is moved up or down by a random part of half a step, so that no weight moves by
    more than half a step either way, at the ends as elsewhere.
    """
    rows, columns = weight.shape
    # a shorter group is filled up with its row's last weight, which changes neither end of it
    missing = -columns % group
    values = torch.cat([weight, weight[:, -1:].expand(-1, missing)], 1).float().view(rows, -1, group)
    low, high = values.amin(2, keepdim=True), values.amax(2, keepdim=True)
    steps = 2**bits - 1
    step = ((high - low) / steps).clamp(min=torch.finfo(torch.float32).tiny)
    if generator is not None:
        low = low + step * (torch.rand(low.shape, generator=generator) - 0.5).to(low.device)
    found = low + ((values - low) / step).round().clamp(0, steps) * step
    whole: Tensor = found.view(rows, -1)[:, :columns].to(weight.dtype)
    return whole


def _generator(seed: int, name: str) -> torch.Generator:
    """Random numbers of its own for each matrix, whatever the others are."""
    number = int.from_bytes(sha256(f"{seed}/{name}".encode()).digest()[:7], "big")
    return torch.Generator().manual_seed(number)
