"""Small parts of datasets with their activations on disk, for tests of what reads them."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from candor import provenance, tables
from candor.activations.files import Draft, Header
from candor.probes.features import Part, read_part
from candor.schemas.dataset import DATASET

BLOCKS = 4
CLASSES = ["low", "high"]
SUBJECT = {"block_parameters": 1000, "head_parameters": 500}
"""Facts of a subject, as the cost of its pass is counted from."""


def row(id: str, group: str, label: str | None, split: str = "train", **attributes: Any) -> dict[str, Any]:
    """A row of a dataset table."""
    return {
        "example_id": id,
        "group_id": group,
        "split": split,
        "messages": [{"role": "user", "content": id}],
        "label": label,
        "rating": None,
        "attributes": json.dumps(attributes),
        "truncated": False,
    }


def pair_rows(
    n_pairs: int, split: str = "train", prefix: str = "", **attributes: Sequence[Any]
) -> list[dict[str, Any]]:
    """Pairs of a low and a high example; an attribute's values are dealt to the pairs in turn."""
    return [
        row(
            f"{prefix}{pair}-{label}",
            f"{prefix}{pair}",
            label,
            split,
            **{name: values[pair % len(values)] for name, values in attributes.items()},
        )
        for pair in range(n_pairs)
        for label in CLASSES
    ]


def write_part(
    folder: Path,
    name: str,
    rows: Sequence[dict[str, Any]],
    layers: Mapping[int, Sequence[Tensor]],
    means: Mapping[int, Tensor] | None = None,
    statuses: Sequence[str] | None = None,
    roles: Sequence[Sequence[int]] | None = None,
    log_probs: Sequence[Sequence[float]] | None = None,
    first: int = 0,
    **header: Any,
) -> Part:
    """Write a dataset and its activations, and read the part `name` back.

    layers: float32 [tokens, width] of each row by layer, no token where a row is empty; means [n, width] of layers of
    which only the mean is stored; roles and log-probabilities of each row's tokens; `first` is the position of the
    first; `header` replaces facts in the activations' header.
    """
    dataset = name.split("@")[0]
    data, path = folder / f"{dataset}.parquet", folder / f"{dataset}.safetensors"
    tables.write(data, rows, DATASET, {})
    held, means = next(iter(layers.values())), means or {}
    facts = {
        "subject": "tiny",
        "revision": "a" * 40,
        "hook": "residual",
        "layers": sorted(layers),
        "mean_layers": sorted(means),
        "store": "tokens",
        "width": held[0].shape[1],
        "blocks": BLOCKS,
        "dtype": "float32",
        "dataset": dataset,
        "dataset_sha256": provenance.sha256(data),
        "shard": "000-of-001",
        "example_ids": [each["example_id"] for each in rows],
        "sample_indices": [0] * len(rows),
        "log_probs": log_probs is not None,
    }
    lengths = [len(x) for x in held]
    draft = Draft(path, Header(**{**facts, **header}), torch.tensor([0, *lengths]).cumsum(0).tolist(), {})
    for i, length in enumerate(lengths):
        index: dict[str, Sequence[float]] = {"token_ids": [0] * length, "positions": range(first, first + length)}
        index["roles"] = roles[i] if roles else [0] * length
        if log_probs is not None:
            index["log_probs"] = log_probs[i]
        draft.put(i, index, {k: x[i] for k, x in layers.items()}, {k: x[i] for k, x in means.items()})
    draft.describe(lengths, statuses or ["ok" if length else "empty" for length in lengths])
    draft.flush()
    return read_part(name, data, [path])


def planted(
    rows: Sequence[dict[str, Any]], width: int, strength: float, seed: int, lengths: tuple[int, int] = (3, 9)
) -> list[Tensor]:
    """Noise [tokens, width] for each row, ragged, with `strength` added along feature 0 where the label is high.

    The lengths are the same for every seed, so that several layers fit together.
    """
    generator, of_lengths = torch.Generator().manual_seed(seed), torch.Generator().manual_seed(0)
    found = []
    for each in rows:
        length = int(torch.randint(*lengths, (), generator=of_lengths))
        x = torch.randn(length, width, generator=generator)
        x[:, 0] += strength * (each["label"] == CLASSES[1])
        found.append(x)
    return found
