"""A model over several devices: what reads, writes and learns with it meets nothing of another device.

The devices are those of tests/two_devices.py: this machine needs no GPU, and no speed or memory of one is shown.
"""

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from torch import Tensor

from candor import models
from candor.activations.extraction import batches, extract, plan
from candor.adapters.attention import attend_by_segment
from candor.adapters.examples import Example
from candor.adapters.lora import Flat, adapt
from candor.adapters.loss import row_of, summed_loss
from candor.baselines.branches import Encoded, endings
from candor.baselines.finetuned.network import Classifier
from candor.config.adapters import Adapter, Lora
from candor.config.captures import Capture
from candor.config.samplings import Sampling
from candor.generations.ablation import ablated
from candor.generations.engine import Request, Watch
from candor.generations.transformers_engine import TransformersEngine
from candor.generations.vllm_engine import VllmEngine
from candor.models import ModelError, Subject
from candor.resources import Planned, Site
from candor.verbalisers.nla import ActivationVerbaliser
from candor.verbalisers.reconstruct import Reconstructor
from candor.verbalisers.sidecar import read_sidecar
from tests.small_models import BLOCKS, SENTENCES, WIDTH, small_folder, small_tokenizer
from tests.small_verbalisers import reconstructor_folder, verbaliser_folder
from tests.two_devices import FIRST, SECOND, Devices, over_two

Maker = Callable[..., Subject]
FAMILIES = ["llama", "gemma3"]
"""With the output head on the last device, and with the embeddings on the first."""
TEXTS = [[{"role": "user", "content": text}] for text in SENTENCES]
SAMPLING = Sampling(max_new_tokens=9, temperature=1.0, top_p=0.9, seed=4)


def prompts(subject: Subject) -> list[list[int]]:
    return [each.token_ids for each in plan(subject, TEXTS, Capture(subject="tiny", layers=[0])).encoded]


def test_tensors_of_two_devices_do_not_meet() -> None:
    with Devices():
        one, other = torch.ones(2, device=FIRST), torch.ones(2, device=SECOND)
        assert (one.to(SECOND) + other).tolist() == [2, 2]
        with pytest.raises(RuntimeError, match=r"aten.add.Tensor: tensors on lazy:0 and lazy:1"):
            one + other
        with pytest.raises(RuntimeError, match="tensors on cpu and lazy:0"):
            one @ torch.ones(2)
        with pytest.raises(RuntimeError, match="tensors on lazy:0 and lazy:1"):
            one[torch.tensor([0], device=SECOND)]
        assert (one[torch.tensor([0])] * torch.tensor(3)).tolist() == [3]


@pytest.mark.parametrize("family", FAMILIES)
def test_a_model_lies_on_both(tiny: Maker, family: str) -> None:
    with Devices():
        network: Any = over_two(tiny(family)).model
        found = [{weight.device for weight in block.parameters()} for block in network.model.layers]
        assert found == [{FIRST}] * (BLOCKS // 2) + [{SECOND}] * (BLOCKS // 2)
        assert network.get_output_embeddings().weight.device == (SECOND if family == "llama" else FIRST)
        with pytest.raises(RuntimeError, match="tensors on"):
            network.model.layers[0].mlp.up_proj.weight + network.model.layers[-1].mlp.up_proj.weight


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("hook", ["residual", "input_layernorm"])
def test_activations_of_each_block_come_from_its_own_device(tiny: Maker, family: str, hook: Any) -> None:
    def read(subject: Subject) -> list[Tensor]:
        capture = Capture(subject="tiny", layers="all", hook=hook, batch_tokens=128, log_probs=True)
        planned = plan(subject, TEXTS, capture)
        found: dict[int, Any] = {}
        for rows in extract(subject, planned, capture, batches(planned, capture)):
            found |= rows
        held = [found[i].layers[k] for i in range(len(TEXTS)) for k in range(BLOCKS)]
        return [*held, *(torch.tensor(found[i].columns["log_probs"]) for i in range(len(TEXTS)))]

    with Devices():
        found = read(over_two(tiny(family)))
    for ours, alone in zip(found, read(tiny(family)), strict=True):
        assert ours.device.type == "cpu" and torch.equal(ours, alone)


@pytest.mark.parametrize("family", FAMILIES)
def test_each_block_s_keys_and_values_are_kept_on_its_own_device(tiny: Maker, family: str) -> None:
    direction = torch.nn.functional.normalize(torch.ones(WIDTH), dim=0)

    def write(subject: Subject) -> tuple[dict[str, list[int]], dict[str, dict[int, Tensor]]]:
        seen: dict[str, dict[int, Tensor]] = {}

        def see(request: Request, _: Sequence[int], held: dict[int, Tensor]) -> None:
            seen[request.example_id] = {layer: values.to("cpu") for layer, values in held.items()}

        engine = TransformersEngine(subject, 2)
        requests = [
            Request(f"e{i % 3}", i // 3, ids, 9) for i, ids in enumerate([*prompts(subject), *prompts(subject)])
        ]
        with ablated(subject.model, direction):
            done = list(engine.generate(requests, SAMPLING, Watch([0, BLOCKS - 1], see)))
        return {f"{each.request.example_id} {each.request.sample_index}": each.token_ids for each in done}, seen

    with Devices():
        texts, seen = write(over_two(tiny(family)))
    alone, seen_alone = write(tiny(family))
    assert texts == alone
    for id, layers in seen_alone.items():
        for layer, values in layers.items():
            torch.testing.assert_close(seen[id][layer], values, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_prompted_baseline(tiny: Maker, family: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "inference_mode", torch.no_grad)  # in which such tensors cannot be split

    def log_probabilities(subject: Subject) -> list[tuple[float, float]]:
        asked = [Encoded(ids, ([7, 9], [8]), False) for ids in prompts(subject)]
        return [each.log_probabilities for each in sorted(endings(subject.model, asked, 96), key=lambda each: each[0])]

    with Devices():
        found = log_probabilities(over_two(tiny(family)))
    for ours, alone in zip(found, log_probabilities(tiny(family)), strict=True):
        assert ours == pytest.approx(alone, abs=1e-5)


def test_a_verbaliser_and_its_reconstructor(tmp_path: Path) -> None:
    folders = verbaliser_folder(tmp_path / "av", speaks=False), reconstructor_folder(tmp_path / "ar")
    sidecars = read_sidecar(folders[0], "verbaliser"), read_sidecar(folders[1], "reconstructor")
    vectors = torch.randn(5, WIDTH, generator=torch.Generator().manual_seed(5))
    sampling = Sampling(temperature=1, top_p=0.95, max_new_tokens=12, seed=3)

    def said_and_made(spread: Callable[[Subject], Subject]) -> tuple[list[Any], Tensor]:
        speaker = spread(models.load_folder(folders[0], "cpu", "float32"))
        # some end early, so that the others' keys change places
        ends = frozenset(range(0, 400, 9))
        verbaliser = ActivationVerbaliser(speaker, sidecars[0])
        verbaliser._ends = ends
        said = verbaliser.verbalise(vectors, list("abcde"), sampling)
        maker = spread(models.load_folder(folders[1], "cpu", "float32"))
        head = torch.eye(WIDTH)
        made = Reconstructor(maker.model, maker.tokenizer, head, sidecars[1]).reconstruct(["a", "quiet dogs sleep"])
        return said, made

    with Devices():
        said, made = said_and_made(over_two)
    alone, made_alone = said_and_made(lambda subject: subject)
    assert said == alone and len({each.text for each in said}) > 1
    assert torch.equal(made, made_alone)


EXAMPLES = [Example(list(range(20 + n, 30 + 2 * n)), 4) for n in range(5)]
ADAPTER = {"subject": "tiny", "train": "d@train", "validation": "d@validation", "lora": {"r": 4, "alpha": 8}}


@pytest.mark.parametrize("family", FAMILIES)
def test_an_adapter_learns_on_each_block_s_own_device(tiny: Maker, family: str) -> None:
    def gradients(subject: Subject, device: torch.device) -> tuple[list[Tensor], float, float]:
        network = adapt(subject.model, Adapter.model_validate({**ADAPTER, "learning_rate": 0.1}).lora, "tiny", 0)
        attend_by_segment(subject.model)
        flat = Flat(network)
        loss = summed_loss(subject.model, row_of(EXAMPLES, device))
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(flat.values, 1.0)
        with torch.no_grad():
            for value, gradient in zip(flat.values, flat.gradients, strict=True):
                value -= 0.1 * gradient
        flat.changed()
        after = summed_loss(subject.model, row_of(EXAMPLES, device))
        kept = [gradient.to("cpu").clone() for gradient in flat.gradients]
        return kept, float(norm), float(after.detach())

    with Devices():
        found, norm, after = gradients(over_two(tiny(family)), FIRST)
    assert len(found) == 2
    (alone,), norm_alone, after_alone = gradients(tiny(family), torch.device("cpu"))
    assert sum(each.numel() for each in found) == alone.numel()
    assert norm == pytest.approx(norm_alone, rel=1e-4)
    assert after == pytest.approx(after_alone, rel=1e-4)


@pytest.mark.parametrize("lora", [None, Lora(r=4, alpha=8)])
def test_a_classifier_learns_over_both(tiny: Maker, lora: Lora | None) -> None:
    def learnt(subject: Subject) -> tuple[list[float], list[float]]:
        classifier = Classifier(subject, lora, 2, "tiny", checkpointing=False)
        classifier.begin(3)
        classifier.training(True)
        logits = classifier.logits([each.token_ids for each in EXAMPLES])
        logits.sum().backward()
        norm = torch.nn.utils.clip_grad_norm_(classifier.trained, 1.0)
        return logits.detach().to("cpu").flatten().tolist(), [float(norm)]

    with Devices():
        found = learnt(over_two(tiny("llama")))
    for ours, alone in zip(found, learnt(tiny("llama")), strict=True):
        assert ours == pytest.approx(alone, rel=1e-4)


@pytest.mark.skipif(torch.cuda.is_available(), reason="a GPU holds it")
def test_a_model_that_the_gpus_do_not_hold_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a GPU, accelerate puts all of it into the CPU's memory, as it does with what several cannot hold."""
    folder = small_folder(tmp_path / "model")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    with pytest.raises(
        ModelError, match=r"model: does not fit into the free memory of the GPUs that this job has; give"
    ):
        models.load_folder(folder, "cuda", "float32")


@pytest.mark.parametrize(("gpus", "parts"), [(0, 1), (1, 1), (3, 2), (4, 4)])
def test_vllm_cuts_a_model_into_a_power_of_two_of_parts_on_as_many_gpus(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, gpus: int, parts: int
) -> None:
    made: dict[str, Any] = {}
    stand_ins = {"vllm": ModuleType("vllm"), "vllm.lora": ModuleType("l"), "vllm.lora.request": ModuleType("r")}
    stand_ins["vllm"].LLM = lambda **options: made.update(options)  # type: ignore[attr-defined]
    stand_ins["vllm.lora.request"].LoRARequest = None  # type: ignore[attr-defined]
    for name, module in stand_ins.items():
        monkeypatch.setitem(sys.modules, name, module)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: gpus)
    VllmEngine(small_folder(tmp_path / "model"), small_tokenizer(), "bfloat16")
    assert made["tensor_parallel_size"] == parts


class TestProcesses:
    """How a finetuning uses several GPUs; that two processes share its batches is shown in test_finetune_script.py."""

    def planned(self, model: str, **resources: Any) -> Planned:
        """What is known of the finetuning of an adapter on 80 GB GPUs."""
        shape = {"large": (70_553_706_496, 80, 8192), "small": (8_030_261_248, 32, 4096)}[model]
        facts = {**dict(zip(("parameters", "blocks", "width"), shape, strict=True)), "dtype": "bfloat16"}
        tuned = {"subject": "model", "lora": {"r": 16}, "batch_size": 4, "max_tokens": 1024, "train": "texts@train"}
        tuned |= {"gradient_checkpointing": True, "validation": "texts@validation", "epochs": 1, "evaluations": 1}
        texts = {"origin": "sources/s", "limit": None, "split": {"test": 0.2, "validation": 0.2}}
        run = {
            "shards": {},
            "resources": {"model": resources},
            "estimates": {"tokens": 300, "tflops": 312, "mfu": 0.4, "decode_mfu": 0.05},
        }
        entries = {"models": {"model": facts}, "adapters": {"tuned": tuned}, "datasets": {"texts": texts}, "run": run}
        return Planned({**entries, "captures": {}, "ablations": {}, "samplings": {}}, Site("a100", 80.0))

    def test_one_on_each_gpu_that_holds_the_model_with_memory_for_all(self) -> None:
        names = {"adapter": "tuned"}
        one, four = self.planned("small"), self.planned("small", gpus=4)
        assert (one.processes("finetune", names), four.processes("finetune", names)) == (1, 4)
        assert four.needs("finetune", names).mem_mb == pytest.approx(4 * one.needs("finetune", names).mem_mb, abs=4)

    def test_one_over_all_gpus_where_none_holds_the_model(self) -> None:
        planned, names = self.planned("large"), {"adapter": "tuned"}
        assert planned.needs("finetune", names).gpus > 1 and planned.processes("finetune", names) == 1

    def test_one_where_the_script_knows_no_other(self) -> None:
        planned = self.planned("small", gpus=4)
        planned.config = {**planned.config, "captures": {"read": {"subject": "model", "batch_tokens": None}}}
        assert planned.processes("run_quantisation", {"capture": "read"}) == 1
