"""Source rows: each raw row as JSON, and where it stood."""

import pyarrow as pa

from candor.schemas.base import Column, TableSchema

SOURCE = TableSchema(
    "source",
    {
        "origin": Column(pa.string()),  # file name and row number from 1, for messages about bad rows
        "row": Column(pa.string()),
    },
    key=("origin",),
)
