"""The file of a finetuned classifier: safetensors, the head and the trained weights of each seed, and a JSON header.

Tensors are named `{seed}/{name}`: `head.weight` float32 [outputs, width], and an adapter's float32 weights by peft's
names, or all weights of the network without its output head in the format that it computes in. Header key `classifier`:
see Header. `candor` holds the provenance.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from safetensors import safe_open
from torch import Tensor

from candor.adapters.files import write_weights
from candor.errors import CandorError
from candor.provenance import safetensors_header


class ClassifierError(CandorError):
    """A classifier's file is damaged, or does not fit what it is used on."""


@dataclass
class Header:
    """How a classifier was made and what it may be used on.

    `lora` is the shape of the stored adapter, null where all weights are stored; `best_steps` and `held_out_auroc` are
    by seed, the latter null where nothing was held out.
    """

    task_classes: list[str]
    options: dict[str, Any]
    lora: dict[str, Any] | None
    seeds: list[int]
    subject: str
    revision: str
    train: str
    n_train: int
    n_held_out: int
    best_steps: dict[str, int]
    held_out_auroc: dict[str, float | None]


def save(path: Path, header: Header, states: Mapping[int, Mapping[str, Tensor]], made: Mapping[str, Any]) -> None:
    """Write a classifier whole."""
    tensors = {f"{seed}/{name}": value for seed, state in states.items() for name, value in state.items()}
    write_weights(path, tensors, made, classifier=json.dumps(asdict(header), sort_keys=True))


def read_header(path: Path) -> Header:
    """The header of a classifier's file; ClassifierError for any other file."""
    metadata = safetensors_header(path).get("__metadata__", {})
    if "classifier" not in metadata:
        raise ClassifierError(f"{path}: is no finetuned classifier; give a file that finetune_classifier.py wrote.")
    try:
        return Header(**json.loads(metadata["classifier"]))
    except TypeError:
        raise ClassifierError(
            f"{path}: was written by another version of candor; delete it to make it again."
        ) from None


def read_state(path: Path, seed: int) -> dict[str, Tensor]:
    """The weights of one seed, by name."""
    prefix = f"{seed}/"
    with safe_open(path, framework="pt") as file:
        names = [name for name in file.keys() if name.startswith(prefix)]  # noqa: SIM118
        return {name.removeprefix(prefix): file.get_tensor(name) for name in names}
