"""What made a file, kept inside the file, so that results can be checked without `.snakemake`.

A record is a JSON object: `script`, `code` (digest of the script and all it imports), `spec` (the config subtrees it
saw), `inputs` (path -> sha256), `versions`, and what else bears on the numbers (`device`, `dtype`, `threads`, counts).
It holds no time and no path outside the project. Parquet and safetensors carry it under the metadata key `candor`,
JSON files under the key `provenance`; a figure's stands in the JSON file beside it.
"""

import hashlib
import html
import json
import struct
import sys
from collections.abc import Iterable, Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from candor.errors import CandorError

KEY = "candor"
ALWAYS = ("numpy", "pyarrow")


class ProvenanceError(CandorError):
    """A file holds no readable provenance; the message names it."""


def record(
    script: str, code: str, spec: Mapping[str, Any], inputs: Iterable[Path], packages: Iterable[str] = (), **facts: Any
) -> dict[str, Any]:
    """A provenance record; `inputs` are hashed now, `packages` named with their versions."""
    return {
        "script": Path(script).name,
        "code": code,
        "spec": dict(spec),
        "inputs": {path.as_posix(): sha256(path) for path in inputs},
        "versions": {"python": sys.version.split()[0], **{name: _version(name) for name in (*ALWAYS, *packages)}},
        **facts,
    }


def read(path: Path) -> dict[str, Any]:
    """The provenance inside a parquet, safetensors, HTML or JSON file; for figures, of the JSON beside them."""
    try:
        if path.suffix == ".parquet":
            import pyarrow.parquet as pq

            found = json.loads((pq.read_schema(path).metadata or {})[KEY.encode()])
        elif path.suffix == ".safetensors":
            found = json.loads(safetensors_header(path)["__metadata__"][KEY])
        elif path.suffix == ".html":
            page = path.read_text(encoding="utf-8")
            found = json.loads(html.unescape(page.split(f'<meta name="{KEY}" content="', 1)[1].split('">', 1)[0]))
        else:
            found = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))["provenance"]
        return dict(found)
    except CandorError:
        raise
    except Exception as error:
        raise ProvenanceError(
            f"{path}: no provenance can be read ({type(error).__name__}); delete the file to make it again."
        ) from None


def safetensors_header(path: Path) -> dict[str, Any]:
    """The JSON header of a safetensors file; ProvenanceError where the file is cut off or is something else."""
    size = path.stat().st_size
    with path.open("rb") as file:
        start = file.read(8)
        length = struct.unpack("<Q", start)[0] if len(start) == 8 else size
        if length + 8 > size:
            raise ProvenanceError(f"{path}: not a whole safetensors file; delete it to make it again.")
        try:
            header: dict[str, Any] = json.loads(file.read(length))
            end = max((entry["data_offsets"][1] for name, entry in header.items() if name != "__metadata__"), default=0)
        except (ValueError, AttributeError, LookupError, TypeError):
            raise ProvenanceError(f"{path}: its safetensors header is damaged; delete it to make it again.") from None
    if 8 + length + end != size:
        raise ProvenanceError(
            f"{path}: holds {size - 8 - length} bytes of tensors where its header says {end}; delete it to make it "
            "again."
        )
    return header


def sha256(path: Path) -> str:
    """Digest of a file's bytes, as hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def digest(value: Any) -> str:
    """Digest of a JSON value, independent of the order of keys."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "absent"
