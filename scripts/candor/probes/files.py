"""The probe file: safetensors weights and a JSON header, enough to score activations without this project.

`weight` float32 [layers, seeds, projections, width, c] and `bias` float32 [layers, seeds, c], for raw activations:
score = pool(activations @ weight) + bias with the family's pooling; c = 1 for two classes. A probe of family
perplexity has one weight, for the text's mean log-loss. Header key `probe`: see Header. `candor` holds the provenance.

A probe of family mlp has two layers: `weight` [layers, seeds, hidden, width, 1], `hidden_bias` [layers, seeds, hidden],
`output` [layers, seeds, hidden, c] and `bias`: score = mean over tokens of relu(activations @ weight + hidden_bias)
@ output, plus bias. In memory, as its family reads it, the three are one weight [layers, seeds, hidden, width + 2, c].
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor

from candor import tensors
from candor.errors import CandorError
from candor.provenance import KEY, safetensors_header


class ProbeError(CandorError):
    """A probe file is damaged, or does not fit what it is used on."""


@dataclass
class Header:
    """What a probe is: how it was trained, on what it may be used, and its thresholds from the control set.

    `thresholds` is layer -> seed -> class -> threshold on the score, at `target_fpr` on `control`; `metrics` is
    layer -> `cross_validated_auroc`, with the first seed.
    """

    family: str
    probe: dict[str, Any]
    task: str
    classes: list[str]
    layers: list[int]
    seeds: list[int]
    subject: str
    revision: str | None
    hook: str
    width: int
    standardisation: str
    train: str
    train_sha256: str
    n_train: int
    control: str
    target_fpr: float
    thresholds: dict[str, dict[str, dict[str, float]]]
    metrics: dict[str, dict[str, float]]
    best_epochs: dict[str, dict[str, int]]


class SavedProbe:
    """A probe's weights and header."""

    def __init__(self, weight: Tensor, bias: Tensor, header: Header) -> None:
        self.weight, self.bias, self.header = weight, bias, header

    def save(self, path: Path, made: Mapping[str, Any]) -> None:
        """Write the probe whole."""
        metadata = {KEY: json.dumps(made, sort_keys=True), "probe": json.dumps(asdict(self.header), sort_keys=True)}
        arrays = {"weight": self.weight, "bias": self.bias}
        if self._has_two_layers():
            first, hidden_bias = self.weight[..., :-2, :1], self.weight[..., -2, 0]
            arrays |= {"weight": first, "hidden_bias": hidden_bias, "output": self.weight[..., -1, :]}
        tensors.write(path, {name: array.float().contiguous().numpy() for name, array in arrays.items()}, metadata)

    @classmethod
    def load(cls, path: Path) -> "SavedProbe":
        """Read a probe; ProbeError for any other file."""
        metadata = safetensors_header(path).get("__metadata__", {})
        if "probe" not in metadata:
            raise ProbeError(f"{path}: is not a probe file.")
        try:
            header = Header(**json.loads(metadata["probe"]))
        except TypeError:
            raise ProbeError(f"{path}: was written by another version of candor; delete it to make it again.") from None
        loaded = load_file(path)
        weight = loaded["weight"]
        if "hidden_bias" in loaded:
            hidden = torch.cat([weight, loaded["hidden_bias"][..., None, None]], 3)
            output = loaded["output"][..., None, :]
            weight = torch.cat([hidden.expand(*hidden.shape[:-1], output.shape[-1]), output], 3)
        return cls(weight, loaded["bias"], header)

    def multiply_adds(self) -> int:
        """Multiply-adds for each token that the probe reads."""
        _, _, projections, width, outputs = self.weight.shape
        return projections * (self.header.width + outputs if self._has_two_layers() else width * outputs)

    def _has_two_layers(self) -> bool:
        return self.header.family == "mlp"

    def at(self, layer: int, seed: int) -> tuple[Tensor, Tensor]:
        """Weight [projections, width, c] and bias [c] of one layer and seed."""
        i, j = self.header.layers.index(layer), self.header.seeds.index(seed)
        return self.weight[i, j], self.bias[i, j]

    def refuse_other(self, *, subject: str, revision: str | None, hook: str, width: int, path: Path) -> None:
        """Stop with a sentence unless activations come from the model and hook that the probe was trained on."""
        for name, found in (("subject", subject), ("revision", revision), ("hook", hook), ("width", width)):
            expected = getattr(self.header, name)
            if found != expected:
                raise ProbeError(
                    f"{path}: was read from another {name} ({found}) than the probe for {self.header.task} "
                    f"({expected})."
                )


def stack(parts: list[list[Tensor]]) -> Tensor:
    """[layers][seeds] tensors as one."""
    return torch.stack([torch.stack(row) for row in parts])
