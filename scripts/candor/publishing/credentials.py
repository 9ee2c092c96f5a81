"""No key that this study uses leaves this machine inside a file."""

import os
from collections.abc import Iterable, Mapping
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from candor.config.study import Study

TOKEN = "HF_TOKEN"
"""Environment variable with the hub's token, and its only place."""


def keys(study: Study, environment: Mapping[str, str] = os.environ) -> dict[str, str]:
    """Variable -> value of the keys that a study uses, as far as they are set."""
    variables = {TOKEN, *(getattr(client, "key_variable", None) for client in study.clients.values())}
    return {name: environment[name] for name in sorted(filter(None, variables)) if environment.get(name)}


def held(path: Path, secrets: Mapping[str, str]) -> list[str]:
    """The variables whose values stand in a file. Tables are read, since compression hides what their bytes hold."""
    found: set[str] = set()
    for text in _texts(path) if secrets else ():
        found |= {name for name, value in secrets.items() if value.encode() in text}
    return sorted(found)


def _texts(path: Path) -> Iterable[bytes]:
    """What a file says in words: all of JSON, the header of tensors, metadata and rows of a table."""
    if path.suffix == ".json":
        yield path.read_bytes()
    elif path.suffix == ".safetensors":
        with path.open("rb") as file:
            yield file.read(int.from_bytes(file.read(8), "little"))
    else:
        with pq.ParquetFile(path, memory_map=True) as table:
            yield from (table.schema_arrow.metadata or {}).values()
            for batch in table.iter_batches():
                yield repr(pa.Table.from_batches([batch]).to_pylist()).encode()
