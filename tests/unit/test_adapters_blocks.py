"""Adapted networks, computed our way, give the losses and gradients that transformers and peft give."""

from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest
import torch
import transformers
from peft import PeftModel
from torch.nn.functional import cross_entropy

from candor.adapters import blocks, linears
from candor.adapters.attention import attend_by_segment
from candor.adapters.examples import Example
from candor.adapters.linears import kept
from candor.adapters.lora import Flat, adapt
from candor.adapters.loss import row_of, summed_loss
from candor.config.adapters import Lora
from candor.errors import CandorError
from tests.small_models import WIDTH

if TYPE_CHECKING:
    from candor.models import Subject

EXAMPLES = [
    Example([5, 9, 17, 33, 65, 129, 12, 7, 3, 44, 101, 55, 20], 6),
    Example([8, 8, 31, 90, 91, 92, 93, 15], 7),
    Example([201, 14, 3, 7, 77, 150, 149, 12], 2),
    Example([64, 3], 1),
]
Gradients = dict[str, torch.Tensor]


def peft_way(model: torch.nn.Module, examples: list[Example]) -> torch.Tensor:
    """The summed loss as everybody computes it: one example at a time, all logits."""
    total = torch.zeros(())
    for example in examples:
        logits = model(input_ids=torch.tensor([example.token_ids])).logits[0, example.n_prompt - 1 : -1]
        total = total + cross_entropy(
            logits.float(), torch.tensor(example.token_ids[example.n_prompt :]), reduction="sum"
        )
    return total


def with_second_weights(network: PeftModel) -> PeftModel:
    """B starts at 0, which hides A's gradient; give it other values."""
    torch.manual_seed(3)
    for name, parameter in network.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.1)
    return network


def gradients(network: PeftModel) -> Gradients:
    """A copy of the gradients, by name."""
    return {n: p.grad.clone() for n, p in network.named_parameters() if p.requires_grad and p.grad is not None}


def both_ways(subject: "Subject", lora: Lora, examples: list[Example]) -> tuple[float, Gradients, float, Gradients]:
    """Loss and gradients of peft in transformers' network, and ours."""
    network = with_second_weights(adapt(subject.model, lora, "tiny", 0))
    network.eval()
    expected = peft_way(network, examples)
    expected.backward()
    theirs = gradients(network)
    network.zero_grad(set_to_none=True)
    attend_by_segment(subject.model)
    Flat(network)
    found = summed_loss(subject.model, row_of(examples, torch.device("cpu")))
    found.backward()
    return expected.item(), theirs, found.item(), gradients(network)


def assert_same(subject: "Subject", lora: Lora, examples: list[Example] = EXAMPLES) -> None:
    expected, theirs, found, ours = both_ways(subject, lora, examples)
    assert found == pytest.approx(expected, rel=1e-5)
    assert ours.keys() == theirs.keys()
    for name, gradient in theirs.items():
        torch.testing.assert_close(ours[name], gradient, rtol=2e-3, atol=2e-5 * float(gradient.abs().max()) + 1e-7)


@pytest.mark.parametrize("family", ["llama", "qwen2", "gemma2", "gemma3"])
def test_loss_and_gradients_are_those_of_peft(tiny: "Callable[..., Subject]", family: str) -> None:
    assert_same(tiny(family), Lora(r=4, alpha=8))


@pytest.mark.parametrize(
    "lora",
    [
        Lora(r=3, alpha=5, targets=["q_proj", "v_proj"]),
        Lora(r=2, alpha=4, targets=["up_proj", "k_proj", "o_proj"], layers=[1, 3]),
        Lora(r=4, alpha=6, rslora=True, targets="default"),
        Lora(r=4, alpha=4, bias="all"),
        Lora(r=4, alpha=4, bias="lora_only", targets=["q_proj", "down_proj"]),
        Lora(r=4, alpha=4, init="pissa"),
        Lora(r=4, alpha=4, init="olora"),
        Lora(r=4, alpha=4, init="orthogonal"),
        Lora(r=4, alpha=4, init="gaussian", targets=["gate_proj", "embed_tokens"]),
        Lora(r=4, alpha=4, targets=["lm_head", "q_proj"]),
    ],
    ids=lambda lora: lora.model_dump_json(exclude_defaults=True),
)
@pytest.mark.parametrize("family", ["llama", "qwen2"])
def test_whatever_is_adapted(tiny: "Callable[..., Subject]", family: str, lora: Lora) -> None:
    assert_same(tiny(family), lora)


def test_a_sliding_window_is_seen_through(tiny: "Callable[..., Subject]") -> None:
    config = transformers.MistralConfig(
        vocab_size=400, hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, initializer_range=0.2, sliding_window=5,
    )  # fmt: skip
    torch.manual_seed(0)
    subject = tiny()._replace(model=transformers.MistralForCausalLM(config))
    assert_same(subject, Lora(r=4, alpha=8))


def test_long_examples_take_the_frugal_attention(
    tiny: "Callable[..., Subject]", monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(blocks, "LONGEST", 9)
    assert_same(tiny(), Lora(r=4, alpha=8))
    assert_same(tiny("qwen2"), Lora(r=4, alpha=8), EXAMPLES[1:])


def test_in_bfloat16_the_difference_is_rounding(tiny: "Callable[..., Subject]") -> None:
    _, exact, _, _ = both_ways(tiny(), Lora(r=4, alpha=8), EXAMPLES)
    expected, theirs, found, ours = both_ways(tiny(dtype="bfloat16"), Lora(r=4, alpha=8), EXAMPLES)
    assert found == pytest.approx(expected, rel=0.02)
    for name, gradient in exact.items():
        scale = gradient.norm()
        assert (ours[name] - gradient).norm() < 1.5 * (theirs[name] - gradient).norm() + 0.02 * scale


class Recorder:
    """Stands in for the draws of dropout: keeps what was drawn."""

    def __init__(self) -> None:
        self.masks: list[torch.Tensor] = []

    def __call__(self, shape: tuple[int, int], dropout: float, device: torch.device) -> torch.Tensor:
        self.masks.append(kept(shape, dropout, device))
        return self.masks[-1]


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_dropout_is_applied_to_each_adapter_s_input(
    tiny: "Callable[..., Subject]", monkeypatch: pytest.MonkeyPatch, dtype: str
) -> None:
    subject = tiny("llama", dtype)
    network = with_second_weights(adapt(subject.model, Lora(r=4, alpha=8, dropout=0.3), "tiny", 0))
    attention = subject.model.model.layers[0].self_attn
    modules = [attention.q_proj, attention.k_proj, attention.v_proj]
    learned = [[m.lora_A["default"].weight, m.lora_B["default"].weight] for m in modules]
    values = [[each.detach().clone().requires_grad_() for each in pair] for pair in learned]
    weights = [m.base_layer.weight.data.clone() for m in modules]
    Flat(network)
    monkeypatch.setattr(linears, "kept", recorder := Recorder())
    joined = attention.forward.args[1]
    torch.manual_seed(1)
    x = torch.randn(50, WIDTH, dtype=getattr(torch, dtype)).requires_grad_()
    own = x.detach().clone().requires_grad_()
    direction = torch.randn(50, sum(map(len, weights)), dtype=x.dtype)
    found = joined(x, True)
    (found * direction).sum().backward()
    expected = torch.cat(
        [
            own @ weight.T + ((own * (mask != 0) / 0.7) @ a.to(x.dtype).T) @ b.to(x.dtype).T * 2
            for weight, mask, (a, b) in zip(weights, recorder.masks, values, strict=True)
        ],
        1,
    )
    (expected * direction).sum().backward()
    near = {"float32": 1e-5, "bfloat16": 0.03}[dtype]
    for ours, theirs in [(found, expected), (x.grad, own.grad)]:
        assert (ours - theirs).norm() < near * theirs.norm()
    for pair, expected_pair in zip(learned, values, strict=True):
        for ours, theirs in zip(pair, expected_pair, strict=True):
            assert (ours.grad - theirs.grad).norm() < near * theirs.grad.norm()
    assert torch.equal(joined(x, False), joined(x, False))
    assert not torch.equal(joined(x, True), joined(x, True))


def test_dropout_keeps_the_share_that_it_should() -> None:
    torch.manual_seed(0)
    for dropout in (0.05, 0.5):
        mask = kept((1000, 333), dropout, torch.device("cpu"))
        assert set(mask.unique().tolist()) == {-1, 0}
        assert (mask != 0).float().mean() == pytest.approx(1 - dropout, abs=0.003)


@pytest.mark.parametrize("family", ["llama", "gemma2"])
def test_activations_may_be_computed_twice_to_save_memory(tiny: "Callable[..., Subject]", family: str) -> None:
    found = []
    for again in (False, True):
        subject = tiny(family)
        network = with_second_weights(adapt(subject.model, Lora(r=4, alpha=8, dropout=0.2), "tiny", 0))
        attend_by_segment(subject.model)
        if again:
            subject.model.activation_checkpointing_enable({"use_reentrant": False})
        Flat(network)
        subject.model.train()
        torch.manual_seed(5)
        summed_loss(subject.model, row_of(EXAMPLES, torch.device("cpu"))).backward()
        found.append(gradients(network))
    for name, gradient in found[0].items():
        torch.testing.assert_close(found[1][name], gradient)


def test_examples_that_share_a_row_are_apart(tiny: "Callable[..., Subject]") -> None:
    subject = tiny()
    network = with_second_weights(adapt(subject.model, Lora(r=4, alpha=8), "tiny", 0))
    attend_by_segment(subject.model)
    Flat(network)
    device = torch.device("cpu")
    alone = [summed_loss(subject.model, row_of([example], device)).item() for example in EXAMPLES]
    for order in ([0, 1, 2, 3], [3, 2, 1, 0], [2, 0]):
        together = summed_loss(subject.model, row_of([EXAMPLES[i] for i in order], device)).item()
        assert together == pytest.approx(sum(alone[i] for i in order), rel=1e-5)


def test_a_network_that_mixes_tokens_by_other_means_is_refused(tiny: "Callable[..., Subject]") -> None:
    model = tiny().model
    model.config.layer_types = ["full_attention", "linear_attention"]
    with pytest.raises(
        CandorError, match=r"LlamaForCausalLM cannot be finetuned here: its layers \(linear_attention\)"
    ):
        attend_by_segment(model)
