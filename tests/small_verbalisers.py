"""Small random verbalisers and reconstructors in the files of a released pair: weights, tokenizer, sidecar, map."""

from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.small_models import BLOCKS, WIDTH, small_subject, small_tokenizer

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedTokenizerFast

    from candor.models import Subject

SIGN = "㈎"
LAYER = 2
AV_PROMPT = "Here is the vector:\n\n<concept>{injection_char}</concept>\n\nSay what it holds."
AR_PROMPT = "Of this text: <text>{explanation}</text> <summary>"
WORDS = ("<explanation>", " quiet", " dog", " sleeps", "</explanation>")
"""What a verbaliser that `speaks` writes, each word a token of its own."""


def verbaliser_tokenizer() -> "PreTrainedTokenizerFast":
    """The small tokenizer, which knows the injected sign and some words as tokens."""
    tokenizer = small_tokenizer()
    tokenizer.add_tokens([SIGN, *WORDS])
    return tokenizer


def meta(role: str, **changes: Any) -> str:
    """A sidecar with the keys of a released one, as YAML; `changes` are of its first level."""
    import yaml

    tokenizer = verbaliser_tokenizer()
    sign = tokenizer.convert_tokens_to_ids(SIGN)
    ids = tokenizer(f"<concept>{SIGN}</concept>", add_special_tokens=False)["input_ids"]
    at = ids.index(sign)
    scale = 150.0 if role == "av" else None
    suffix = tokenizer("A</text> <summary>", add_special_tokens=False)["input_ids"][-6:]
    found = {
        "kind": "nla_model",
        "schema_version": 2,
        "role": role,
        "stage": "rl" if role == "av" else "sl",
        "base_checkpoint": "somewhere/else",
        "d_model": WIDTH,
        "extraction": {"injection_scale": scale, "mse_scale": WIDTH**0.5},
        "tokens": {
            "injection_char": SIGN,
            "injection_token_id": sign,
            "injection_left_neighbor_id": ids[at - 1],
            "injection_right_neighbor_id": ids[at + 1],
            "critic_suffix_ids": suffix if role == "ar" else None,
        },
        "prompt_templates": {"av": AV_PROMPT, "ar": AR_PROMPT},
        "extraction_layer_index": LAYER,
        "parent_checkpoints": [],
    }
    return yaml.safe_dump({**found, **changes}, allow_unicode=True)


def small_verbaliser(family: str = "qwen2", dtype: str = "float32") -> "Subject":
    """A random verbaliser, loaded; its replies are noise."""
    return small_subject(verbaliser_tokenizer(), family, dtype)


def verbaliser_folder(folder: Path, speaks: bool = True, **changes: Any) -> Path:
    """A verbaliser as it is released; one that speaks writes WORDS, whatever it reads."""
    import torch

    subject = small_verbaliser()
    if speaks:
        _teach(subject, torch.Generator().manual_seed(0))
    subject.model.save_pretrained(folder)
    subject.tokenizer.save_pretrained(folder)
    (folder / "nla_meta.yaml").write_text(meta("av", **changes), encoding="utf-8")
    return folder


def _teach(subject: "Subject", generator: "torch.Generator") -> None:
    """Let each token of the chain call for the next: blocks add nothing, and the head knows its own embedding."""
    import torch

    network: Any = subject.model
    with torch.no_grad():
        for block in network.model.layers:
            block.self_attn.o_proj.weight.zero_()
            block.mlp.down_proj.weight.zero_()
        embeddings = network.get_input_embeddings().weight
        embeddings.copy_(torch.randn(embeddings.shape, generator=generator))
        network.lm_head.weight.zero_()
        prompt = subject.tokenizer("<|im_start|>assistant\n", add_special_tokens=False)["input_ids"]
        chain = [prompt[-1], *subject.tokenizer.convert_tokens_to_ids(list(WORDS))]
        for token, following in pairwise(chain):
            network.lm_head.weight[following] = 10 * embeddings[token] / embeddings[token].norm()


def reconstructor_folder(folder: Path, **changes: Any) -> Path:
    """A reconstructor as it is released: the first blocks, no final norm, no output head, a map beside them."""
    import torch
    from safetensors.torch import save_file
    from transformers import Qwen2ForCausalLM

    subject = small_verbaliser()
    subject.model.config.num_hidden_layers = LAYER + 1
    subject.model.config.layer_types = ["full_attention"] * (LAYER + 1)
    torch.manual_seed(1)
    network = Qwen2ForCausalLM(subject.model.config)
    assert LAYER + 1 < BLOCKS
    left_out = ("model.norm.", "lm_head.")
    kept = {name: tensor for name, tensor in network.state_dict().items() if not name.startswith(left_out)}
    network.save_pretrained(folder, state_dict=kept)
    subject.tokenizer.save_pretrained(folder)
    save_file({"weight": torch.randn(WIDTH, WIDTH)}, folder / "value_head.safetensors")
    (folder / "nla_meta.yaml").write_text(meta("ar", **changes), encoding="utf-8")
    return folder


def entry_of(folder: Path) -> dict[str, Any]:
    """A model's entry in the config, with the shape that its files have."""
    from candor import models

    found = models.describe(folder)
    shape = {key: getattr(found, key) for key in ("blocks", "width", "parameters")}
    return {"source": "folder", "path": str(folder), "name": folder.name, "device": "cpu", "dtype": "float32", **shape}
