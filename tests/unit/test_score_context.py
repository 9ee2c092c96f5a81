"""What experiments on scores are given: monitors at their layers, examples with draws, and scores out of fold."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from candor import provenance, tables
from candor.errors import CandorError
from candor.experiments.score_context import Monitor, auroc_sample, read_rows
from candor.metrics.intervals import group_weights
from candor.metrics.points import auroc_weighted
from candor.schemas.curve import CURVE
from candor.schemas.dataset import DATASET
from candor.schemas.score import SCORE
from tests.score_tables import CLASSES, PARTS, SELECTION, a_task, context_of, examples, positives, table

ROOT = Path(__file__).parents[2]
PART = PARTS[1]
LENGTHS: dict[str, Any] = {"kind": "length_bins"}


def of_probe(rows: list[dict[str, Any]], seed: int | None = 0, layer: int = 3, **more: Any) -> Any:
    return table(rows, PART, "mean", np.arange(float(len(rows))), layer=layer, seed=seed, **more)


def test_a_monitor_is_read_at_its_selected_layer():
    rows = examples(PART)
    context = context_of(LENGTHS, [of_probe(rows), of_probe(rows, layer=7)], {PART: rows})
    names = ["selected", "attention", "mean", "random", "tfidf"]
    assert context.monitors(names) == [
        Monitor("mean", 3),
        Monitor("attention", 5),
        Monitor("random", 1),
        Monitor("tfidf", None),
    ]
    assert context.scored(Monitor("mean", 3), PART).score.shape == (1, 40)
    with pytest.raises(CandorError, match=r"experiments\.experiment names 'other', which is no monitor"):
        context.monitor("other")


def test_an_example_is_usable_when_every_seed_has_scored_it():
    rows = examples(PART)
    failed = ["error", "truncated", *["ok"] * 38]
    context = context_of(LENGTHS, [of_probe(rows), of_probe(rows, seed=1, statuses=failed)], {PART: rows})
    assert np.flatnonzero(~context.scored(Monitor("mean", 3), PART).usable).tolist() == [0]


def test_examples_without_a_label_are_skipped_and_counted():
    rows = [{**row, "label": "ambiguous" if i < 2 else row["label"]} for i, row in enumerate(examples(PART))]
    context = context_of(LENGTHS, [of_probe(rows)], {PART: rows})
    found = context.examples(PART)
    assert (len(found.label), found.n_skipped) == (38, 2)
    taken = found.take(found.label)
    assert taken.label.all() and taken.counted(1).n_skipped == 2 + 19


def test_scores_that_are_not_there_are_named():
    rows = {part: examples(part) for part in PARTS[1:]}
    other = table(rows[PARTS[2]], PARTS[2], "mean", np.arange(40.0), layer=3, seed=0)
    context = context_of(LENGTHS, [of_probe(rows[PART]), of_probe(rows[PART], seed=1), other], rows)
    with pytest.raises(CandorError, match=r"forms@test: no scores of mean at layer 3 of the seeds \[1\]; score it"):
        context.scored(Monitor("mean", 3), PARTS[2])
    with pytest.raises(CandorError, match="dialogues@test: no scores of tfidf; score it"):
        context.scored(Monitor("tfidf", None), PART)


def test_an_example_of_two_labels_is_refused():
    rows = examples(PART)
    turned = [{**row, "label": "high"} for row in rows]
    context = context_of(LENGTHS, [of_probe(rows), table(turned, PART, "tfidf", np.zeros(40))], {PART: rows})
    with pytest.raises(CandorError, match="give example 'dialogues@test-000' two labels or groups"):
        context.examples(PART)


def test_a_task_of_three_classes_is_refused():
    with pytest.raises(CandorError, match="has 3 classes"):
        context_of(LENGTHS, [of_probe(examples(PART))], {PART: examples(PART)}, classes=[*CLASSES, "other"])


@pytest.mark.parametrize("per_group", [1, 2, 40])
def test_auroc_by_groups_is_that_by_ranks(per_group):
    rng = np.random.default_rng(0)
    n = 200
    scores, label, groups = (
        rng.integers(0, 20, size=(3, n)).astype(float),
        rng.random(n) < 0.4,
        np.arange(n) // per_group,
    )
    weights = np.concatenate([np.ones((1, n)), group_weights(groups, label, 50, rng)])
    by_rank = np.stack([auroc_weighted(score, label, weights) for score in scores], axis=1)
    for found in (
        auroc_sample(scores, label, groups, weights),
        auroc_sample(np.repeat(scores, 1, axis=0), label, groups + 5, weights),
    ):
        assert found.values == pytest.approx(by_rank[0])
        assert found.draws[:, 0] == pytest.approx(by_rank[1:].mean(axis=1))


def test_many_groups_are_ranked():
    rng = np.random.default_rng(0)
    n = 400
    score, label = rng.normal(size=(1, n)), rng.random(n) < 0.5
    weights = np.concatenate([np.ones((1, n)), group_weights(np.arange(n), label, 20, rng)])
    found = auroc_sample(score, label, np.arange(n), weights)
    assert found.draws[:, 0] == pytest.approx(auroc_weighted(score[0], label, weights)[1:])
    assert (found.n_groups, found.trials) == (n, int(min(label.sum(), (~label).sum())))


def write_dataset(path: Path, part: str, rows: list[dict[str, Any]]) -> None:
    split = part.split("@")[1]
    whole = [
        {**row, "split": split, "messages": [{"role": "user", "content": "x"}], "attributes": "{}", "truncated": False}
        for row in rows
    ]
    tables.write(path, whole, DATASET, {})


def test_the_files_of_a_tasks_datasets_are_read_in_its_order(tmp_path):
    for part in PARTS:
        write_dataset(tmp_path / f"{part}.parquet", part, examples(part, 4))
    found = read_rows(a_task(), [tmp_path / f"{part}.parquet" for part in PARTS])
    assert [rows[0]["example_id"] for rows in found.values()] == [f"{part}-000" for part in PARTS]
    with pytest.raises(CandorError, match="1 data files are given for 3 datasets: pairs, dialogues, forms"):
        read_rows(a_task(), [tmp_path / "pairs@test.parquet"])


def test_the_script_writes_the_same_curve_table_twice(tmp_path):
    parts, scores = PARTS[:2], []
    for part in parts:
        rows = examples(part)
        write_dataset(tmp_path / f"{part}.parquet", part, rows)
        score = positives(rows) + np.random.default_rng(0).normal(size=40)
        scores.append(tmp_path / f"{part}-scores.parquet")
        tables.write(scores[-1], table(rows, part, "mean", score, layer=3, seed=0, n_tokens=[7] * 40), SCORE, {})
    (tmp_path / "s.json").write_text(json.dumps(SELECTION))
    experiment = {"kind": "cascade", "task": "stakes", "cascades": {"a": {"expensive": "mean"}}}
    spec = {"tasks": a_task(evaluation=list(parts)).model_dump(mode="json"), "experiments": experiment}
    outputs = [tmp_path / "a.parquet", tmp_path / "b.parquet"]
    for output in outputs:
        command = [
            *(sys.executable, ROOT / "scripts" / "run_score_experiment.py"),
            *("--spec", json.dumps(spec), "--experiment", "one", "--selection", tmp_path / "s.json"),
            *("--data", *(tmp_path / f"{part}.parquet" for part in parts)),
            *("--scores", *scores, "--train-scores", "--output", output),
        ]
        subprocess.run(command, check=True, capture_output=True)
    assert outputs[0].read_bytes() == outputs[1].read_bytes()
    found = tables.read(outputs[0], CURVE)
    assert set(found["curve"].to_pylist()) == {"mean", "a/median/mean"}
    assert len(provenance.read(outputs[0])["inputs"]) == 5


def test_the_script_needs_no_torch():
    command = "import sys, run_score_experiment; import candor.experiments.cascade, candor.experiments.calibration; "
    command += "import candor.experiments.length_bins; sys.exit('torch' in sys.modules or 'sklearn' in sys.modules)"
    subprocess.run([sys.executable, "-c", command], cwd=ROOT / "scripts", check=True)
