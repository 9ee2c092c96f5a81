"""What experiments on evaluation sets are given: files found by what they say of themselves; the script around it."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from candor import tables
from candor.activations.files import ActivationsError
from candor.config.experiments import SELECTED
from candor.errors import CandorError
from candor.experiments.curves import Line, Sheet, point
from candor.experiments.evaluation_context import by_id, read_parts, tables_by_monitor
from candor.probes.files import ProbeError
from candor.schemas.curve import CURVE
from candor.schemas.metric import MEAN_DATASET
from candor.schemas.score import SCORE
from candor.scores import score_table
from tests.evaluation_contexts import LAYER, SEEDS, context_of, folder, saved_probe, task_of
from tests.small_parts import CLASSES, pair_rows, planted, write_part

SCRIPTS = Path(__file__).parents[2] / "scripts"
WIDTH = 4
CONFIG = {"family": "mean", "epochs": 3}
SIZES = {"kind": "data_efficiency", "task": "stakes", "probes": ["probe"], "sizes": [4], "runs": 2}


def part(root: Path, name: str, pairs: int = 6, **header: Any) -> Any:
    rows = pair_rows(pairs, name.split("@")[1], name)
    return write_part(folder(root, name), name, rows, {LAYER: planted(rows, WIDTH, 1.0, 0)}, **header)


def files(root: Path, name: str) -> tuple[Path, Path]:
    dataset = name.split("@")[0]
    return root / name / f"{dataset}.parquet", root / name / f"{dataset}.safetensors"


def test_files_of_activations_belong_to_the_dataset_they_name(tmp_path: Path) -> None:
    names = ["a@test", "b@test"]
    for name in names:
        part(tmp_path, name)
    data, shards = zip(*(files(tmp_path, name) for name in names), strict=True)
    found = read_parts(names, data, [*shards[::-1], shards[0]])
    assert list(found) == names
    assert [found[name].activations.header.dataset for name in names] == ["a", "b"]
    with pytest.raises(ActivationsError, match="no file of activations was given of its dataset"):
        read_parts(names, data, shards[:1])
    with pytest.raises(CandorError, match="2 parts"):
        read_parts(names, data[:1], shards)
    with pytest.raises(ActivationsError, match="not an activations file"):
        saved_probe(found["a@test"], CONFIG, torch.zeros(1, WIDTH)).save(tmp_path / "p.safetensors", {})
        read_parts(names, data, [tmp_path / "p.safetensors"])


def test_one_probe_alone_is_that_of_the_only_monitor() -> None:
    assert by_id(CONFIG, ["probe"]) == {"probe": CONFIG}
    assert by_id({"b": CONFIG, "a": CONFIG}, ["a", "b"]) == {"a": CONFIG, "b": CONFIG}
    with pytest.raises(CandorError, match="no probe c"):
        by_id({"a": CONFIG}, ["a", "c"])
    with pytest.raises(CandorError, match="one probe"):
        by_id(CONFIG, ["a", "b"])


def test_scores_are_put_together_by_monitor(tmp_path: Path) -> None:
    for name in ("a@test", "b@test"):
        scores = score_table(pair_rows(2, "test", name), name, CLASSES, "tfidf", np.zeros((4, 1)))
        tables.write(tmp_path / f"{name}.parquet", scores, SCORE, {})
    found = tables_by_monitor([tmp_path / "a@test.parquet", tmp_path / "b@test.parquet"])
    assert {id: table.num_rows for id, table in found.items()} == {"tfidf": 8}


def test_selected_is_the_probe_of_the_selection_and_others_are_refused(tmp_path: Path) -> None:
    train = part(tmp_path, "pairs@train")
    context = context_of(SIZES, train, {"a@test": part(tmp_path, "a@test")}, CONFIG, torch.zeros(1, WIDTH))
    assert context.probe(SELECTED)[0] == "probe" and context.probe("probe")[3] == LAYER
    with pytest.raises(CandorError, match="probe other was not given"):
        context.probe("other")
    context.evaluation = {"b@test": part(tmp_path, "b@test", hook="input_layernorm")}
    with pytest.raises(ProbeError, match="another hook"):
        context.probe("probe")


def test_a_mean_over_sets_is_undefined_where_one_of_them_is() -> None:
    positive = np.arange(20) % 2 == 1
    sheet = Sheet("a@test", positive, [str(i // 2) for i in range(20)], 0, 50, 0)
    scores = np.random.default_rng(0).normal(size=(3, 20)) + positive
    known, unknown = sheet.found(scores), sheet.undefined("nothing to train on")
    rows = point("e", Line("p", "p", 2), 4, {"a@test": known, "b@test": unknown}, ["a@test", "b@test"], 0)
    assert [row["value"] is None for row in rows] == [False, True, True]
    assert rows[2]["dataset"] == MEAN_DATASET and rows[2]["remark"] == "b@test: nothing to train on"
    [_, mean] = point("e", Line("p", "p", 2), 4, {"a@test": known}, ["a@test"], 0)
    assert mean["value"] == rows[0]["value"] and mean["n_runs"] == 3


def test_examples_without_a_score_are_left_out_and_counted() -> None:
    positive = np.arange(20) % 2 == 1
    sheet = Sheet("a@test", positive, [str(i) for i in range(20)], 3, 50, 0)
    scores = np.where(np.arange(20) < 4, np.nan, positive.astype(float))[None]
    found = sheet.found(scores)
    assert (found.n, found.n_skipped, found.n_groups) == (16, 7, 16)
    assert sheet.found(np.full((1, 20), np.nan)).remarks == ("one class only",)


def test_the_script_writes_a_curve_with_its_inputs(tmp_path: Path) -> None:
    names = ["a@test", "b@test"]
    train = part(tmp_path, "pairs@train", 10)
    for name in names:
        part(tmp_path, name)
    saved_probe(train, CONFIG, torch.ones(1, WIDTH)).save(tmp_path / "p.safetensors", {})
    (tmp_path / "s.json").write_text(json.dumps({"monitor": "probe", "probes": {"probe": {"layer": LAYER}}}))
    (tmp_path / "m.json").write_text("{}")
    task = task_of(names).model_dump(mode="json")
    spec = {"experiments": SIZES, "tasks": task, "probes": CONFIG, "models": {}}
    data, shards = zip(*(files(tmp_path, name) for name in names), strict=True)
    given = {
        "--spec": [json.dumps(spec)],
        "--experiment": ["sizes"],
        "--data": [files(tmp_path, "pairs@train")[0]],
        "--activations": [files(tmp_path, "pairs@train")[1]],
        "--evaluation-parts": names,
        "--evaluation-data": data,
        "--evaluation-activations": shards,
        "--development-parts": [],
        "--development-data": [],
        "--development-activations": [],
        "--baseline-scores": [],
        "--selection": [tmp_path / "s.json"],
        "--monitors": ["probe"],
        "--probes": [tmp_path / "p.safetensors"],
        "--model": [tmp_path / "m.json"],
        "--output": [tmp_path / "e.parquet"],
    }
    command = [str(each) for flag, values in given.items() for each in (flag, *values)]
    done = subprocess.run(
        [sys.executable, SCRIPTS / "run_evaluation_experiment.py", *command],
        check=True,
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert "selection" in done.stderr and "sha256" in done.stderr
    rows = tables.read(tmp_path / "e.parquet", CURVE).to_pylist()
    assert {(row["x"], row["dataset"]) for row in rows} == {(x, name) for x in (4, 20) for name in [*names, "mean"]}
    assert {row["n_runs"] for row in rows if row["x"] == 20} == {len(SEEDS)}
