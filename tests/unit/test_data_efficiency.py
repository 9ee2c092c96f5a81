"""Data efficiency on planted activations: more examples help, and the line ends at the task's own probe."""

from pathlib import Path
from typing import Any

import pytest
import torch

from candor import tables
from candor.errors import CandorError
from candor.experiments import data_efficiency
from candor.experiments.evaluation_context import EvaluationContext
from candor.schemas.curve import CURVE
from candor.schemas.metric import MEAN_DATASET
from tests.evaluation_contexts import LAYER, SEEDS, context_of, folder, task_of
from tests.small_parts import pair_rows, planted, row, write_part

WIDTH = 6
EXPERIMENT = {"kind": "data_efficiency", "task": "stakes", "probes": ["probe"], "sizes": [2, 4, 16, 80, 512], "runs": 3}
MEAN = {"family": "mean", "epochs": 20}


def context(root: Path, config: dict[str, Any] = MEAN, strength: float = 1.0, **others: Any) -> EvaluationContext:
    """A training set of 50 pairs, and three evaluation sets, of which the first is drawn like it."""
    parts = {}
    for number, name in enumerate(("pairs@train", "pairs@test", "dialogues@test", "letters@test")):
        rows = pair_rows(50 if name == "pairs@train" else 30, name.split("@")[1], name[0])
        rows.append(row(f"{name} odd", "odd", "neither", name.split("@")[1]))
        layer = planted(rows, WIDTH, strength, number)
        parts[name] = write_part(folder(root, name), name, rows, {LAYER: layer})
    train = parts.pop("pairs@train")
    task = task_of(list(parts), in_distribution=["pairs@test"])
    weight = torch.zeros(1, WIDTH)
    weight[0, 0] = 1.0
    return context_of({**EXPERIMENT, **others}, train, parts, config, weight, -0.5 * strength, task=task)


def by(rows: list[dict[str, Any]], **wanted: Any) -> list[dict[str, Any]]:
    return [each for each in rows if all(each[key] == value for key, value in wanted.items())]


def test_a_curve_has_every_size_set_and_the_mean_over_sets_out_of_distribution(tmp_path: Path) -> None:
    rows = data_efficiency.run(context(tmp_path))
    tables.write(tmp_path / "curve.parquet", rows, CURVE, {})
    assert {each["x"] for each in rows} == {2, 4, 16, 80, 100, 512}
    for x in (2, 4, 16, 80, 100):
        [outside] = by(rows, x=x, dataset=MEAN_DATASET)
        sets = [by(rows, x=x, dataset=name)[0] for name in ("dialogues@test", "letters@test")]
        assert outside["value"] == pytest.approx(sum(each["value"] for each in sets) / 2)
        assert outside["low"] < outside["value"] < outside["high"]
        assert (outside["n"], outside["n_groups"], outside["n_skipped"]) == (120, 60, 2)
    assert {each["n_runs"] for each in rows if each["x"] in (2, 4, 16, 80)} == {3}


def test_more_examples_help(tmp_path: Path) -> None:
    rows = by(data_efficiency.run(context(tmp_path)), dataset=MEAN_DATASET)
    found = {each["x"]: each["value"] for each in rows}
    assert found[80] > found[2] + 0.05


def test_all_examples_are_the_tasks_own_probe_with_its_seeds(tmp_path: Path) -> None:
    found = context(tmp_path)
    rows = by(data_efficiency.run(found), x=100)
    assert {each["n_runs"] for each in rows} == {len(SEEDS)}
    assert all(each["value"] > 0.9 for each in rows)  # the planted direction
    saved = found.saved["probe"]
    saved.weight = -saved.weight
    assert all(each["value"] < 0.1 for each in by(data_efficiency.run(found), x=100))


def test_too_large_sizes_are_rows_without_a_value_and_small_ones_say_how_they_were_trained(tmp_path: Path) -> None:
    rows = data_efficiency.run(context(tmp_path))
    for each in by(rows, x=512):
        assert each["value"] is None and "100 examples are all there are" in each["remark"]
    assert "no" not in (by(rows, x=80, dataset="pairs@test")[0]["remark"] or "")
    assert "20 epochs" in by(rows, x=4, dataset="pairs@test")[0]["remark"]


def test_no_evaluation_example_is_trained_on_and_the_same_run_gives_the_same_rows(tmp_path: Path) -> None:
    found = context(tmp_path)
    first = data_efficiency.run(found)
    assert data_efficiency.run(found) == first
    # labels of the evaluation sets bear on what is measured, and on nothing else
    for part in found.evaluation.values():
        for each in part.rows:
            each["label"] = {"low": "high", "high": "low"}.get(each["label"], each["label"])
    for one, other in zip(first, data_efficiency.run(found), strict=True):
        assert one["value"] is None or one["value"] == pytest.approx(1 - other["value"])


def test_a_probe_of_roles_that_no_text_has_is_refused(tmp_path: Path) -> None:
    found = context(tmp_path, {**MEAN, "roles": ["user"]})  # all tokens are the template's
    with pytest.raises(CandorError, match="no example"):
        data_efficiency.run(found)


def test_a_task_of_three_classes_is_refused(tmp_path: Path) -> None:
    found = context(tmp_path)
    found.task = task_of(list(found.evaluation), classes=["low", "high", "neither"])
    with pytest.raises(CandorError, match="two classes"):
        data_efficiency.run(found)
