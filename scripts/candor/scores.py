"""The score table, built the same way for every monitor, so that a figure cannot tell a probe from a baseline."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from candor.config.tasks import dataset_of, split_of
from candor.schemas.score import SCORE
from candor.schemas.status import SCORED


def scored_classes(classes: Sequence[str]) -> list[str]:
    """The classes that have rows in a score table: the positive one of a binary task, else each one."""
    return list(classes[1:]) if len(classes) == 2 else list(classes)


def score_table(
    rows: Sequence[Mapping[str, Any]],
    part: str,
    classes: Sequence[str],
    monitor: str,
    scores: np.ndarray,
    probabilities: np.ndarray | None = None,
    layer: int | None = None,
    seed: int | None = None,
    folds: Sequence[int | None] | np.ndarray | None = None,
    statuses: Sequence[str] | None = None,
    n_tokens: Sequence[int] | np.ndarray | None = None,
    flops_monitor: np.ndarray | None = None,
    flops_total: np.ndarray | None = None,
) -> pa.Table:
    """Scores of one monitor at one layer and seed on one part, in the score contract: a row per example and class.

    `rows` are n rows of a dataset table; `scores` and `probabilities` float64 [n, c], c as in `scored_classes`, nan
    where there is none; the others [n], FLOPs per example; without `statuses` all are ok. A row whose status says why
    it has no score carries none; any other score of nan or infinity becomes null with the status not_finite.
    """
    scored = scored_classes(classes)
    n, c = len(rows), len(scored)
    _expect_shapes(n, c, monitor, {"scores": scores, "probabilities": probabilities})

    labels = np.array([row["label"] for row in rows], dtype=object)
    known = np.isin(labels, np.array(classes, dtype=object))
    is_class = labels[:, None] == np.array(scored, dtype=object)[None, :]

    given = np.array(["ok"] * n if statuses is None else statuses, dtype=object)[:, None]
    may_score, finite = np.isin(given, np.array(SCORED, dtype=object)), np.isfinite(scores)
    shown = may_score & finite
    status = np.where(may_score & ~finite, "not_finite", given)
    probability = np.full((n, c), np.nan) if probabilities is None else probabilities

    columns = {
        "example_id": _spread([row["example_id"] for row in rows], c, pa.string()),
        "sample_index": pa.array(np.zeros(n * c), pa.int32()),
        "token_index": pa.nulls(n * c, pa.int32()),
        "group_id": _spread([row["group_id"] for row in rows], c, pa.string()),
        "dataset": _constant(dataset_of(part), n * c, pa.string()),
        "split": _constant(split_of(part), n * c, pa.string()),
        "monitor": _constant(monitor, n * c, pa.string()),
        "layer": _constant(layer, n * c, pa.int32()),
        "seed": _constant(seed, n * c, pa.int32()),
        "fold": _spread(folds, c, pa.int32(), n),
        "class": pa.array(scored * n, pa.string()),
        "label": pa.array(is_class.reshape(-1), pa.bool_(), mask=np.repeat(~known, c)),
        "score": pa.array(scores.reshape(-1), pa.float64(), mask=~shown.reshape(-1)),
        "probability": pa.array(
            probability.reshape(-1), pa.float64(), mask=~(shown & np.isfinite(probability)).reshape(-1)
        ),
        "flops_monitor": _spread(flops_monitor, c, pa.float64(), n),
        "flops_total": _spread(flops_total, c, pa.float64(), n),
        "status": pa.array(status.reshape(-1), pa.string()),
        "n_tokens": _spread(n_tokens, c, pa.int32(), n),
    }
    return pa.table(columns, schema=SCORE.arrow())


def _expect_shapes(n: int, c: int, monitor: str, arrays: Mapping[str, np.ndarray | None]) -> None:
    for name, array in arrays.items():
        if array is not None and array.shape != (n, c):
            raise ValueError(
                f"{monitor}: {name} have shape {array.shape}, not {(n, c)} for {n} examples and {c} classes."
            )


def _constant(value: str | int | None, length: int, type: pa.DataType) -> pa.Array:
    return pa.nulls(length, type) if value is None else pa.repeat(pa.scalar(value, type), length)


def _spread(values: Any, c: int, type: pa.DataType, n: int = 0) -> pa.Array:
    """One value per example as one per example and class; nulls for `n` examples where there are no values."""
    if values is None:
        return pa.nulls(n * c, type)
    array = pa.array(values, type, from_pandas=True)
    return array if c == 1 else array.take(pa.array(np.repeat(np.arange(len(array)), c)))
