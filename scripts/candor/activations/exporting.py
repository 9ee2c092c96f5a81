"""Activations of one layer with the texts they were read from, as the flat table that the original study worked on.

A row is a stored token of a response or of its prompt, with the columns of the original study: `prompt_id`,
`prompt_category`, `prompt`, `response_text`, `token_idx` (place in the text as the model read it), `activation_vector`
(float32) and, where there are verbalisations, `nla_text`.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from torch import Tensor

from candor import provenance, tables
from candor.activations.files import Activations, ActivationsError
from candor.data.parts import texts_of
from candor.schemas.dataset import DATASET
from candor.schemas.generation import GENERATION
from candor.schemas.status import SCORED
from candor.schemas.verbalisation import VERBALISATION

GROUP = 4096
"""Rows of a row group: 60 MB of a width of 3584."""
COLUMNS: dict[str, pa.DataType] = {
    "prompt_id": pa.string(),
    "prompt_category": pa.string(),
    "prompt": pa.string(),
    "response_text": pa.string(),
    "token_idx": pa.int32(),
    "activation_vector": pa.list_(pa.float32()),
}
Words = Mapping[tuple[str, int | None], str]
"""Example and position, None for the whole text -> what a verbaliser says."""


class Row(NamedTuple):
    """A row of the activations, by its number, and what the table tells of it beside its vector."""

    number: int
    told: dict[str, Any]


class Sources(NamedTuple):
    """The files that are joined, every shard: a dataset, responses to it, their activations, verbalisations if any."""

    data: Path
    generations: Sequence[Path]
    activations: Sequence[Path]
    verbalisations: Sequence[Path] = ()

    def paths(self) -> list[Path]:
        """All files."""
        return [self.data, *self.generations, *self.activations, *self.verbalisations]


def export(sources: Sources, layer: int, output: Path, made: Mapping[str, Any]) -> int:
    """Write the table, a row group at a time, and return its number of rows; texts without a score are left out."""
    activations = Activations(sources.activations)
    activations.expect(layers=[layer], dataset_sha256=texts_of(sources.data, sources.data.stem).sha256)
    if activations.header.store not in ("positions", "tokens") or layer not in activations.header.layers:
        raise ActivationsError(
            f"{sources.activations[0]}: stores means of layer {layer}, which belong to no one token; export a capture "
            "with `store: positions` or `store: tokens`"
        )
    said = _said(sources.verbalisations) if sources.verbalisations else None
    types = COLUMNS | ({} if said is None else {"nla_text": pa.string()})
    schema = pa.schema(list(types.items()), metadata={provenance.KEY: json.dumps(made, sort_keys=True)})
    vectors, count = activations.layer(layer), 0
    with tables.draft(output) as unfinished, pq.ParquetWriter(unfinished, schema, compression="zstd") as writer:
        rows = _rows(sources, activations, said)
        while group := list(islice(rows, GROUP)):
            writer.write_table(_table(group, vectors, schema), row_group_size=GROUP)
            count += len(group)
    return count


def _table(group: Sequence[Row], vectors: Tensor, schema: pa.Schema) -> pa.Table:
    """A row group."""
    values = vectors[[row.number for row in group]].to(torch.float32).numpy()
    ends = np.arange(len(group) + 1, dtype=np.int32) * values.shape[1]
    columns = {
        name: pa.array([row.told[name] for row in group], schema.field(name).type)
        for name in schema.names
        if name != "activation_vector"
    }
    columns["activation_vector"] = pa.ListArray.from_arrays(ends, values.reshape(-1))
    return pa.table([columns[name] for name in schema.names], schema=schema)


def _rows(sources: Sources, activations: Activations, said: Words | None) -> Iterator[Row]:
    """Each row of the activations that is exported."""
    examples = {row["example_id"]: row for row in tables.read(sources.data, DATASET).to_pylist()}
    responses = _responses(sources.generations)
    positions, ids = activations.index("positions").tolist(), activations.index("token_ids").tolist()
    start = 0
    for example_id, status, length in zip(
        activations.example_ids, activations.statuses, activations.lengths().tolist(), strict=True
    ):
        rows, start = range(start, start + length), start + length
        if status not in SCORED:
            continue
        example, response = examples[example_id], responses.get(example_id)
        if response is None:
            raise ActivationsError(
                f"{sources.generations[0]}: holds no response to {example_id!r}, of which there are activations; give "
                "the table that was made with them"
            )
        for row in rows:
            new = positions[row] - response["prompt_tokens"]
            if new >= 0 and response["token_ids"][new : new + 1] != [ids[row]]:
                raise ActivationsError(
                    f"{sources.activations[0]}: was read from another response to {example_id!r} than "
                    f"{sources.generations[0]} holds; give the table that was made with it"
                )
            words = {} if said is None else {"nla_text": _words(said, example_id, positions[row])}
            yield Row(
                row,
                {
                    "prompt_id": example_id,
                    "prompt_category": example["label"],
                    "prompt": "\n\n".join(message["content"] for message in example["messages"]),
                    "response_text": response["text"],
                    "token_idx": positions[row],
                    **words,
                },
            )


def _responses(paths: Sequence[Path]) -> dict[str, dict[str, Any]]:
    """The first response to each example."""
    found = (row for path in paths for row in tables.read(path, GENERATION).to_pylist())
    return {row["example_id"]: row for row in found if row["sample_index"] == 0}


def _said(paths: Sequence[Path]) -> Words:
    found = (row for path in paths for row in tables.read(path, VERBALISATION).to_pylist())
    given = (row for row in found if row["sample_index"] == 0 and row["status"] in SCORED)
    return {(row["example_id"], row["token_index"]): row["text"] for row in given}


def _words(said: Words, example_id: str, position: int) -> str | None:
    """What is said of a token; of its whole text where nothing is said of it alone."""
    return said.get((example_id, position), said.get((example_id, None)))
