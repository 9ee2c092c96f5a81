"""Checkpoints of a finetuning, so that a job that was killed goes on where it was and ends with the same weights.

A checkpoint holds all that the next step depends on: the adapter's weights and the optimiser's state, and in its
header the number of steps taken and the history so far. Order of batches and dropout depend on the seed and the step
alone, so there is no state of random numbers. The best adapter so far is a file of its own.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from torch import Tensor

from candor.tables import draft


@dataclass
class Journal:
    """How far a finetuning is: steps taken, tokens read, rows of the history, and the best validation so far."""

    step: int = 0
    tokens: int = 0
    rows: list[dict[str, Any]] = field(default_factory=list)
    best_step: int | None = None
    best_loss: float | None = None


class Checkpoints:
    """A folder with the newest checkpoint and the best weights, for one finetuning."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._newest = folder / "checkpoint.safetensors"

    def save(self, journal: Journal, tensors: Mapping[str, Tensor]) -> None:
        """Write the newest checkpoint, whole or not at all."""
        _write(self._newest, tensors, json.dumps(journal.__dict__))
        for path in self._folder.glob("best-*.safetensors"):
            if path != self._best(journal.best_step):
                path.unlink()

    def save_best(self, step: int, values: Sequence[Tensor]) -> None:
        """Write the best weights; they count once a checkpoint names their step."""
        _write(self._best(step), {str(i): value for i, value in enumerate(values)}, "")

    def load(self) -> tuple[Journal, dict[str, Tensor]] | None:
        """The newest checkpoint, if there is one."""
        if not self._newest.exists():
            return None
        with safe_open(self._newest, framework="pt") as file:
            journal = Journal(**json.loads(file.metadata()["journal"]))
            return journal, {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118

    def load_best(self, step: int) -> list[Tensor]:
        """The best weights, which were validated after `step`."""
        with safe_open(self._best(step), framework="pt") as file:
            return [file.get_tensor(str(i)) for i in range(len(file.keys()))]

    def _best(self, step: int | None) -> Path:
        return self._folder / f"best-{step}.safetensors"


def _write(path: Path, tensors: Mapping[str, Tensor], journal: str) -> None:
    from safetensors.torch import save_file

    with draft(path) as temporary:
        save_file({name: value.contiguous() for name, value in tensors.items()}, temporary, {"journal": journal})


def optimiser_tensors(optimiser: torch.optim.Optimizer) -> dict[str, Tensor]:
    """The optimiser's state as named tensors."""
    state = optimiser.state_dict()["state"]
    return {f"{i}.{name}": value for i, own in state.items() for name, value in own.items()}


def restore_optimiser(optimiser: torch.optim.Optimizer, tensors: Mapping[str, Tensor]) -> None:
    """Take the optimiser's state from named tensors."""
    state: dict[int, dict[str, Tensor]] = {}
    for name, value in tensors.items():
        index, _, key = name.partition(".")
        state.setdefault(int(index), {})[key] = value
    optimiser.load_state_dict({**optimiser.state_dict(), "state": state})
