"""Writing of safetensors files: whole or not at all, and the same bytes for the same content."""

import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from safetensors.numpy import save

from candor.tables import draft


def write(path: Path, tensors: Mapping[str, np.ndarray], metadata: Mapping[str, str]) -> None:
    """Write arrays and the texts of the header; the library's own writer shuffles the latter from run to run."""
    # the library writes an array's memory as it lies, and says of every one that it lies row by row
    content = save({name: np.ascontiguousarray(array) for name, array in tensors.items()})
    start = 8 + int.from_bytes(content[:8], "little")
    header = json.dumps({"__metadata__": dict(sorted(metadata.items())), **json.loads(content[8:start])}).encode()
    header += b" " * (-len(header) % 8)
    with draft(path) as temporary:
        temporary.write_bytes(len(header).to_bytes(8, "little") + header + content[start:])
