"""Curves: one row per point of a line, with its interval; x is what the experiment varies."""

import pyarrow as pa

from candor.schemas.base import Column, TableSchema

CURVE = TableSchema(
    "curve",
    {
        "experiment": Column(pa.string()),
        "curve": Column(pa.string()),  # the line: a monitor, and what was done with it, set apart by `/`
        "monitor": Column(pa.string(), nullable=True),  # null: a line of several monitors
        "layer": Column(pa.int32(), nullable=True),
        "dataset": Column(pa.string()),  # dataset@split, or `mean` over the sets out of distribution
        "x": Column(pa.float64(), nullable=True),  # null: a quantity of the whole line
        "metric": Column(pa.string()),
        "value": Column(pa.float64(), nullable=True),  # null: undefined here, and `remark` says why
        "low": Column(pa.float64(), nullable=True),
        "high": Column(pa.float64(), nullable=True),
        "flops": Column(pa.float64(), nullable=True, low=0),  # mean per example; what counts, the experiment says
        "n": Column(pa.int64()),
        "n_positive": Column(pa.int64(), nullable=True),
        "n_groups": Column(pa.int64()),
        "n_skipped": Column(pa.int64()),
        "n_runs": Column(pa.int64()),  # draws, seeds
        "remark": Column(pa.string(), nullable=True),
    },
    key=("experiment", "curve", "dataset", "x", "metric"),
)
