"""Places: where each example lies in a plane through a subject's activations, with the axes' shares of the variance."""

import pyarrow as pa

from candor.schemas.base import Column, TableSchema
from candor.schemas.status import STATUSES

METHODS = ("lda", "pca")
PLACE = TableSchema(
    "place",
    {
        "experiment": Column(pa.string()),
        "method": Column(pa.string(), choices=METHODS),
        "layer": Column(pa.int32()),
        "dataset": Column(pa.string()),  # dataset@split
        "held_out": Column(pa.bool_()),  # whether the axes were fitted without it
        "example_id": Column(pa.string()),
        "group_id": Column(pa.string()),
        "label": Column(pa.string(), nullable=True),  # null: of no class of the task; not fitted
        "x": Column(pa.float64(), nullable=True),  # null: carries no activations, and `status` says why
        "y": Column(pa.float64(), nullable=True),
        "x_share": Column(pa.float64(), low=0, high=1),  # of the training examples' variance: lda between classes,
        "y_share": Column(pa.float64(), low=0, high=1),  # pca of all
        "status": Column(pa.string(), choices=STATUSES),
    },
    key=("experiment", "method", "dataset", "example_id"),
)
