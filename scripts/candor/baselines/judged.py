"""A judge as a monitor: the score that it gave a text, or its verdict as 1 or 0."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from candor.config.baselines import Judged
from candor.errors import CandorError
from candor.schemas.status import SCORED
from candor.scores import score_table


class JudgedError(CandorError):
    """Labels cannot serve as a monitor's scores; the message says why and what to do."""


def score_part(
    labels: Mapping[Path, pa.Table],
    rows: Sequence[Mapping[str, Any]],
    part: str,
    classes: Sequence[str],
    monitor: str,
    config: Judged,
) -> pa.Table:
    """The score table of a judge on the rows of one part; `labels` are its tables (schemas/verdict.py) by path.

    A judge that gave any text a score is scored by that, a number on its own scale; a text that it only gave a verdict
    is then invalid. Neither is a probability. A judge's FLOPs are not known; what it cost stands in its labels.
    """
    if len(classes) != 2:
        raise JudgedError(f"{monitor}: a judge tells two classes apart here, and the task has {len(classes)}.")
    labelled = _by_example(labels, config)
    if missing := [row["example_id"] for row in rows if row["example_id"] not in labelled]:
        raise JudgedError(
            f"{', '.join(map(str, labels))}: lacks {len(missing)} examples of {part}, first {missing[0]!r}; give all "
            "shards of the labels on its dataset."
        )
    own = [labelled[row["example_id"]] for row in rows]
    graded = any(label["score"] is not None for label in labelled.values())
    scores = np.array([_score(label, graded, config) for label in own], dtype=np.float64)
    statuses = [
        "invalid" if label["status"] in SCORED and np.isnan(score) else label["status"]
        for label, score in zip(own, scores, strict=True)
    ]
    return score_table(rows, part, classes, monitor, scores[:, None], statuses=statuses)


def _by_example(labels: Mapping[Path, pa.Table], config: Judged) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = {}
    for path, table in labels.items():
        for label in table.to_pylist():
            if label["judge"] != config.judge:
                raise JudgedError(f"{path}: holds labels of {label['judge']!r}; give those of {config.judge!r}.")
            if label["sample_index"] or label["token_index"] is not None or label["example_id"] in found:
                raise JudgedError(
                    f"{path}: example {label['example_id']!r} is labelled more than once, or by its parts; give labels "
                    "of a dataset's whole texts, of each shard one table."
                )
            found[label["example_id"]] = label
    verdicts = {label["verdict"] for label in found.values() if label["verdict"] is not None}
    if verdicts and not config.positive and all(label["score"] is None for label in found.values()):
        raise JudgedError(
            f"judge {config.judge!r} gives verdicts ({', '.join(sorted(verdicts))}) and no score; name those that "
            "count as the positive class under `positive`."
        )
    return found


def _score(label: Mapping[str, Any], graded: bool, config: Judged) -> float:
    """A label's score; nan where it has none."""
    if label["status"] not in SCORED:
        return float("nan")
    if graded:
        return float("nan") if label["score"] is None else float(label["score"])
    return float("nan") if label["verdict"] is None else float(label["verdict"] in config.positive)
