"""Histories of finetunings: one row per optimiser step and per validation."""

import pyarrow as pa

from candor.schemas.base import Column, TableSchema

HISTORY = TableSchema(
    "history",
    {
        "step": Column(pa.int32(), low=0),  # optimiser steps taken
        "split": Column(pa.string(), choices=("train", "validation")),
        "epoch": Column(pa.float64(), low=0),
        "loss": Column(pa.float64()),  # mean negative log-likelihood of a completion token, nats
        "learning_rate": Column(pa.float64(), nullable=True),
        "gradient_norm": Column(pa.float64(), nullable=True),  # before clipping
        "tokens": Column(pa.int64(), low=0),  # real tokens read so far in training, prompts included
        "kept": Column(pa.bool_()),  # the validation whose checkpoint is the adapter
    },
    key=("step", "split"),
)
CLASSIFIER_HISTORY = TableSchema(
    "classifier_history",
    {
        "seed": Column(pa.int32()),
        **HISTORY.columns,  # loss: mean negative log-likelihood of an example's class, nats
        "auroc": Column(pa.float64(), nullable=True, low=0, high=1),  # of the held-out examples; null in training rows
    },
    key=("seed", "step", "split"),
)
"""A finetuned classifier's history. A validation is of the held-out training groups; where there are none, the last
step is kept."""
