"""The network of a finetuned classifier: a subject model without its output head, and a head on its last token.

As in transformers' AutoModelForSequenceClassification, a linear map without bias reads the residual stream after the
final norm at the last token; two classes have one output, the log-odds of the second, more have one each. Examples lie
end to end without padding, so that the last token of each is its own, whatever the others' lengths.

The network computes in the subject's number format; what is trained, adapter or all weights, and the head are float32.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from candor.adapters.attention import attend_by_segment
from candor.adapters.batches import stream
from candor.adapters.linears import ADAPTER
from candor.adapters.lora import CHANGES_BASE, Flat, adapt, as_difference, trained_state
from candor.config.adapters import Lora
from candor.errors import CandorError
from candor.models import Subject

if TYPE_CHECKING:
    from peft import PeftModel

FIRST = 0
"""Seed of an adapter's first weights, from which every seed's finetuning starts."""
HEAD = "head.weight"


class Whole:
    """All weights of a network, with float32 copies that are trained in their place.

    A gradient is added to its copy's, in float32, as soon as it is there. Where the network is float32 itself, the
    copies are the weights.
    """

    def __init__(self, network: torch.nn.Module) -> None:
        network.requires_grad_(True)
        self._own = list(network.parameters())
        self.values = [torch.nn.Parameter(own.detach().float()) for own in self._own]
        for own, value in zip(self._own, self.values, strict=True):
            value.grad = torch.zeros_like(value)
            own.register_post_accumulate_grad_hook(_Adding(value))

    @property
    def gradients(self) -> list[Tensor]:
        return [value.grad for value in self.values if value.grad is not None]

    def changed(self) -> None:
        """To be called whenever the weights have changed."""
        with torch.no_grad():
            for own, value in zip(self._own, self.values, strict=True):
                own.copy_(value)

    def snapshot(self) -> list[Tensor]:
        """A copy of all weights on the CPU."""
        return [value.detach().to("cpu", copy=True) for value in self.values]

    def restore(self, values: Sequence[Tensor]) -> None:
        """Take weights from a snapshot."""
        with torch.no_grad():
            for own, value in zip(self.values, values, strict=True):
                own.copy_(value)
        self.changed()


class _Adding:
    """Adds a parameter's gradient to that of its float32 copy."""

    def __init__(self, value: torch.nn.Parameter) -> None:
        self._value = value

    def __call__(self, own: Tensor) -> None:
        assert own.grad is not None and self._value.grad is not None
        self._value.grad += own.grad
        own.grad = None


class Classifier:
    """A subject model with a head for `classes` classes; the subject is used up.

    `begin` puts it back to the one start that all finetunings share.
    """

    def __init__(self, subject: Subject, lora: Lora | None, classes: int, base: str, checkpointing: bool) -> None:
        self._model: Any = subject.model
        self._lora = lora
        self._network: PeftModel | None = None
        if lora is not None:
            self._network = adapt(subject.model, lora, base, FIRST)
        self._decoder: Any = subject.model.get_decoder()
        attend_by_segment(subject.model)
        if checkpointing:
            self._model.activation_checkpointing_enable({"use_reentrant": False})
        if self._network is None:
            subject.model.requires_grad_(False)
            self.weights: Flat | Whole = Whole(self._decoder)
        else:
            self.weights = Flat(self._network)
        self.device = next(self._model.parameters()).device
        text = self._model.config.get_text_config()
        self._deviation = getattr(text, "initializer_range", 0.02)
        outputs = 1 if classes == 2 else classes
        self.head = torch.nn.Parameter(torch.zeros(outputs, text.hidden_size, device=self.device))
        self.head.grad = torch.zeros_like(self.head)
        self._first = self.weights.snapshot()
        self._first_state = self._adapter() if lora is not None and lora.init in CHANGES_BASE else None

    @property
    def trained(self) -> list[torch.nn.Parameter]:
        """All that is trained, the head last."""
        return [*self.weights.values, self.head]

    @property
    def gradients(self) -> list[Tensor]:
        assert self.head.grad is not None
        return [*self.weights.gradients, self.head.grad]

    def begin(self, seed: int) -> None:
        """The weights of the start, and a head whose first weights are drawn from the seed."""
        generator = torch.Generator().manual_seed(int(stream(seed, 0).generate_state(1)[0]))
        head = torch.empty(self.head.shape).normal_(0, self._deviation, generator=generator)
        self.restore([*self._first, head])

    def snapshot(self) -> list[Tensor]:
        """A copy of all that is trained, on the CPU."""
        return [*self.weights.snapshot(), self.head.detach().to("cpu", copy=True)]

    def restore(self, values: Sequence[Tensor]) -> None:
        """Take all that is trained from a snapshot."""
        *own, head = values
        self.weights.restore(own)
        with torch.no_grad():
            self.head.copy_(head)

    def training(self, on: bool) -> None:
        """Whether dropout acts."""
        self._model.train(on)

    def logits(self, texts: Sequence[Sequence[int]]) -> Tensor:
        """What the head makes of the last token of each text, float32 [n, outputs]."""
        lengths = [len(ids) for ids in texts]
        token_ids = torch.tensor([[token for ids in texts for token in ids]], device=self.device)
        positions = torch.tensor([[at for length in lengths for at in range(length)]], device=self.device)
        last = torch.tensor(lengths, device=self.device).cumsum(0) - 1
        found = self._decoder(input_ids=token_ids, position_ids=positions, segments=tuple(lengths), use_cache=False)
        hidden: Tensor = found.last_hidden_state[0].index_select(0, last.to(found.last_hidden_state.device))
        return hidden.float().to(self.device) @ self.head.T

    def flops(self, n_tokens: Sequence[int]) -> list[float]:
        """FLOPs of scoring texts of so many tokens: 2 for each weight that multiplies a token, and the head once.

        The adapter's weights are counted, since they are not merged; the table of embeddings is looked up only.
        """
        multiplied = (
            sum(p.numel() for p in self._decoder.parameters()) - self._model.get_input_embeddings().weight.numel()
        )
        return [2.0 * multiplied * n + 2.0 * self.head.numel() if n else 0.0 for n in n_tokens]

    def state(self) -> dict[str, Tensor]:
        """What `load` takes: the head, and the adapter by peft's names or all weights in the network's format."""
        if self._network is None:
            own = {name: p.detach().to("cpu", copy=True) for name, p in self._decoder.named_parameters()}
        elif self._first_state is not None:
            own, _ = as_difference(self._first_state, self._adapter(), self._config)
        else:
            own = self._adapter()
        return {HEAD: self.head.detach().to("cpu", copy=True), **own}

    def stored_lora(self) -> Lora | None:
        """The shape of the adapter that `state` gives, which goes with the subject as it was."""
        if self._lora is None or self._network is None or self._first_state is None:
            return self._lora
        _, config = as_difference(self._first_state, self._first_state, self._config)
        return self._lora.model_copy(update={"r": config.r, "alpha": config.lora_alpha, "init": "default"})

    def load(self, state: Mapping[str, Tensor]) -> None:
        """Take weights that `state` gave; CandorError when they are those of another network."""
        own = {name: value for name, value in state.items() if name != HEAD}
        places = dict(self._decoder.named_parameters()) if self._network is None else self._adapter_parameters()
        if {n: v.shape for n, v in own.items()} != {n: p.shape for n, p in places.items()}:
            raise CandorError(f"the classifier's weights do not fit {type(self._model).__name__}; make them again")
        with torch.no_grad():
            self.head.copy_(state[HEAD])
            if isinstance(self.weights, Whole):
                self.weights.restore([own[name] for name in places])
                return
            for name, place in places.items():
                place.copy_(own[name])
            self.weights.changed()

    @property
    def _config(self) -> Any:
        """The adapter's config, as peft has it."""
        assert self._network is not None
        return self._network.peft_config[ADAPTER]

    def _adapter(self) -> dict[str, Tensor]:
        assert self._network is not None
        return trained_state(self._network, torch.float32)

    def _adapter_parameters(self) -> dict[str, torch.nn.Parameter]:
        """The adapter's parameters by the names that they have in `state`."""
        assert self._network is not None
        named = {name.replace(f".{ADAPTER}", ""): p for name, p in self._network.named_parameters()}
        return {name: named[name] for name in self._adapter()}
