"""Tokens: one row per token of a text that a probe has read, in the order of the text."""

import pyarrow as pa

from candor.schemas.base import Column, TableSchema
from candor.schemas.status import STATUSES

TOKEN = TableSchema(
    "token",
    {
        "experiment": Column(pa.string()),
        "monitor": Column(pa.string()),
        "layer": Column(pa.int32()),
        "seed": Column(pa.int32()),
        "dataset": Column(pa.string()),  # dataset@split
        "example_id": Column(pa.string()),
        "group_id": Column(pa.string()),
        "label": Column(pa.string(), nullable=True),
        "token_index": Column(pa.int32()),  # among the tokens that are kept
        "token": Column(pa.string()),  # the text that it adds; the tokens of an example together give its text
        "role": Column(pa.string()),
        "score": Column(
            pa.float64(), nullable=True
        ),  # w·a + b of the token; null: of a role that the probe does not read
        "weight": Column(pa.float64(), low=0, high=1),  # its share in the score of the text; shares sum to 1
        "text_score": Column(pa.float64()),  # log-odds of the whole text
        "text_probability": Column(pa.float64(), nullable=True, low=0, high=1),
        "rank": Column(pa.float64(), low=0, high=1),  # where the text stands among all of its part, by score
        "status": Column(pa.string(), choices=STATUSES),
    },
    key=("experiment", "example_id", "token_index"),
)
