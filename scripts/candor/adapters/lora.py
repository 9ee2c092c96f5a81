"""The adapter itself: peft's LoRA modules in a network, and their weights as flat tensors.

Weights, gradients and optimiser state are kept in float32 and lie end to end, one tensor for each number format: an
optimiser step is a handful of operations instead of a few for each of hundreds of small matrices.
"""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from candor.adapters.blocks import rewrite
from candor.adapters.linears import single
from candor.config.adapters import Lora
from candor.errors import CandorError

if TYPE_CHECKING:
    from peft import LoraConfig, PeftModel
    from transformers import PreTrainedModel

CHANGES_BASE = ("pissa", "olora")
"""First weights that are taken out of the network's own."""


def peft_config(lora: Lora, model: "PreTrainedModel") -> "LoraConfig":
    """The adapter's shape as peft has it."""
    from peft import LoraConfig

    targets = {"default": None, "all-linear": _linear_names(model)}.get(str(lora.targets), lora.targets)
    return LoraConfig(
        task_type="CAUSAL_LM",
        r=lora.r,
        lora_alpha=int(lora.alpha) if lora.alpha == int(lora.alpha) else lora.alpha,  # type: ignore[arg-type]
        lora_dropout=lora.dropout,
        target_modules=targets,
        layers_to_transform=lora.layers,
        bias=lora.bias,
        use_rslora=lora.rslora,
        init_lora_weights=True if lora.init == "default" else lora.init,
    )


def _linear_names(model: "PreTrainedModel") -> list[str]:
    """Names of all linear modules but the output head; peft itself takes no `layers` beside its `all-linear`."""
    head = model.get_output_embeddings()
    linear = [n for n, m in model.named_modules() if isinstance(m, torch.nn.Linear) and m is not head]
    return sorted({name.rsplit(".", 1)[-1] for name in linear})


def adapt(model: "PreTrainedModel", lora: Lora, base: str, seed: int) -> "PeftModel":
    """Put an adapter into a network that is called `base`, with first weights drawn from the seed, in float32."""
    from peft import get_peft_model

    torch.manual_seed(seed)
    model.requires_grad_(False)
    try:
        found = get_peft_model(model, peft_config(lora, model))
    except ValueError as error:
        raise CandorError(f"peft cannot adapt {type(model).__name__}: {' '.join(str(error).split())}") from None
    found.peft_config["default"].base_model_name_or_path = base  # for peft it is where the weights lie
    return found


class Flat:
    """What is trained, as views into flat tensors, one of each number format and device, with their gradients."""

    def __init__(self, network: "PeftModel") -> None:
        model: Any = network.base_model.model
        joined = rewrite(model)
        self._joined = [each for each in (*joined, *single(model, joined)) if each.adapted]
        first = [p for linears in self._joined for group in linears.parameters for p in group]
        known = set(map(id, first))
        rest = [p for p in model.parameters() if p.requires_grad and id(p) not in known]
        self.values: list[torch.nn.Parameter] = []
        for kind in sorted({_kind(p) for p in (*first, *rest)}):
            self.values.append(_flat([p for p in (*first, *rest) if _kind(p) == kind]))
        for linears in self._joined:
            linears.bind(*map(_one_matrix, linears.parameters))

    @property
    def gradients(self) -> list[Tensor]:
        return [value.grad for value in self.values if value.grad is not None]

    def changed(self) -> None:
        """To be called whenever the weights have changed."""
        for linears in self._joined:
            linears.refresh()

    def snapshot(self) -> list[Tensor]:
        """A copy of all weights on the CPU."""
        return [value.detach().to("cpu", copy=True) for value in self.values]

    def restore(self, values: Sequence[Tensor]) -> None:
        """Take weights from a snapshot."""
        with torch.no_grad():
            for own, value in zip(self.values, values, strict=True):
                own.copy_(value)
        self.changed()


def _kind(parameter: torch.nn.Parameter) -> tuple[str, str]:
    """The number format and the device, which parameters of one flat tensor share."""
    return str(parameter.dtype), str(parameter.device)


def _flat(parameters: Sequence[torch.nn.Parameter]) -> torch.nn.Parameter:
    """Parameters end to end, of which each becomes a view, as its gradient does of the gradient."""
    flat = torch.nn.Parameter(torch.cat([p.detach().reshape(-1) for p in parameters]))
    flat.grad = torch.zeros_like(flat)
    at = 0
    for p in parameters:
        end, shape = at + p.numel(), p.shape
        p.data, p.grad = flat.data[at:end].view(shape), flat.grad[at:end].view(shape)
        at = end
    return flat


def _one_matrix(parameters: Sequence[torch.nn.Parameter]) -> torch.nn.Parameter:
    """Matrices of one width that lie end to end in a flat tensor, as one matrix there."""
    first = parameters[0]
    size = (sum(len(p) for p in parameters), first.shape[1])
    joined = torch.nn.Parameter(first.data.as_strided(size, (size[1], 1)))
    assert first.grad is not None
    joined.grad = first.grad.as_strided(size, (size[1], 1))
    return joined


def trained_state(network: "PeftModel", dtype: torch.dtype) -> dict[str, Tensor]:
    """The adapter's weights by the names that peft gives them in a file."""
    from peft import get_peft_model_state_dict

    state: dict[str, Any] = get_peft_model_state_dict(network, save_embedding_layers=False)
    return {name: value.detach().to("cpu", dtype, copy=True).contiguous() for name, value in sorted(state.items())}


def as_difference(
    first: dict[str, Tensor], last: dict[str, Tensor], config: "LoraConfig"
) -> tuple[dict[str, Tensor], "LoraConfig"]:
    """An adapter that started from the network's own weights, as one of twice the rank for the untouched network.

    The network was left with W - s B0 A0, so that W + s (B A - B0 A0) is what was trained.
    """
    from dataclasses import replace

    state = {}
    for name, value in last.items():
        if ".lora_A." in name:
            state[name] = torch.cat([value, first[name]])
        elif ".lora_B." in name:
            state[name] = torch.cat([value, -first[name]], dim=1)
        else:
            state[name] = value
    alpha = config.lora_alpha * (math.sqrt(2) if config.use_rslora else 2)
    return state, replace(config, r=2 * config.r, lora_alpha=alpha, init_lora_weights=True)  # type: ignore[arg-type]
