"""An adapter's files, as peft reads them: weights with their provenance, and the config that names the network."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import Tensor

from candor import provenance
from candor.tables import draft

if TYPE_CHECKING:
    from peft import LoraConfig


def write_weights(path: Path, state: Mapping[str, Tensor], made: Mapping[str, Any], **more: str) -> None:
    """Write an adapter's weights, the same bytes for the same content; `more` are further texts of the header."""
    from safetensors.torch import save

    metadata = {provenance.KEY: json.dumps(made, sort_keys=True), "format": "pt", **dict(sorted(more.items()))}
    content = save(dict(state))
    start = 8 + int.from_bytes(content[:8], "little")
    header = json.dumps({"__metadata__": metadata, **json.loads(content[8:start])}).encode()
    header += b" " * (-len(header) % 8)
    with draft(path) as temporary:
        temporary.write_bytes(len(header).to_bytes(8, "little") + header + content[start:])


def write_config(path: Path, config: "LoraConfig") -> None:
    """Write peft's adapter_config.json, sorted. Its provenance stands in the weights: peft warns of a key it lacks."""
    value = {
        key: sorted(each) if isinstance(each, set) else each
        for key, each in {**config.to_dict(), "inference_mode": True}.items()
        if key != "runtime_config"
    }
    with draft(path) as temporary:
        temporary.write_text(json.dumps(value, indent=2, sort_keys=True) + "\n", encoding="utf-8")
