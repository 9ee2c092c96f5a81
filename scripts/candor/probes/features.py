"""What a probe is trained and scored on: ragged rows of activations with their examples' labels and groups."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from candor import provenance, tables
from candor.activations.files import Activations, ActivationsError
from candor.data.folds import group_folds
from candor.schemas.dataset import DATASET
from candor.schemas.status import SCORED


class Part(NamedTuple):
    """One split of one dataset with its activations: rows of the dataset table, in its order."""

    name: str
    rows: list[dict[str, Any]]
    activations: Activations
    positions: list[int]
    """Where each row stands in the activations."""
    statuses: list[str]
    n_tokens: list[int]

    def scored(self) -> list[int]:
        """Indices of the rows that can carry a score."""
        return [i for i, status in enumerate(self.statuses) if status in SCORED]

    def labels(self, classes: Sequence[str]) -> list[int | None]:
        """Index of each row's class, None for a label that is none of the classes."""
        return [classes.index(row["label"]) if row["label"] in classes else None for row in self.rows]

    def folds(self, classes: Sequence[str], n_folds: int, seed: int) -> dict[int, int]:
        """Row index -> fold, for every row of a known class.

        Folds are dealt before rows without activations are left out, so that all monitors of a task share them.
        """
        known = [i for i, row in enumerate(self.rows) if row["label"] in classes]
        groups, labels = ([self.rows[i][key] for i in known] for key in ("group_id", "label"))
        return dict(zip(known, group_folds(groups, labels, n_folds, seed).tolist(), strict=True))


def read_part(name: str, data: Path, shards: Sequence[Path]) -> Part:
    """The rows of `dataset@split` and their activations; stops when the two were not made for each other."""
    dataset, split = name.rsplit("@", 1)
    activations = Activations(shards).expect(dataset=dataset, dataset_sha256=provenance.sha256(data))
    table = tables.read(data, DATASET).to_pylist()
    if activations.example_ids != [row["example_id"] for row in table]:
        raise ActivationsError(f"{shards[0]}: its examples are not those of {data}; delete it to make it again.")
    positions = [i for i, row in enumerate(table) if row["split"] == split]
    if not positions:
        raise ActivationsError(f"{data}: has no example in the split {split}, which {name} asks for.")
    return Part(
        name,
        [table[i] for i in positions],
        activations,
        positions,
        [activations.statuses[i] for i in positions],
        [activations.n_tokens[i] for i in positions],
    )


class Features(NamedTuple):
    """Ragged features of n examples at one layer: `x` [rows, width], and `lengths` int64 [n], at least 1 each."""

    x: Tensor
    lengths: Tensor

    def block(self, start: int, stop: int) -> "Features":
        """Examples start to stop, without a copy."""
        bounds = torch.cat([self.lengths.new_zeros(1), self.lengths.cumsum(0)])
        return Features(self.x[bounds[start] : bounds[stop]], self.lengths[start:stop])


def read_features(part: Part, layer: int, kind: str, order: Sequence[int]) -> Features:
    """Float32 features of the part's rows `order` at a layer: every token (`tokens`), their `mean`, or the `last`.

    A value that is not finite in an example that should be whole stops the job: the file was damaged.
    """
    at = [part.positions[i] for i in order]
    if kind == "mean":
        x, lengths = part.activations.means(layer)[at], torch.ones(len(at), dtype=torch.int64)
    else:
        all_lengths = part.activations.lengths()
        starts = torch.cat([all_lengths.new_zeros(1), all_lengths.cumsum(0)])
        lengths = all_lengths[at]
        if kind == "last":
            rows, lengths = starts[at] + lengths - 1, torch.ones_like(lengths)
        else:
            rows = torch.cat([torch.arange(int(starts[i]), int(starts[i + 1])) for i in at])
        x = part.activations.layer(layer).index_select(0, rows).float()
    if not x.isfinite().all():
        raise ActivationsError(
            f"{part.activations.paths[0]}: layer {layer} holds values that are not finite in examples marked as whole; "
            "delete it to make it again."
        )
    return Features(x, lengths)
