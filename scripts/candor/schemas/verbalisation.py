"""Verbalisations: what a verbaliser says of a subject's inner state, one row per token or text."""

import pyarrow as pa

from candor.schemas.base import Column, TableSchema
from candor.schemas.status import STATUSES

VERBALISATION = TableSchema(
    "verbalisation",
    {
        "example_id": Column(pa.string()),
        "sample_index": Column(pa.int32(), low=0),
        "token_index": Column(pa.int32(), nullable=True, low=0),  # place in the text as read; null: the whole text
        "text": Column(pa.string()),  # of an unparseable reply all of it; empty where there is none
        "status": Column(pa.string(), choices=STATUSES),
        "mse": Column(pa.float64(), nullable=True, low=0, high=4),  # null: not reconstructed
        "cosine": Column(pa.float64(), nullable=True, low=-1, high=1),
        "fve": Column(pa.float64(), nullable=True, high=1),
    },
    key=("example_id", "sample_index", "token_index"),
)
