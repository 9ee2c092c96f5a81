"""One finetuning job, from the tables it reads to the files it makes."""

from argparse import Namespace
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from pydantic import TypeAdapter

from candor import models, provenance, tables
from candor.adapters.attention import attend_by_segment
from candor.adapters.checkpoints import Checkpoints
from candor.adapters.examples import Example, encode_all
from candor.adapters.files import write_config, write_weights
from candor.adapters.linears import ADAPTER
from candor.adapters.lora import CHANGES_BASE, Flat, adapt, as_difference, trained_state
from candor.adapters.training import Trained, Trainer
from candor.config.adapters import Adapter
from candor.config.models import HubModel, Model
from candor.data.parts import read_part
from candor.errors import CandorError
from candor.hardware import auto_device, auto_dtype
from candor.models import Subject
from candor.partial import workplace
from candor.schemas.history import HISTORY

if TYPE_CHECKING:
    from accelerate import Accelerator
    from peft import LoraConfig, PeftModel

PACKAGES = ("torch", "transformers", "peft", "accelerate", "safetensors")


class Finetuned(NamedTuple):
    """An adapter's weights by peft's names, its config, and how it was trained."""

    state: dict[str, torch.Tensor]
    config: "LoraConfig"
    trained: Trained


def run(args: Namespace) -> dict[str, int]:
    """Finetune as the spec says and write the adapter's files; return counts of examples."""
    adapter = Adapter.model_validate(args.spec["adapters"])
    model = _settled(TypeAdapter(Model).validate_python(args.spec["models"]))
    if model.dtype == "float16":
        raise CandorError(
            f"{model.name}: gradients are too small for float16; finetune with dtype: bfloat16 or float32"
        )
    if args.threads:
        torch.set_num_threads(args.threads)
    accelerator = accelerator_of(adapter, str(model.device), args.tracking)
    facts = models.read_facts(args.model)
    where = f"cuda:{accelerator.local_process_index}" if _one_gpu_each(accelerator, model) else model.device
    subject = models.load(model.model_copy(update={"device": where}), facts)
    train = encode_all(read_part(args.data, adapter.train), subject.tokenizer, adapter.max_tokens, adapter.train)
    other = args.validation_data or args.data
    validation = encode_all(
        read_part(other, adapter.validation), subject.tokenizer, adapter.max_tokens, adapter.validation
    )
    counts = {
        "n": len(train.examples),
        "n_skipped": train.n_skipped,
        "n_validation": len(validation.examples),
        "n_validation_skipped": validation.n_skipped,
    }
    made = provenance.record(
        __file__,
        args.code,
        args.spec,
        sorted({args.model, args.data, other}),
        PACKAGES,
        device=model.device,
        dtype=model.dtype,
        threads=torch.get_num_threads(),
        processes=accelerator.num_processes,
        **counts,
    )
    made["script"] = "finetune.py"
    base = model.id if isinstance(model, HubModel) else model.name
    name = args.adapter.parent.name
    with _shared_workplace(accelerator, args.partial / provenance.digest(made)[:24]) as folder:
        accelerator.init_trackers("candor", config={"adapter": name, **_plain(adapter.model_dump())})
        found = finetune(
            subject, adapter, base, accelerator, train.examples, validation.examples, folder, args.progress, name
        )
        if accelerator.is_main_process:
            write_weights(args.adapter, found.state, made)
            write_config(args.config, found.config)
            tables.write(args.history, found.trained.rows, HISTORY, made)
    accelerator.end_training()
    return counts


class Prepared(NamedTuple):
    """A network with an untrained adapter, and what trains it."""

    network: "PeftModel"
    trainer: Trainer


def prepared(
    subject: Subject,
    adapter: Adapter,
    base: str,
    accelerator: "Accelerator",
    train: Sequence[Example],
    validation: Sequence[Example],
) -> Prepared:
    """Put an adapter into a network that is called `base`; the network is used up."""
    network = adapt(subject.model, adapter.lora, base, adapter.seed)
    attend_by_segment(subject.model)
    if adapter.gradient_checkpointing:
        subject.model.activation_checkpointing_enable({"use_reentrant": False})
    return Prepared(network, Trainer(subject.model, Flat(network), adapter, accelerator, train, validation))


def finetune(
    subject: Subject,
    adapter: Adapter,
    base: str,
    accelerator: "Accelerator",
    train: Sequence[Example],
    validation: Sequence[Example],
    folder: Path,
    progress: int,
    name: str,
) -> Finetuned:
    """Train an adapter for a network that is called `base`, with unfinished work in `folder`."""
    network, trainer = prepared(subject, adapter, base, accelerator, train, validation)
    config: Any = network.peft_config[ADAPTER]
    first = trained_state(network, torch.float32) if adapter.lora.init in CHANGES_BASE else None
    trained = trainer.run(Checkpoints(folder), progress if accelerator.is_main_process else -1, name)
    state = trained_state(network, torch.float32)
    if first is not None:
        state, config = as_difference(first, state, config)
    dtype = getattr(torch, adapter.adapter_dtype)
    return Finetuned({key: value.to(dtype) for key, value in state.items()}, config, trained)


def accelerator_of(adapter: Adapter, device: str, tracking: Path) -> "Accelerator":
    """The accelerate object of this process: one of several under `accelerate launch`."""
    from accelerate import Accelerator
    from accelerate.tracking import get_available_trackers

    if adapter.tracker is not None and adapter.tracker not in [str(each) for each in get_available_trackers()]:
        raise CandorError(
            f"tracker {adapter.tracker} is not installed; install it, or set the adapter's `tracker: null`"
        )
    return Accelerator(cpu=device == "cpu", log_with=adapter.tracker, project_dir=str(tracking))


def _settled(model: Model) -> Model:
    """A model whose device and number format are known."""
    device = auto_device() if model.device == "auto" else model.device
    dtype = auto_dtype(device) if model.dtype == "auto" else model.dtype
    return model.model_copy(update={"device": device, "dtype": dtype})


def _one_gpu_each(accelerator: "Accelerator", model: Model) -> bool:
    return model.device == "cuda" and accelerator.num_processes > 1


@contextmanager
def _shared_workplace(accelerator: "Accelerator", folder: Path) -> Iterator[Path]:
    """The job's folder for unfinished work, which the main process takes and gives back."""
    if accelerator.is_main_process:
        with workplace(folder):
            accelerator.wait_for_everyone()
            yield folder
            accelerator.wait_for_everyone()
    else:
        accelerator.wait_for_everyone()
        yield folder
        accelerator.wait_for_everyone()


def _plain(value: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """A nested config as `section.key: value`, with what trackers take as values."""
    found: dict[str, Any] = {}
    for key, each in value.items():
        if isinstance(each, dict):
            found |= _plain(each, f"{prefix}{key}.")
        else:
            found[prefix + key] = each if isinstance(each, (int, float, str, bool)) else str(each)
    return found
