"""Subject models: where their weights are found, what pins them, and how they are loaded.

Weights stay in a cache (the hub's own, or candor's for files that had to be converted) and come back on demand.
`results/models/{model}.json` holds the facts of one model; the loader checks the weights against it. Only safetensors
are read, and no code that comes with a model is run.
"""

import fcntl
import hashlib
import importlib.metadata
import json
import os
import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from candor.cache import cache_folder
from candor.config.models import HubModel, Model, PackageModel
from candor.errors import CandorError
from candor.hardware import auto_device, auto_dtype
from candor.hub import reason, refusals, resolve
from candor.provenance import safetensors_header, sha256

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

CONVERSION = 2
"""Raised when the conversion of GGUF files changes, so that the cache makes them again."""
WANTED = ("*.safetensors", "*.json", "*.jinja", "tokenizer.model", "*.txt", "nla_meta.yaml")
BESIDE = ("value_head.safetensors",)
"""Weights that no index names: the linear map of a reconstructor."""


class ModelError(CandorError):
    """A model cannot be found, fetched or loaded; the message says which, why, and what to do."""


class Facts(NamedTuple):
    """What pins a model: resolved `revision`, its files with size and sha256, and the shape found in the weights.

    `block_parameters` are those of the language model's blocks, `head_parameters` those of its output head, which may
    be the table of embeddings: the weights that a token passes, the blocks up to a layer for activations alone.
    """

    revision: str | None
    files: dict[str, dict[str, Any]]
    blocks: int
    width: int
    parameters: int
    block_parameters: int
    head_parameters: int
    dtype: str


class Subject(NamedTuple):
    """A loaded model in evaluation mode, and its tokenizer."""

    model: "PreTrainedModel"
    tokenizer: "PreTrainedTokenizerBase"


def fetch(model: Model) -> Facts:
    """Bring a model's weights into the cache and describe them; ModelError when the config describes them wrongly."""
    found, _ = fetch_unchecked(model)
    for key in ("blocks", "width", "parameters"):
        if getattr(found, key) != getattr(model, key):
            raise ModelError(
                f"{model.name}: the config says {key}: {getattr(model, key)}, "
                f"but the weights have {getattr(found, key)}; correct the config"
            )
    return found


def chat_template(path: Path) -> str:
    """The text of a Jinja file; ModelError when it is none."""
    from jinja2 import TemplateError, TemplateSyntaxError
    from transformers.utils.chat_template_utils import render_jinja_template

    try:
        text = path.read_text(encoding="utf-8")
        # by transformers, which knows tags of its own
        render_jinja_template(conversations=[[{"role": "user", "content": "?"}]], chat_template=text)
    except (OSError, UnicodeDecodeError) as error:
        raise ModelError(f"{path}: the chat template cannot be read ({error}); check `chat_template`") from None
    except TemplateSyntaxError as error:
        raise ModelError(f"{path} line {error.lineno}: not a Jinja template: {error.message}") from None
    except TemplateError:
        pass  # it may refuse this conversation, or want a tokenizer's tokens
    return text


def fetch_unchecked(model: Model) -> tuple[Facts, Path]:
    """The facts and the folder of a model whose shape the caller does not know."""
    revision = resolve("model", model.id, model.revision, ModelError) if isinstance(model, HubModel) else None
    folder = _folder(model, revision)
    return describe(folder, revision), folder


def describe(folder: Path, revision: str | None = None) -> Facts:
    """The facts of a model's folder, read from its files without loading it."""
    from transformers import AutoConfig

    weights = _weight_files(folder)
    headers = [safetensors_header(path) for path in weights]
    shapes = {name: entry for header in headers for name, entry in header.items() if name != "__metadata__"}
    tensors = shapes.values()
    try:
        text = AutoConfig.from_pretrained(folder, trust_remote_code=False).get_text_config()
    except (OSError, ValueError) as error:
        raise ModelError(f"{folder}: its config.json cannot be used ({str(error).splitlines()[0]})") from None
    others = {path for pattern in WANTED for path in folder.glob(pattern) if path.suffix != ".safetensors"}
    beside = {folder / name for name in BESIDE if (folder / name).exists()}
    files = sorted({*weights, *others, *beside})
    return Facts(
        revision=revision,
        files={path.name: {"size": path.stat().st_size, "sha256": sha256(path)} for path in files},
        blocks=text.num_hidden_layers,
        width=text.hidden_size,
        parameters=sum(_product(entry["shape"]) for entry in tensors),
        block_parameters=sum(_product(entry["shape"]) for name, entry in shapes.items() if _in_block(name)),
        head_parameters=text.vocab_size * text.hidden_size,
        dtype=", ".join(sorted({entry["dtype"] for entry in tensors})),
    )


def _in_block(name: str) -> bool:
    """Whether a weight is one of a numbered block of the language model, not of a tower that reads images."""
    return re.search(r"\.(layers|h|blocks)\.\d+\.", f".{name}") is not None and "vision" not in name


def _weight_files(folder: Path) -> list[Path]:
    """The files that transformers loads: those of the index, or the one file; not a second copy in another layout."""
    index = folder / "model.safetensors.index.json"
    if index.exists():
        names = set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values())
    else:
        names = {"model.safetensors"}
    for name in sorted(names):
        if not (folder / name).exists():
            raise ModelError(f"{folder}: holds no {name}; candor reads no other format than safetensors")
    return [folder / name for name in sorted(names)]


def load(model: Model, facts: Mapping[str, Any], adapter: Path | None = None) -> Subject:
    """Load a model that fetch_model has described; ModelError when the files are not those it described.

    `adapter` is the folder of a LoRA adapter, which is merged into the weights: it costs nothing while the model runs.
    """
    folder = folder_of(model, facts)
    device, dtype = placement(model)
    network = load_folder(folder, device, dtype).model
    return Subject(network if adapter is None else _merged(network, adapter), tokenizer_of(folder, facts))


def folder_of(model: Model, facts: Mapping[str, Any]) -> Path:
    """The folder with a model's files; ModelError when they are not those that fetch_model described."""
    folder = _folder(model, facts["revision"])
    _verify(folder, facts["files"])
    return folder


def placement(model: Model) -> tuple[str, str]:
    """The device and the dtype that a model runs in; a run's frozen config has settled both."""
    device = auto_device() if model.device == "auto" else model.device
    return device, auto_dtype(device) if model.dtype == "auto" else model.dtype


def tokenizer_of(folder: Path, facts: Mapping[str, Any]) -> "PreTrainedTokenizerBase":
    """The tokenizer of a model's folder, with the chat template that the config gives in place of its own."""
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=False, local_files_only=True)
    if facts.get("chat_template") is not None:
        tokenizer.chat_template = facts["chat_template"]
    return tokenizer


def adapter_files(adapter: Path | None) -> list[Path]:
    """The files of an adapter's folder that bear on what it makes; none without an adapter."""
    return [] if adapter is None else [adapter / "adapter_model.safetensors", adapter / "adapter_config.json"]


def _merged(network: "PreTrainedModel", adapter: Path) -> "PreTrainedModel":
    from peft import PeftModel

    safetensors_header(adapter / "adapter_model.safetensors")  # says so where the file is not whole
    try:
        merged: PreTrainedModel = PeftModel.from_pretrained(network, adapter).merge_and_unload()
    except (OSError, ValueError, RuntimeError) as error:
        raise ModelError(
            f"{adapter}: is no adapter of this model ({str(error).splitlines()[0]}); delete it to make it again"
        ) from None
    merged.eval()
    return merged


def load_folder(folder: Path | str, device: str, dtype: str) -> Subject:
    """Load a model and its tokenizer from a folder onto a device (cpu, cuda, mps) in a torch dtype.

    With `cuda` its blocks are spread over all GPUs that this process sees, in order; with `cuda:1` it is on that one.
    """
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    if device == "cuda" and not torch.cuda.is_available():
        raise ModelError(
            f"{folder}: device is cuda, but torch finds no GPU; set the model's `device` or install CUDA's torch"
        )
    if device == "mps" and not torch.backends.mps.is_available():
        raise ModelError(f"{folder}: device is mps, but torch finds no Apple GPU; set the model's `device`")
    options: dict[str, Any] = {"device_map": "auto"} if device == "cuda" else {}
    network = AutoModelForCausalLM.from_pretrained(
        folder,
        dtype=getattr(torch, dtype),
        use_safetensors=True,
        trust_remote_code=False,
        local_files_only=True,
        **options,
    )
    if options:
        refuse_offloaded(network, folder)
    else:
        network.to(torch.device(device))  # type: ignore[arg-type]  # its stub knows only modules
    tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=False, local_files_only=True)
    return Subject(network.eval(), tokenizer)


def refuse_offloaded(network: "PreTrainedModel", folder: Path | str) -> None:
    """ModelError for a network that does not fit into the GPUs' memory, of which accelerate leaves the rest elsewhere.

    It would run, many times slower: each pass would bring those blocks' weights to a GPU again.
    """
    if any(weight.device.type in ("cpu", "meta") for weight in network.parameters()):
        raise ModelError(
            f"{folder}: does not fit into the free memory of the GPUs that this job has; give the model more of them "
            "(`gpus` in run.resources), or a `dtype` of fewer bytes"
        )


def _folder(model: Model, revision: str | None) -> Path:
    if isinstance(model, PackageModel):
        return _converted(_package_file(model))
    if isinstance(model, HubModel):
        return _snapshot(model, revision)
    folder = Path(model.path).expanduser()
    if not folder.is_dir():
        raise ModelError(f"{model.name}: {model.path} is not a folder; check `path`")
    return folder


def _package_file(model: PackageModel) -> Path:
    try:
        files = importlib.metadata.files(model.package) or []
    except importlib.metadata.PackageNotFoundError:
        raise ModelError(f"{model.name}: package {model.package} is not installed; run make install") from None
    for file in files:
        if file.name == model.file:
            return Path(str(file.locate()))
    raise ModelError(f"{model.name}: package {model.package} holds no file {model.file}; check `file`")


def _converted(gguf: Path) -> Path:
    """The folder with a GGUF file's weights as bfloat16 safetensors; converted once, then taken from the cache."""
    key = hashlib.sha256(f"{CONVERSION} {_known_sha256(gguf)}".encode()).hexdigest()[:16]
    folder = cache_folder("models", f"{gguf.stem.lower()}-{key}")
    folder.parent.mkdir(parents=True, exist_ok=True)
    with (folder.parent / f".{folder.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # two jobs may ask for the same model at once
        if not folder.exists():
            draft = folder.with_name(f".{folder.name}.part")
            shutil.rmtree(draft, ignore_errors=True)
            convert_gguf(gguf, draft)
            draft.rename(folder)
    return folder


def convert_gguf(gguf: Path, folder: Path) -> None:
    """Dequantise a GGUF file into a folder of bfloat16 safetensors with its tokenizer and chat template."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    where = {"gguf_file": gguf.name, "local_files_only": True}
    stored = _stored_tokenizer(gguf)
    tokenizer = AutoTokenizer.from_pretrained(gguf.parent, **where)
    if stored.get("tokenizer.ggml.pre") == "smollm":
        _split_digits(tokenizer)
    network = AutoModelForCausalLM.from_pretrained(gguf.parent, dtype=torch.bfloat16, **where)
    # the loader leaves its quantiser behind, with which transformers refuses to save
    del network.config.quantization_config
    network.hf_quantizer = None  # type: ignore[assignment]
    _check_tokenizer(gguf, tokenizer, stored)
    network.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def _stored_tokenizer(gguf: Path) -> dict[str, Any]:
    """What a GGUF file says of its tokenizer."""
    from gguf import GGUFReader

    fields = GGUFReader(gguf).fields
    return {name: field.contents() for name, field in fields.items() if name.startswith("tokenizer.")}


def _split_digits(tokenizer: "PreTrainedTokenizerBase") -> None:
    """Cut a text at each digit before anything else, as SmolLM was trained; transformers loses it on the way from GGUF.

    No entry of the vocabulary joins digits, but space before a number (two line breaks before `1.`) would be cut amiss.
    """
    from tokenizers.pre_tokenizers import Digits, Sequence

    backend = tokenizer.backend_tokenizer
    backend.pre_tokenizer = Sequence([Digits(individual_digits=True), backend.pre_tokenizer])


def _check_tokenizer(gguf: Path, tokenizer: "PreTrainedTokenizerBase", stored: Mapping[str, Any]) -> None:
    """Stop unless vocabulary, special tokens and chat template are those that the GGUF file holds."""
    ours = tokenizer.convert_ids_to_tokens(list(range(len(stored["tokenizer.ggml.tokens"]))))
    pairs = {
        "vocabulary": (ours, stored["tokenizer.ggml.tokens"]),
        "chat template": (tokenizer.chat_template, stored.get("tokenizer.chat_template")),
        "bos token": (tokenizer.bos_token_id, stored.get("tokenizer.ggml.bos_token_id")),
        "eos token": (tokenizer.eos_token_id, stored.get("tokenizer.ggml.eos_token_id")),
    }
    for what, (found, expected) in pairs.items():
        if expected is not None and found != expected:
            raise ModelError(
                f"{gguf.name}: the converted tokenizer has another {what} than the file; report this as a bug"
            )


def _snapshot(model: HubModel, revision: str | None) -> Path:
    from huggingface_hub import snapshot_download

    try:
        return Path(snapshot_download(model.id, revision=revision, allow_patterns=list(WANTED)))
    except refusals() as error:
        raise ModelError(f"hub model {model.id}: {reason(error)}") from None


def _verify(folder: Path, files: Mapping[str, Mapping[str, Any]]) -> None:
    for name, file in files.items():
        path = folder / name
        if not path.exists() or path.stat().st_size != file["size"] or _known_sha256(path) != file["sha256"]:
            raise ModelError(
                f"{path}: is not the file that fetch_model described; "
                "bring it back, or delete results/models/ to take it as it is now"
            )


def _known_sha256(path: Path) -> str:
    """Digest of a big file, remembered for as long as its size and time stay: hashing 100 GB takes minutes."""
    stat = path.stat()
    name = hashlib.sha256(f"{path.resolve()} {stat.st_size} {stat.st_mtime_ns} {stat.st_ino}".encode()).hexdigest()
    note = cache_folder("digests", name)
    if note.exists() and len(known := note.read_text()) == 64:
        return known
    found = sha256(path)
    note.parent.mkdir(parents=True, exist_ok=True)
    temporary = note.with_name(f"{note.name}.{os.getpid()}")
    temporary.write_text(found)
    temporary.replace(note)
    return found


def _product(shape: list[int]) -> int:
    product = 1
    for size in shape:
        product *= size
    return product


def read_facts(path: Path) -> dict[str, Any]:
    """The facts that fetch_model wrote."""
    try:
        return dict(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError) as error:
        raise ModelError(f"{path}: cannot be read ({error}); delete it to make it again") from None
