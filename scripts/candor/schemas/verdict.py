"""Verdicts on generations, and labels of datasets: one row per text and judge."""

import pyarrow as pa

from candor.schemas.base import Column, TableSchema
from candor.schemas.status import STATUSES

VERDICT = TableSchema(
    "verdict",
    {
        "example_id": Column(pa.string()),
        "sample_index": Column(pa.int32(), low=0),
        "token_index": Column(pa.int32(), nullable=True),  # null: the whole text
        "judge": Column(pa.string()),
        "verdict": Column(pa.string(), nullable=True),  # null: none could be given, and `status` says why
        "score": Column(pa.float64(), nullable=True),
        "confidence": Column(pa.float64(), nullable=True),
        "rationale": Column(pa.string(), nullable=True),
        "status": Column(pa.string(), choices=STATUSES),
        "raw": Column(pa.string(), nullable=True),  # a language model's reply, or an analyser's findings as JSON
        "attempts": Column(pa.int32(), low=0),
        "tokens_in": Column(pa.int64(), low=0),
        "tokens_out": Column(pa.int64(), low=0),
        "usd": Column(pa.float64(), low=0),
    },
    key=("example_id", "sample_index", "token_index", "judge"),
)
