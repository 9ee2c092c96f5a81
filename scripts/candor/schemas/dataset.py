"""Datasets: one example a row."""

import pyarrow as pa

from candor.schemas.base import MESSAGES, Column, TableSchema

SPLITS = ("train", "validation", "test")
DATASET = TableSchema(
    "dataset",
    {
        "example_id": Column(pa.string()),
        "group_id": Column(pa.string()),
        "split": Column(pa.string(), choices=SPLITS),
        "messages": Column(MESSAGES),
        "label": Column(pa.string(), nullable=True),
        "rating": Column(pa.float64(), nullable=True),
        "attributes": Column(pa.string()),  # a JSON object
        "truncated": Column(pa.bool_()),
    },
    key=("example_id",),
)
