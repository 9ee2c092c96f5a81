"""Small score tables, and the context of an experiment that reads them."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from pydantic import TypeAdapter

from candor.config.experiments import Experiment
from candor.config.tasks import Measurement
from candor.experiments.score_context import ScoreContext
from candor.schemas.score import SCORE
from candor.scores import score_table

CLASSES = ["low", "high"]
PARTS = ("pairs@test", "dialogues@test", "forms@test")
SELECTION: dict[str, Any] = {
    "monitor": "mean",
    "layer": 3,
    "probes": {"mean": {"layer": 3}, "attention": {"layer": 5}},
    "controls": {"random": {"layer": 1}},
    "baselines": {"tfidf": {}, "prompted": None},
}


def a_task(**changes: Any) -> Measurement:
    values = {
        "classes": CLASSES,
        "capture": "c",
        "train": "pairs@train",
        "control": "benign@test",
        "evaluation": list(PARTS),
        "in_distribution": ["pairs@test"],
        "probes": ["mean", "attention"],
        "controls": ["random"],
        "baselines": ["tfidf", "prompted"],
        "bootstrap": 200,
        "seeds": [0, 1],
    }
    return Measurement.model_validate(values | changes)


def examples(part: str, n: int = 40) -> list[dict[str, Any]]:
    """Pairs of a low and a high example, with ratings of 2 and 9."""
    return [
        {
            "example_id": f"{part}-{i:03d}",
            "group_id": f"g{i // 2}",
            "label": CLASSES[i % 2],
            "rating": (2.0, 9.0)[i % 2],
        }
        for i in range(n)
    ]


def positives(rows: Sequence[Mapping[str, Any]]) -> np.ndarray:
    return np.array([row["label"] == "high" for row in rows])


def table(
    rows: Sequence[Mapping[str, Any]], part: str, monitor: str, scores: np.ndarray, margins: bool = False, **more: Any
) -> pa.Table:
    """The scores [n] of a monitor; without `margins` they are log-odds and give probabilities."""
    column = np.asarray(scores, dtype=np.float64)[:, None]
    probabilities = None if margins else 1 / (1 + np.exp(-column))
    costs = {name: np.full(len(rows), more.pop(name)) for name in ("flops_monitor", "flops_total") if name in more}
    return score_table(rows, part, CLASSES, monitor, column, probabilities, **costs, **more)


def context_of(
    experiment: Mapping[str, Any],
    scores: Sequence[pa.Table],
    rows: Mapping[str, Sequence[Mapping[str, Any]]],
    training: Sequence[pa.Table] = (),
    **changes: Any,
) -> ScoreContext:
    """The context of an experiment of the task `stakes`, whose evaluation sets are those of `rows`."""
    changes = {"evaluation": list(rows), "in_distribution": [p for p in rows if p == PARTS[0]]} | changes
    return ScoreContext(
        id="experiment",
        experiment=TypeAdapter(Experiment).validate_python({"task": "stakes", **experiment}),
        task=a_task(**changes),
        selection=SELECTION,
        scores=pa.concat_tables(scores),
        training=pa.concat_tables([SCORE.arrow().empty_table(), *training]),
        rows=rows,
    )


def by(rows: Sequence[Mapping[str, Any]], **wanted: Any) -> list[Mapping[str, Any]]:
    return [row for row in rows if all(row[key] == value for key, value in wanted.items())]


def the(rows: Sequence[Mapping[str, Any]], **wanted: Any) -> Mapping[str, Any]:
    """The one row with these values."""
    found = by(rows, **wanted)
    assert len(found) == 1, (wanted, len(found))
    return found[0]
