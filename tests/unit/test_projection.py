"""Planes through activations: fitted on training examples alone, and what they show of held-out ones."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import TypeAdapter
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

from candor import tables
from candor.config.experiments import Projection
from candor.config.probes import Probe
from candor.errors import CandorError
from candor.experiments import projection
from candor.experiments.evaluation_context import EvaluationContext
from candor.probes.features import Part
from candor.schemas.place import PLACE
from tests.evaluation_contexts import Quiet
from tests.triples import STATES, states, task_of, trained_on, triple_part, triples


def context_of(folder: Path, test: Part, train_rows: list[dict[str, Any]] | None = None) -> EvaluationContext:
    rows = triples(12)
    train = triple_part(folder / "train", "triples@train", rows, {2: states(rows)})
    probe: Any = TypeAdapter(Probe).validate_python({"family": "mean_then_linear"})
    task = task_of()
    saved = trained_on(folder, train, probe, task)
    if train_rows is not None:
        train = triple_part(folder / "other", "triples@train", train_rows, {2: states(train_rows)})
    return EvaluationContext(
        id="planes",
        experiment=Projection(kind="projection", task="inner-state"),
        task=task,
        probes={"probe": probe},
        saved={"probe": saved},
        selection={"monitor": "probe", "probes": {"probe": {"layer": 2}}},
        train=train,
        evaluation={"triples@test": test},
        development={},
        progress=lambda name, total, unit: Quiet(),
    )


def part_of(folder: Path, n: int = 9) -> Part:
    rows = triples(n, "test", "t")
    return triple_part(folder / "test", "triples@test", rows, {2: states(rows, seed=1)})


def planted(classes: int = 3, n: int = 60, width: int = 6) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    y = np.arange(n) % classes
    return rng.standard_normal((n, width)) + np.eye(classes, width)[y] * (2.0 + 2.0 * y[:, None]), y


def test_every_example_has_a_place_in_each_plane_and_classes_lie_apart(tmp_path: Path) -> None:
    rows = projection.run(context_of(tmp_path, part_of(tmp_path)))
    tables.write(tmp_path / "places.parquet", rows, PLACE, {})
    assert len(rows) == 2 * (36 + 27)
    assert {row["held_out"] for row in rows if row["dataset"] == "triples@test"} == {True}
    held_out = [row for row in rows if row["held_out"] and row["method"] == "lda"]
    places = {state: np.array([[r["x"], r["y"]] for r in held_out if r["label"] == state]) for state in STATES}
    middles = {state: of.mean(0) for state, of in places.items()}
    for state, of in places.items():
        others = [np.linalg.norm(of - middles[other], axis=1) for other in STATES if other != state]
        assert (np.linalg.norm(of - middles[state], axis=1) < np.min(others, axis=0)).mean() > 0.85
    assert held_out[0]["x_share"] + held_out[0]["y_share"] == pytest.approx(1)


def test_held_out_examples_have_no_part_in_the_axes(tmp_path: Path) -> None:
    few = projection.run(context_of(tmp_path / "few", part_of(tmp_path / "few", n=1)))
    many = projection.run(context_of(tmp_path / "many", part_of(tmp_path / "many")))
    learnt = [[(row["x"], row["y"]) for row in rows if not row["held_out"]] for rows in (few, many)]
    assert learnt[0] == learnt[1]


def test_examples_without_activations_have_no_place(tmp_path: Path) -> None:
    rows = triples(3, "test", "t")
    statuses = ["empty" if i == 4 else "ok" for i in range(len(rows))]
    layer = [x[:0] if status == "empty" else x for x, status in zip(states(rows), statuses, strict=True)]
    test = triple_part(tmp_path / "test", "triples@test", rows, {2: layer}, statuses=statuses)
    found = [row for row in projection.run(context_of(tmp_path, test)) if row["held_out"] and row["method"] == "pca"]
    assert [row["x"] is None for row in found] == [status == "empty" for status in statuses]
    assert found[4]["status"] == "empty"


def test_a_training_set_that_lacks_a_class_is_refused(tmp_path: Path) -> None:
    rows = [row for row in triples(4) if row["label"] != "deceptive"]
    with pytest.raises(CandorError, match="fewer than two examples of one of the classes normal, eval_aware"):
        projection.run(context_of(tmp_path, part_of(tmp_path), rows))


def test_axes_are_those_of_shrunk_lda() -> None:
    x, y = planted()
    found = projection.discriminants(x, y, 3).place(x)
    # which shrinks the covariance of each class by itself
    known = LinearDiscriminantAnalysis(solver="eigen", shrinkage="auto", n_components=2).fit(x, y).transform(x)
    for axis in (0, 1):
        assert abs(np.corrcoef(found[:, axis], known[:, axis])[0, 1]) > 0.95
    within = np.concatenate([found[y == k] - found[y == k].mean(0) for k in range(3)])
    assert within.std(0) == pytest.approx([1, 1], abs=0.15)


def test_two_classes_have_one_discriminant_and_a_component_of_the_rest() -> None:
    x, y = planted(classes=2)
    plane = projection.discriminants(x, y, 2)
    assert plane.shares == (1.0, 0.0) and plane.axes.shape == (2, 6)
    assert plane.axes[0] @ plane.axes[1] == pytest.approx(0, abs=1e-8)


def test_axes_point_to_the_last_class_whatever_the_sign_of_a_vector() -> None:
    x, y = planted()
    for plane in (projection.discriminants(x, y, 3), projection.components(x, y)):
        assert (plane.place(x)[y == 2].mean(0) > 0).all()
    shares = projection.components(x, y).shares
    assert 1 > shares[0] > shares[1] > 0
