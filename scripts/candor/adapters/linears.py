"""Adapted linear modules, computed with few products and no casts.

peft computes W x + s B A x module by module, each with half a dozen operations, and casts the input to the adapter's
float32. Here the modules that read the same input are one product by the network's weights and two thin ones by the
adapter's, all in the network's number format: the adapter's float32 weights are rounded to it once an optimiser step,
as mixed-precision training does. In float32 the results are peft's up to the order of sums.
"""

from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import linear

ADAPTER = "default"
"""The name that peft gives an adapter."""


class Linears:
    """Linear modules of one input, some or all of them with an adapter, computed as one.

    Their weights become views of one matrix [widths out, width in], so that nothing is stored twice.
    """

    def __init__(self, modules: Sequence[torch.nn.Module]) -> None:
        from peft.tuners.lora import Linear as LoraLinear

        bases: list[Any] = [m.base_layer if isinstance(m, LoraLinear) else m for m in modules]
        weights: list[Tensor] = [base.weight.data for base in bases]
        self.weight = weights[0] if len(weights) == 1 else torch.cat(weights)
        self.widths = [len(weight) for weight in weights]
        starts = [sum(self.widths[:i]) for i in range(len(weights))]
        for base, start, width in zip(bases, starts, self.widths, strict=True):
            base.weight.data = self.weight[start : start + width]
        biases = [base.bias for base in bases]
        self.bias: Tensor | None = None if biases[0] is None else torch.cat([bias.data for bias in biases])
        self.adapted: list[Any] = [m for m in modules if isinstance(m, LoraLinear)]
        self.rows = [
            slice(start, start + width)
            for m, start, width in zip(modules, starts, self.widths, strict=True)
            if isinstance(m, LoraLinear)
        ]
        if not self.adapted:
            return
        self.rank, self.scale = self.adapted[0].r[ADAPTER], self.adapted[0].scaling[ADAPTER]
        dropout = self.adapted[0].lora_dropout[ADAPTER]
        self.dropout = dropout.p if isinstance(dropout, torch.nn.Dropout) else 0.0
        self.a = self.weight.new_empty(self.rank * len(self.adapted), self.weight.shape[1])
        self.b = self.weight.new_zeros(len(self.weight), len(self.a))  # a block for each adapted module, 0 elsewhere

    @property
    def parameters(self) -> tuple[list[torch.nn.Parameter], list[torch.nn.Parameter]]:
        """The A [rank, width in] and the B [width out, rank] of the adapted modules."""
        return [m.lora_A[ADAPTER].weight for m in self.adapted], [m.lora_B[ADAPTER].weight for m in self.adapted]

    def bind(self, a: torch.nn.Parameter, b: torch.nn.Parameter) -> None:
        """Learn into all A as one matrix, and all B as one below the other."""
        self.learned_a, self.learned_b = a, b
        counts = [own.stop - own.start for own in self.rows]
        columns = [slice(i * self.rank, (i + 1) * self.rank) for i in range(len(counts))]
        self.blocks = list(zip(self.rows, columns, b.data.split(counts), strict=True))
        self.refresh()

    def refresh(self) -> None:
        """Take over what was learned, in the network's number format and with B's scale."""
        with torch.no_grad():
            self.a.copy_(self.learned_a)
            for own, columns, values in self.blocks:
                torch.mul(values, self.scale, out=self.b[own, columns])

    def __call__(self, x: Tensor, training: bool) -> Tensor:
        """Outputs of all modules side by side, [..., widths out], for inputs [..., width in]."""
        if not self.adapted:
            return linear(x, self.weight, self.bias)
        masks = self._masks(x) if training and self.dropout else None
        flat = x.reshape(-1, x.shape[-1])
        out: Tensor = _Product.apply(flat, self.learned_a, self.learned_b, self, masks)
        return out.view(*x.shape[:-1], -1)

    def _masks(self, x: Tensor) -> list[Tensor]:
        """What each adapted module's dropout keeps, bits [tokens, width in]."""
        shape = (x.numel() // x.shape[-1], x.shape[-1])
        return [kept(shape, self.dropout, x.device) for _ in self.adapted]

    def product(self, x: Tensor, masks: Sequence[Tensor] | None) -> tuple[Tensor, Tensor]:
        """Outputs [tokens, widths out], and what the adapters' A make of the input [tokens, ranks]."""
        if masks is None:
            z = x @ self.a.T
        else:
            kept_parts = (masked(x, mask) @ a.T for mask, a in zip(masks, self.a.split(self.rank), strict=True))
            z = torch.cat(list(kept_parts), 1).div_(1 - self.dropout)
        return linear(x, self.weight, self.bias).addmm_(z, self.b.T), z

    def gradients(
        self, x: Tensor, z: Tensor, masks: Sequence[Tensor] | None, gradient: Tensor, wants_x: bool
    ) -> tuple[Tensor | None, Tensor, Tensor]:
        """Gradients of the input, of all A and of all B."""
        dz = gradient @ self.b
        dx = gradient @ self.weight if wants_x else None
        crossed = gradient.T @ z
        db = torch.cat([crossed[rows, columns] for rows, columns, _ in self.blocks]).to(self.learned_b.dtype)
        db *= self.scale
        if masks is None:
            da = dz.T @ x
            if dx is not None:
                dx.addmm_(dz, self.a)
        else:
            dz /= 1 - self.dropout
            parts = []
            for mask, own, a in zip(masks, dz.split(self.rank, 1), self.a.split(self.rank), strict=True):
                parts.append(own.T @ masked(x, mask))
                if dx is not None:
                    dx += masked(own @ a, mask)
            da = torch.cat(parts)
        return dx, da.to(self.learned_a.dtype), db


class _Product(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, a: Tensor, b: Tensor, linears: Linears, masks: Sequence[Tensor] | None) -> Tensor:
        out, z = linears.product(x, masks)
        ctx.save_for_backward(x, z, *(masks or ()))
        ctx.linears = linears
        return out

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        x, z, *masks = ctx.saved_tensors
        return *ctx.linears.gradients(x, z, masks or None, gradient, ctx.needs_input_grad[0]), None, None


def kept(shape: tuple[int, int], dropout: float, device: torch.device) -> Tensor:
    """What dropout keeps, int16: all bits set with probability 1 - dropout (to a 32,768th), else none.

    On a CPU torch draws one number at a time; four from each word of a fast generator, which is seeded by torch's own,
    cost a tenth. A mask of bits is laid over numbers of any format by one `and`.
    """
    bound, count = round(dropout * 2**15), shape[0] * shape[1]
    if device.type == "cpu":
        words = np.random.SFC64(int(torch.randint(2**63 - 1, ()))).random_raw(-(-count // 4))
        draws = torch.from_numpy(words.view(np.int16))[:count].view(shape).bitwise_and_(2**15 - 1)
    else:
        draws = torch.randint(2**15, shape, dtype=torch.int16, device=device)
    return draws.neg_().add_(bound - 1).bitwise_right_shift_(15)  # the sign of bound - 1 - draw fills all bits


def masked(x: Tensor, mask: Tensor) -> Tensor:
    """x where a mask of bits is set, 0 elsewhere."""
    bits = {2: torch.int16, 4: torch.int32, 8: torch.int64}[x.element_size()]
    return (x.view(bits) & mask.to(bits)).view(x.dtype)


def can_join(modules: Sequence[torch.nn.Module]) -> bool:
    """Whether modules are linear ones with frozen weights and, if any, plain adapters of one shape."""
    from peft.tuners.lora import Linear as LoraLinear

    adapted = [m for m in modules if isinstance(m, LoraLinear)]
    bases = [m.base_layer if isinstance(m, LoraLinear) else m for m in modules]
    shapes = {(m.r[ADAPTER], m.scaling[ADAPTER]) for m in adapted}
    return (
        all(type(base) is torch.nn.Linear for base in bases)
        and not any(p.requires_grad for base in bases for p in base.parameters())
        and len({base.bias is None for base in bases}) == 1
        and not any(m.lora_variant or m.lora_B[ADAPTER].bias is not None for m in adapted)
        and len(shapes) <= 1
    )


def single(model: torch.nn.Module, joined: Sequence[Linears]) -> list[Linears]:
    """Let every other adapted module compute its product in the same way, for itself."""
    from peft.tuners.lora import Linear as LoraLinear

    taken = {id(module) for linears in joined for module in linears.adapted}
    found = []
    for module in model.modules():
        if isinstance(module, LoraLinear) and id(module) not in taken and can_join([module]):
            found.append(Linears([module]))
            module.forward = partial(_forward, module, found[-1])  # type: ignore[method-assign]
    return found


def _forward(module: torch.nn.Module, own: Linears, x: Tensor) -> Tensor:
    return own(x, module.training)
