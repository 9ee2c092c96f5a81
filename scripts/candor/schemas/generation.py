"""Generations: one row per example and sample."""

import pyarrow as pa

from candor.schemas.base import Column, TableSchema
from candor.schemas.status import STATUSES

GENERATION = TableSchema(
    "generation",
    {
        "example_id": Column(pa.string()),
        "sample_index": Column(pa.int32(), low=0),
        "text": Column(pa.string()),  # the assistant's whole turn, its prefill included
        "token_ids": Column(pa.list_(pa.int32())),  # of what was generated, an end-of-turn token included
        "reasoning": Column(pa.string(), nullable=True),  # null: none is there, or none is expected
        "answer": Column(pa.string(), nullable=True),  # null: none is there
        "status": Column(pa.string(), choices=STATUSES),
        "prompt_tokens": Column(pa.int32(), low=0),
        "new_tokens": Column(pa.int32(), low=0),
        "seed": Column(pa.int64()),
    },
    key=("example_id", "sample_index"),
)
