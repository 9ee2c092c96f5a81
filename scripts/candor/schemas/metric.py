"""Metrics: one row per monitor, evaluation set and quantity, with its interval."""

import pyarrow as pa

from candor.schemas.base import Column, TableSchema

MEAN_DATASET = "mean"
MACRO = "macro"
"""Class of the mean over classes, of the one-vs-rest values of a task of three classes or more."""
METRIC = TableSchema(
    "metric",
    {
        "task": Column(pa.string()),
        "monitor": Column(pa.string()),
        "family": Column(pa.string()),
        "layer": Column(pa.int32(), nullable=True),
        "selected": Column(pa.bool_()),  # the headline monitor of the task
        "dataset": Column(pa.string()),  # dataset@split, or `mean` over the sets out of distribution
        "class": Column(pa.string()),
        "metric": Column(pa.string()),
        "versus": Column(pa.string(), nullable=True),  # value is this monitor less that one, paired
        "value": Column(pa.float64(), nullable=True),  # null: undefined here, and `remark` says why
        "low": Column(pa.float64(), nullable=True),
        "high": Column(pa.float64(), nullable=True),
        "p_value": Column(pa.float64(), nullable=True, low=0, high=1),
        "p_holm": Column(pa.float64(), nullable=True, low=0, high=1),
        "n": Column(pa.int64()),
        "n_positive": Column(pa.int64()),
        "n_negative": Column(pa.int64()),
        "n_groups": Column(pa.int64()),
        "n_seeds": Column(pa.int64()),
        "n_skipped": Column(pa.int64()),
        "n_truncated": Column(pa.int64()),
        "remark": Column(pa.string(), nullable=True),
    },
    key=("task", "monitor", "layer", "dataset", "class", "metric", "versus"),
)
