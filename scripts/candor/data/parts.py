"""Parts of datasets, `dataset@split`, as rows."""

from pathlib import Path
from typing import Any

import pyarrow.compute as pc

from candor import tables
from candor.config.tasks import split_of
from candor.errors import CandorError
from candor.schemas.dataset import DATASET


class PartError(CandorError):
    """A dataset has no such part; the message says which it has."""


def read_part(path: Path, part: str) -> list[dict[str, Any]]:
    """The rows of one part of a dataset's file, in the file's order."""
    table = tables.read(path, DATASET)
    rows = table.filter(pc.equal(table.column("split"), split_of(part)))
    if not rows.num_rows:
        found = ", ".join(sorted(set(table.column("split").to_pylist()))) or "none"
        raise PartError(f"{path}: has no example for {part}; its splits are: {found}. Name another, or deal one out.")
    return list(rows.to_pylist())
