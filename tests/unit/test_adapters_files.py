"""An adapter's files, as peft reads them."""

import json
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import torch
from accelerate import Accelerator
from peft import PeftModel
from transformers import AutoModelForCausalLM, PreTrainedModel

from candor import provenance
from candor.adapters.examples import Example
from candor.adapters.files import write_config, write_weights
from candor.adapters.job import Finetuned, finetune
from candor.config.adapters import Adapter
from candor.models import Subject, load_folder
from tests.small_models import small_folder

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

EXAMPLES = [Example([5, 9, 17, 33, 65, 129, 12, 7], 3), Example([8, 8, 31, 90, 91], 2), Example([64, 3, 9], 1)]
IDS = torch.tensor([[4, 8, 15, 16, 23, 42]])


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with a small network."""
    return small_folder(tmp_path / "model")


def train(folder: Path, work: Path, **changes: Any) -> tuple[Finetuned, Subject]:
    """Train an adapter on a few examples; the network that was trained comes back with it."""
    own = {"subject": "tiny", "train": "d@train", "validation": "d@validation", "learning_rate": 0.02, "epochs": 4}
    adapter = Adapter.model_validate({**own, "lora": {"r": 4, "alpha": 6}, **changes})
    subject = load_folder(folder, "cpu", "float32")
    work.mkdir(exist_ok=True)
    found = finetune(subject, adapter, "owner/tiny", Accelerator(cpu=True), EXAMPLES, EXAMPLES, work, -1, "test")
    return found, subject


def written(found: Finetuned, folder: Path) -> Path:
    """The adapter's folder."""
    write_weights(folder / "adapter_model.safetensors", found.state, {"script": "finetune.py"})
    write_config(folder / "adapter_config.json", found.config)
    return folder


def logits(model: PreTrainedModel | PeftModel) -> torch.Tensor:
    with torch.no_grad():
        return model.eval()(input_ids=IDS).logits


def trained_logits(subject: Subject) -> torch.Tensor:
    """What the network gives whose adapter was trained, read in our own way."""
    with torch.no_grad():
        return subject.model.eval()(input_ids=IDS, segments=(IDS.shape[1],), use_cache=False).logits


LORAS: list[dict[str, Any]] = [
    {"r": 4, "alpha": 6},
    {"r": 3, "alpha": 8, "rslora": True, "targets": ["q_proj", "v_proj"], "layers": [1, 2]},
    {"r": 4, "alpha": 6, "init": "pissa"},
    {"r": 4, "alpha": 6, "init": "olora", "rslora": True},
    {"r": 4, "alpha": 6, "init": "orthogonal"},
    {"r": 4, "alpha": 6, "targets": ["lm_head", "up_proj"]},
]


@pytest.mark.parametrize("lora", LORAS, ids=json.dumps)
def test_plain_peft_loads_what_was_trained(folder: Path, tmp_path: Path, lora: dict[str, Any]) -> None:
    found, subject = train(folder, tmp_path / "work", lora=lora)
    base = AutoModelForCausalLM.from_pretrained(folder)
    untrained = logits(base)
    loaded = logits(PeftModel.from_pretrained(base, written(found, tmp_path / "adapter")))
    torch.testing.assert_close(loaded, trained_logits(subject), rtol=1e-3, atol=1e-3)
    assert (loaded - untrained).abs().max() > 0.05


def test_merged_weights_give_the_same(folder: Path, tmp_path: Path) -> None:
    found, subject = train(folder, tmp_path / "work")
    base = AutoModelForCausalLM.from_pretrained(folder)
    network = PeftModel.from_pretrained(base, written(found, tmp_path / "adapter")).merge_and_unload()
    torch.testing.assert_close(logits(network), trained_logits(subject), rtol=1e-3, atol=1e-3)


def test_the_files_are_the_same_bytes_each_time_and_say_what_they_are(folder: Path, tmp_path: Path) -> None:
    first, second = (written(train(folder, tmp_path / name)[0], tmp_path / name) for name in ("one", "two"))
    for name in ("adapter_model.safetensors", "adapter_config.json"):
        assert (first / name).read_bytes() == (second / name).read_bytes()
    assert provenance.read(first / "adapter_model.safetensors") == {"script": "finetune.py"}
    config = json.loads((first / "adapter_config.json").read_text())
    assert list(config) == sorted(config)
    assert config["base_model_name_or_path"] == "owner/tiny"
    assert (config["r"], config["lora_alpha"], config["inference_mode"]) == (4, 6, True)
    assert config["target_modules"] == sorted(config["target_modules"])


def test_an_adapter_that_changed_the_base_becomes_one_of_twice_the_rank(folder: Path, tmp_path: Path) -> None:
    found, _ = train(folder, tmp_path / "work", lora={"r": 4, "alpha": 6, "init": "pissa", "rslora": True})
    assert found.config.r == 8
    assert found.config.lora_alpha == pytest.approx(6 * math.sqrt(2))
    assert found.config.init_lora_weights is True


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_weights_are_stored_in_the_adapter_s_format(folder: Path, tmp_path: Path, dtype: str) -> None:
    found, _ = train(folder, tmp_path / "work", adapter_dtype=dtype)
    assert {value.dtype for value in found.state.values()} == {getattr(torch, dtype)}
    header = provenance.safetensors_header(written(found, tmp_path / "adapter") / "adapter_model.safetensors")
    kinds = {entry["dtype"] for name, entry in header.items() if name != "__metadata__"}
    assert kinds == {"float32": {"F32"}, "bfloat16": {"BF16"}}[dtype]


def test_another_seed_is_another_adapter(folder: Path, tmp_path: Path) -> None:
    one, two = (train(folder, tmp_path / str(seed), seed=seed)[0].state for seed in (0, 1))
    assert not any(torch.equal(one[name], two[name]) for name in one)


def test_the_network_s_own_memory_holds_no_second_copy(
    folder: Path, tmp_path: Path, tokenizer: "PreTrainedTokenizerFast"
) -> None:
    _, subject = train(folder, tmp_path / "work")
    attention = subject.model.model.layers[0].self_attn
    stores = {m.base_layer.weight.untyped_storage().data_ptr() for m in (attention.q_proj, attention.k_proj)}
    assert len(stores) == 1
