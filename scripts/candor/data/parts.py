"""Parts of datasets, `dataset@split`, as rows."""

from pathlib import Path
from typing import Any, NamedTuple

import pyarrow.compute as pc

from candor import provenance, tables
from candor.config.tasks import split_of
from candor.errors import CandorError
from candor.schemas.dataset import DATASET


class PartError(CandorError):
    """A dataset has no such part; the message says which it has."""


class Texts(NamedTuple):
    """A version of a dataset: its id, and the digest of its file."""

    dataset: str
    sha256: str


def texts_of(path: Path, dataset: str) -> Texts:
    """The version of a dataset whose activations are its own too: itself, or the one that it only labels anew."""
    relabels = provenance.read(path).get("relabels")
    return Texts(**relabels) if relabels else Texts(dataset, provenance.sha256(path))


def read_part(path: Path, part: str) -> list[dict[str, Any]]:
    """The rows of one part of a dataset's file, in the file's order."""
    table = tables.read(path, DATASET)
    rows = table.filter(pc.equal(table.column("split"), split_of(part)))
    if not rows.num_rows:
        found = ", ".join(sorted(set(table.column("split").to_pylist()))) or "none"
        raise PartError(f"{path}: has no example for {part}; its splits are: {found}. Name another, or deal one out.")
    return list(rows.to_pylist())
