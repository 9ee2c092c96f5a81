"""Scores: one row per example, monitor, layer, seed and class; probes and baselines alike."""

import pyarrow as pa

from candor.schemas.base import Column, TableSchema
from candor.schemas.dataset import SPLITS
from candor.schemas.status import STATUSES

SCORE = TableSchema(
    "score",
    {
        "example_id": Column(pa.string()),
        "sample_index": Column(pa.int32()),
        "token_index": Column(pa.int32(), nullable=True),  # null: the whole text
        "group_id": Column(pa.string()),
        "dataset": Column(pa.string()),
        "split": Column(pa.string(), choices=SPLITS),
        "monitor": Column(pa.string()),
        "layer": Column(pa.int32(), nullable=True),  # null: reads no layer
        "seed": Column(pa.int32(), nullable=True),  # null: has no randomness
        "fold": Column(pa.int32(), nullable=True),  # the fold that held the example out; null: not cross-validated
        "class": Column(pa.string()),
        "label": Column(
            pa.bool_(), nullable=True
        ),  # whether the example is of the class; null: of no class of the task
        "score": Column(pa.float64(), nullable=True),  # log-odds, or a margin where a monitor has no probability
        "probability": Column(pa.float64(), nullable=True, low=0, high=1),
        "flops_monitor": Column(pa.float64(), nullable=True, low=0),
        "flops_total": Column(pa.float64(), nullable=True, low=0),
        "status": Column(pa.string(), choices=STATUSES),
        "n_tokens": Column(pa.int32(), nullable=True),
    },
    key=("example_id", "sample_index", "token_index", "dataset", "monitor", "layer", "seed", "fold", "class"),
)
