"""One rule chooses layer, probe and threshold, from training scores alone."""

import json
import math
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from candor import tables
from candor.errors import CandorError
from candor.probes.selection import cross_validated, over_folds, select, thresholds_of, within_one_se
from candor.schemas.score import SCORE
from candor.scores import score_table
from tests.small_parts import pair_rows

SCRIPTS = Path(__file__).parents[2] / "scripts"
BINARY = ["low", "high"]
FOLDS = 4
PAIRS = 40
ROWS = pair_rows(PAIRS)
POSITIVE = np.array([row["label"] == "high" for row in ROWS])
FOLD = np.array([i // 2 % FOLDS for i in range(2 * PAIRS)])


def entries(*layers: tuple[float, float]) -> list[dict[str, Any]]:
    """Entries of (AUROC, standard error) at the layers 0, 1, …"""
    return [{"layer": layer, "auroc": auroc, "se": se} for layer, (auroc, se) in enumerate(layers)]


def trained(wrong: list[int], layer: int | None = 0, seed: int | None = 0, monitor: str = "probe") -> pa.Table:
    """Out-of-fold scores; in fold f, wrong[f] of the positives score below all negatives, so AUROC is 1 - wrong/10."""
    scores = POSITIVE.astype(np.float64)
    for fold, count in enumerate(wrong):
        scores[np.flatnonzero(POSITIVE & (fold == FOLD))[:count]] = -1
    return score_table(ROWS, "set@train", BINARY, monitor, scores[:, None], layer=layer, seed=seed, folds=FOLD)


def on_control(scores: np.ndarray, layer: int | None = 0, seed: int | None = 0) -> pa.Table:
    rows = [{"example_id": f"c{i}", "group_id": f"c{i}", "label": None} for i in range(len(scores))]
    return score_table(rows, "calm@test", BINARY, "probe", scores[:, None], layer=layer, seed=seed)


def test_the_shallowest_layer_within_one_standard_error_of_the_best_is_taken() -> None:
    assert within_one_se(entries((0.7, 0.1), (0.87, 0.1), (0.9, 0.05), (0.89, 0.2)))["layer"] == 1
    assert within_one_se(entries((0.7, 0.1), (0.84, 0.1), (0.9, 0.05), (0.89, 0.2)))["layer"] == 2
    assert within_one_se(entries((0.85, 0.0), (0.9, 0.05)))["layer"] == 0  # on the border


def test_the_standard_error_is_that_of_the_best_layer() -> None:
    assert within_one_se(entries((0.8, 0.5), (0.9, 0.01)))["layer"] == 1


def test_of_equal_layers_the_first_counts_as_the_best() -> None:
    assert within_one_se(entries((0.6, 0.0), (0.9, 0.0), (0.9, 0.4)))["layer"] == 1


def test_auroc_and_its_standard_error_are_over_folds() -> None:
    [found] = cross_validated(trained([0, 1, 2, 5]))
    folds = [1.0, 0.9, 0.8, 0.5]
    assert found == {
        "layer": 0,
        "auroc": pytest.approx(np.mean(folds)),
        "se": pytest.approx(np.std(folds, ddof=1) / 2, abs=1e-6),
    }


def test_seeds_are_averaged_within_a_fold_and_add_no_certainty() -> None:
    [found] = cross_validated(pa.concat_tables([trained([0, 0, 0, 4], seed=0), trained([2, 2, 2, 6], seed=1)]))
    folds = [0.9, 0.9, 0.9, 0.5]
    assert (found["auroc"], found["se"]) == (pytest.approx(0.8), pytest.approx(np.std(folds, ddof=1) / 2))


def test_layers_come_in_order_and_a_text_baseline_has_none() -> None:
    table = pa.concat_tables([trained([1] * 4, layer=10), trained([2] * 4, layer=2)])
    assert [entry["layer"] for entry in cross_validated(table)] == [2, 10]
    assert [entry["layer"] for entry in cross_validated(trained([1] * 4, layer=None, seed=None))] == [None]


def test_several_classes_are_averaged() -> None:
    rows = [{"example_id": str(i), "group_id": str(i), "label": "abc"[i % 3]} for i in range(24)]
    scores = np.stack([[row["label"] == name for row in rows] for name in "abc"], 1).astype(np.float64)
    scores[:, 1] = 0  # tells nothing of class b
    table = score_table(rows, "set@train", list("abc"), "p", scores, layer=0, seed=0, folds=np.arange(24) // 3 % 4)
    assert cross_validated(table)[0]["auroc"] == pytest.approx((1 + 0.5 + 1) / 3, abs=1e-6)


def test_control_scores_and_unlabelled_examples_do_not_enter() -> None:
    table = pa.concat_tables([trained([0, 1, 2, 5]), on_control(np.full(50, 99.0))])
    assert cross_validated(table) == cross_validated(trained([0, 1, 2, 5]))


def test_a_fold_without_a_class_is_left_out_and_too_few_folds_are_a_sentence() -> None:
    assert over_folds([0.8, math.nan, 0.6]) == {"auroc": pytest.approx(0.7), "se": pytest.approx(0.1)}
    with pytest.raises(CandorError, match=r"only 1 of 3 folds hold examples of every class.*set `folds`"):
        over_folds([0.8, math.nan, math.nan])


def test_the_probe_with_the_highest_auroc_at_its_own_layer_is_the_monitor() -> None:
    deep = pa.concat_tables([trained([6] * 4, layer=3), trained([0, 0, 0, 1], layer=7)])
    shallow = pa.concat_tables([trained([2] * 4, layer=3), trained([2] * 4, layer=7)])
    found = select({"shallow": shallow, "deep": deep}, {}, {}, {})
    assert (found["monitor"], found["layer"]) == ("deep", 7)
    assert found["probes"]["shallow"]["layer"] == 3
    assert [entry["auroc"] for entry in found["probes"]["deep"]["layers"]] == [0.4, 0.975]


def test_a_tie_is_won_by_the_first_in_the_tasks_order() -> None:
    assert select({"b": trained([1] * 4), "a": trained([1] * 4)}, {}, {}, {})["monitor"] == "b"
    assert select({"a": trained([1] * 4), "b": trained([1] * 4)}, {}, {}, {})["monitor"] == "a"


def test_a_baseline_is_reported_and_never_selected() -> None:
    found = select({"probe": trained([3] * 4)}, {}, {"tfidf": trained([0] * 4, layer=None, seed=None)}, {})
    assert found["monitor"] == "probe"
    assert found["baselines"] == {"tfidf": {"layer": None, "auroc": 1.0, "se": 0.0}}


def test_a_control_has_a_layer_and_is_never_selected() -> None:
    control = pa.concat_tables([trained([2] * 4, layer=3), trained([0] * 4, layer=7)])
    found = select({"probe": trained([3] * 4)}, {"random": control}, {}, {})
    assert (found["monitor"], found["layer"], list(found["probes"])) == ("probe", 0, ["probe"])
    assert found["controls"]["random"]["layer"] == 7 and found["controls"]["random"]["auroc"] == 1.0
    assert [entry["layer"] for entry in found["controls"]["random"]["layers"]] == [3, 7]


def test_a_baseline_that_was_not_cross_validated_has_none() -> None:
    """It has scores of the control set, and may have some of training examples that no fold held out."""
    asked = on_control(np.arange(20.0), layer=None, seed=None)
    found = select({"probe": trained([3] * 4)}, {}, {"prompted": asked}, {})
    assert found["baselines"] == {"prompted": None}


def test_a_selection_is_json() -> None:
    read = {"probe": pa.concat_tables([trained([1, 0, 0, 0]), on_control(np.arange(100.0))])}
    thresholds = {id: thresholds_of(table, "calm@test", 0.01) for id, table in read.items()}
    found = select(read, {}, {}, thresholds)
    assert json.loads(json.dumps(found, allow_nan=False)) == found


@pytest.mark.parametrize("n", [10, 99, 100, 101, 150, 1000])
@pytest.mark.parametrize("target", [0.01, 0.05])
def test_at_most_the_target_of_the_control_set_is_flagged_and_one_more_would_be_too_many(n: int, target: float) -> None:
    scores = np.random.default_rng(n).normal(size=n).round(1)  # with ties
    table = pa.concat_tables([trained([0] * 4), on_control(scores)])
    threshold = thresholds_of(table, "calm@test", target)["0"]["0"]["high"]
    assert (scores > threshold).mean() <= target
    lower = np.sort(scores[scores < threshold])
    assert not len(lower) or (scores > lower[-1]).mean() > target


def test_thresholds_are_by_layer_seed_and_class_and_from_the_control_set_alone() -> None:
    parts = [
        on_control(np.arange(100.0) + 1000 * layer + 100 * seed, layer, seed) for layer in (2, 5) for seed in (0, 1)
    ]
    table = pa.concat_tables([trained([0] * 4, layer=2), *parts])
    assert thresholds_of(table, "calm@test", 0.01) == {
        str(layer): {str(seed): {"high": 98.0 + 1000 * layer + 100 * seed} for seed in (0, 1)} for layer in (2, 5)
    }


def test_a_monitor_without_layer_or_seed_has_its_threshold_under_none() -> None:
    table = pa.concat_tables([trained([0] * 4, None, None), on_control(np.arange(200.0), None, None)])
    assert thresholds_of(table, "calm@test", 0.01) == {"none": {"none": {"high": 197.0}}}


def test_control_examples_without_a_score_do_not_count() -> None:
    scores = np.append(np.arange(100.0), [np.nan] * 100)
    assert thresholds_of(on_control(scores), "calm@test", 0.01)["0"]["0"]["high"] == 98.0


def test_the_script_reads_controls_after_probes_and_selects_among_probes_alone(tmp_path: Path) -> None:
    tables_of = {
        "probe": pa.concat_tables([trained([3] * 4), on_control(np.arange(100.0))]),
        "random": pa.concat_tables([trained([0] * 4), on_control(np.arange(100.0, 200.0))]),
        "asked": on_control(np.arange(200.0, 300.0), None, None),
    }
    for id, table in tables_of.items():
        tables.write(tmp_path / f"{id}.parquet", table, SCORE, {})
    task = {
        **{"classes": BINARY, "train": "set@train", "control": "calm@test", "capture": "c"},
        **{"probes": ["probe"], "controls": ["random"], "baselines": ["asked"]},
    }
    scores = {id: str(tmp_path / f"{id}.parquet") for id in tables_of}
    command = [sys.executable, str(SCRIPTS / "select_probe.py"), "--spec", json.dumps({"tasks": task})]
    command += ["--probe-scores", scores["probe"], scores["random"], "--baseline-scores", scores["asked"]]
    command += ["--output", str(tmp_path / "selection.json")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found = json.loads((tmp_path / "selection.json").read_text())
    assert found["monitor"] == "probe" and found["controls"]["random"]["auroc"] == 1.0
    assert found["baselines"] == {"asked": None}
    thresholds = {id: next(iter(next(iter(found["thresholds"][id].values())).values())) for id in tables_of}
    assert thresholds == {"probe": {"high": 98.0}, "random": {"high": 198.0}, "asked": {"high": 298.0}}
