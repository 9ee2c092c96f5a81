"""The directions that an ablation takes out of a subject's residual stream.

A safetensors file: `contrast`, `arms` and `random`, float32 [width], each of length 1. Header: `candor` (provenance)
and `directions` (see Header).
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from candor import tensors
from candor.provenance import KEY


@dataclass
class Header:
    """Where directions come from: name -> the layer, and the span whose means they tell apart; None for `random`."""

    experiment: str
    subject: str
    revision: str | None
    hook: str
    layers: dict[str, int | None]
    width: int
    positions: dict[str, str | None]


@dataclass
class Directions:
    """Name -> direction, float64 [width] of any length, and what is said of them."""

    header: Header
    vectors: dict[str, np.ndarray]

    def save(self, path: Path, made: Mapping[str, Any]) -> None:
        """Write the directions, scaled to length 1."""
        units = {name: (vector / np.linalg.norm(vector)).astype(np.float32) for name, vector in self.vectors.items()}
        metadata = {
            KEY: json.dumps(made, sort_keys=True),
            "directions": json.dumps(asdict(self.header), sort_keys=True),
        }
        tensors.write(path, units, metadata)
