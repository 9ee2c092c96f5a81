"""What a probe is trained and scored on: ragged rows of activations with their examples' labels and groups."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from candor import tables
from candor.activations.files import Activations, ActivationsError
from candor.chat_text import ROLE_CODES
from candor.data.folds import group_folds
from candor.data.parts import texts_of
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
    roles: tuple[str, ...] = ()
    """The roles whose tokens are read; without any, every token is."""

    def of_roles(self, roles: Sequence[str] | None) -> "Part":
        """The part as read by a probe of these roles' tokens: an example without such a token is empty."""
        if not roles:
            return self
        if self.activations.header.store not in ("tokens", "positions"):
            raise ActivationsError(
                f"{self.activations.paths[0]}: stores {self.activations.header.store}; a probe that reads the tokens "
                f"of {', '.join(roles)} alone needs `store: tokens` or `store: positions`."
            )
        part = self._replace(roles=tuple(roles))
        empty = [status in SCORED and not n for status, n in zip(self.statuses, part.n_read(), strict=True)]
        statuses = ["empty" if none else status for none, status in zip(empty, self.statuses, strict=True)]
        return part._replace(statuses=statuses)

    def n_read(self) -> list[int]:
        """The number of tokens of each row that are read."""
        if not self.roles:
            return self.n_tokens
        return [len(rows) for rows in self.read_rows(range(len(self.rows)))]

    def n_passed(self) -> list[int]:
        """The number of tokens of each row that the subject reads for what is stored: up to the last position of it."""
        if self.activations.header.store != "positions":
            return self.n_tokens
        at = self.activations.index("positions").split(self.activations.lengths().tolist())
        return [int(at[i].max()) + 1 if len(at[i]) else 0 for i in self.positions]

    def read_rows(self, order: Sequence[int]) -> list[Tensor]:
        """Where the tokens that are read of each of the part's rows `order` stand in a layer of the activations."""
        ends = self.activations.lengths().cumsum(0).tolist()
        bounds = [(ends[i - 1] if i else 0, ends[i]) for i in (self.positions[k] for k in order)]
        if not self.roles:
            return [torch.arange(start, stop) for start, stop in bounds]
        codes = torch.tensor([ROLE_CODES[role] for role in self.roles])
        read = torch.isin(self.activations.index("roles"), codes)
        return [start + read[start:stop].nonzero().squeeze(1) for start, stop in bounds]

    def expect_layers(self, layers: Sequence[int], kind: str) -> None:
        """Stop with a sentence unless the activations hold of these layers what `read_features` needs for a kind."""
        header = self.activations.header
        means = kind == "mean" and not self.roles
        absent = sorted(set(layers) - set(header.layers) - set(header.mean_layers if means else ()))
        if kind != "log_loss" and absent:
            keys = "`layers` or `mean_layers`" if means else "`layers`"
            raise ActivationsError(
                f"{self.activations.paths[0]}: holds {'the mean' if means else 'the tokens'} of layers "
                f"{sorted({*header.layers, *(header.mean_layers if means else ())})}, not {absent}; add them to "
                f"{keys} of the capture."
            )

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
    texts = texts_of(data, dataset)
    activations = Activations(shards).expect(dataset=texts.dataset, dataset_sha256=texts.sha256)
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

    Of a part that is read by role all three are of those roles' tokens, of which each row must have one. `log_loss` is
    the mean log-loss of these tokens, [n, 1], whatever the layer. A value that is not finite in an example that should
    be whole stops the job: the file was damaged.
    """
    activations, single = part.activations, torch.ones(len(order), dtype=torch.int64)
    # of chosen positions a file holds no mean, and the mean is that of the rows
    if kind == "mean" and not part.roles and activations.header.store != "positions":
        x, lengths = activations.means(layer)[[part.positions[i] for i in order]], single
    elif kind == "log_loss":
        log_probs = activations.log_probs()
        x, lengths = torch.stack([-log_probs[rows].mean() for rows in part.read_rows(order)])[:, None], single
    else:
        rows = part.read_rows(order)
        if kind == "last":
            rows = [each[-1:] for each in rows]
        lengths = torch.tensor([len(each) for each in rows])
        x = activations.layer(layer).index_select(0, torch.cat(rows)).float()
        if kind == "mean":
            x, lengths = torch.stack([each.mean(0) for each in x.split(lengths.tolist())]), single
    if not x.isfinite().all():
        raise ActivationsError(
            f"{activations.paths[0]}: layer {layer} holds values that are not finite in examples marked as whole; "
            "delete it to make it again."
        )
    return Features(x, lengths)
