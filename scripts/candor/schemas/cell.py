"""Cells: one row per monitor, what it learnt from, what it is measured on, class and quantity, with its interval."""

import pyarrow as pa

from candor.schemas.base import Column, TableSchema

METRICS = ("auroc", "accuracy", "correlation", "rank_correlation", "changed", "probability", "score")
CELL = TableSchema(
    "cell",
    {
        "experiment": Column(pa.string()),
        "monitor": Column(pa.string()),
        "layer": Column(pa.int32(), nullable=True),  # null: reads no layer, or several in what is put together
        "source": Column(pa.string()),  # attribute that values are held out of; task learnt; weights read with
        "target": Column(pa.string(), nullable=True),  # value held out (null: all); task; one example
        "dataset": Column(pa.string(), nullable=True),  # dataset@split, `mean`; null: training and evaluation sets
        "class": Column(pa.string(), nullable=True),  # one against the rest; `macro`: their mean; null: all at once
        "metric": Column(pa.string(), choices=METRICS),
        "versus": Column(pa.string(), nullable=True),  # value is this less that monitor's or weights', paired
        "value": Column(pa.float64(), nullable=True),  # null: undefined here, and `remark` says why
        "low": Column(pa.float64(), nullable=True),
        "high": Column(pa.float64(), nullable=True),
        "n": Column(pa.int64()),
        "n_positive": Column(pa.int64(), nullable=True),
        "n_groups": Column(pa.int64()),
        "n_skipped": Column(pa.int64()),
        "n_source_groups": Column(pa.int64(), nullable=True),  # learnt from
        "n_runs": Column(pa.int64()),  # seeds
        "remark": Column(pa.string(), nullable=True),
    },
    key=("experiment", "monitor", "source", "target", "dataset", "class", "metric", "versus"),
)
