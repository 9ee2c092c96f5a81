"""The score table, as every monitor builds it."""

from pathlib import Path

import numpy as np
import pytest

from candor import tables
from candor.schemas.score import SCORE
from candor.scores import score_table

ROWS = [
    {"example_id": "a", "group_id": "g", "label": "low"},
    {"example_id": "b", "group_id": "g", "label": "high"},
    {"example_id": "c", "group_id": "h", "label": "ambiguous"},
    {"example_id": "d", "group_id": "i", "label": None},
]
BINARY = ["low", "high"]


def test_a_binary_task_has_a_row_per_example_for_the_positive_class() -> None:
    table = score_table(ROWS, "set@test", BINARY, "probe", np.array([[-1.0], [2.0], [0.0], [0.5]]), layer=3, seed=1)
    assert table.column("class").to_pylist() == ["high"] * 4
    assert table.column("label").to_pylist() == [False, True, None, None]
    assert table.column("score").to_pylist() == [-1.0, 2.0, 0.0, 0.5]
    first = table.slice(0, 1).to_pylist()[0]
    assert (first["dataset"], first["split"], first["layer"], first["seed"]) == ("set", "test", 3, 1)
    assert first["fold"] is None and first["n_tokens"] is None and first["flops_monitor"] is None


def test_three_classes_have_a_row_each() -> None:
    table = score_table(
        ROWS, "set@test", [*BINARY, "other"], "text", np.arange(12.0).reshape(4, 3), n_tokens=[5, 6, 7, 8]
    )
    assert table.num_rows == 12
    assert table.column("example_id").to_pylist()[:4] == ["a", "a", "a", "b"]
    assert table.column("class").to_pylist()[:3] == ["low", "high", "other"]
    assert table.column("label").to_pylist()[:6] == [True, False, False, False, True, False]
    assert table.column("score").to_pylist() == list(range(12))
    assert table.column("n_tokens").to_pylist()[:4] == [5, 5, 5, 6]


def test_a_row_without_a_score_says_why() -> None:
    scores = np.array([[np.nan], [np.inf], [1.0], [2.0]])
    table = score_table(
        ROWS,
        "set@test",
        BINARY,
        "probe",
        scores,
        np.full((4, 1), 0.5),
        statuses=["error", "ok", "refused", "truncated"],
    )
    assert table.column("status").to_pylist() == ["error", "not_finite", "refused", "truncated"]
    assert table.column("score").to_pylist() == [None, None, None, 2.0]
    assert table.column("probability").to_pylist() == [None, None, None, 0.5]


def test_cross_validated_rows_keep_their_fold() -> None:
    table = score_table(ROWS, "set@train", BINARY, "probe", np.zeros((4, 1)), folds=np.array([0, 1, 0, 1]))
    assert table.column("fold").to_pylist() == [0, 1, 0, 1]


def test_fits_the_contract_on_disk(tmp_path: Path) -> None:
    table = score_table(ROWS, "set@test", BINARY, "probe", np.zeros((4, 1)), flops_monitor=np.full(4, 8.0))
    tables.write(tmp_path / "scores.parquet", table, SCORE, {})
    assert tables.read(tmp_path / "scores.parquet", SCORE).num_rows == 4


def test_scores_of_another_shape_are_refused() -> None:
    with pytest.raises(ValueError, match="scores have shape"):
        score_table(ROWS, "set@test", BINARY, "probe", np.zeros((4, 2)))
