"""The metric table of a task, from small score tables whose answers are known."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from candor import tables
from candor.config.tasks import Measurement, dataset_of, split_of
from candor.metrics import measuring
from candor.metrics.measuring import MeasuringError, measure
from candor.schemas.metric import METRIC
from candor.schemas.score import SCORE

ROOT = Path(__file__).parents[2]
SHIFTS = {"attention": 3.0, "mean": 1.5, "tfidf": 1.0, "length": 0.3}
FAMILIES = {"attention": "attention", "mean": "mean", "tfidf": "tfidf", "length": "text"}
LAYERS: dict[str, int | None] = {"attention": 5, "mean": 3, "tfidf": None, "length": None}
SELECTION: dict[str, Any] = {
    "monitor": "mean",
    "layer": 3,
    "probes": {"attention": {"layer": 5}, "mean": {"layer": 3}},
    "baselines": {"tfidf": {}, "length": {}},
    "thresholds": {"mean": {"3": {"0": {"high": 1.0}, "1": {"high": 1.2}}}, "tfidf": {"none": {"none": {"high": 0.5}}}},
}


def a_task(**changes: Any) -> Measurement:
    values = {
        "classes": ["low", "high"],
        "capture": "c",
        "train": "pairs@train",
        "control": "benign@test",
        "evaluation": ["pairs@test", "dialogues@test", "forms@test"],
        "in_distribution": ["pairs@test"],
        "probes": ["mean", "attention"],
        "baselines": ["tfidf", "length"],
        "bootstrap": 200,
        "seeds": [0, 1],
    }
    return Measurement.model_validate(values | changes)


def some_scores(
    parts: tuple[str, ...] = ("pairs@test", "dialogues@test", "forms@test"), n_groups: int = 30, cls: str = "high"
) -> pd.DataFrame:
    """Groups of one positive and one negative; the two probes have two seeds, tfidf is a margin."""
    rng = np.random.default_rng(0)
    rows = []
    for part in parts:
        shared = rng.normal(size=2 * n_groups)
        for monitor, shift in SHIFTS.items():
            for seed in (0, 1) if LAYERS[monitor] is not None else (None,):
                score = shared + rng.normal(size=2 * n_groups) + shift * (np.arange(2 * n_groups) % 2)
                for i in range(2 * n_groups):
                    rows.append(
                        {
                            "example_id": f"e{i}",
                            "sample_index": 0,
                            "token_index": None,
                            "group_id": f"g{i // 2}",
                            "dataset": dataset_of(part),
                            "split": split_of(part),
                            "monitor": monitor,
                            "layer": LAYERS[monitor],
                            "seed": seed,
                            "fold": None,
                            "class": cls,
                            "label": bool(i % 2),
                            "score": score[i],
                            "probability": None if monitor == "tfidf" else 1 / (1 + np.exp(-score[i])),
                            "flops_monitor": 1.0,
                            "flops_total": 2.0,
                            "status": "ok",
                            "n_tokens": 7,
                        }
                    )
    return pd.DataFrame(rows)


def rows_of(
    scores: pd.DataFrame | pa.Table, task: Measurement | None = None, selection: Any = None
) -> list[dict[str, Any]]:
    return measure(scores, task or a_task(), "stakes", selection or SELECTION, FAMILIES)


def the(rows: list[dict[str, Any]], **where: Any) -> dict[str, Any]:
    """The one row with these values; `versus` is null where it is not named."""
    where = {"versus": None} | where
    found = [row for row in rows if all(row[key] == value for key, value in where.items())]
    assert len(found) == 1, (where, len(found))
    return found[0]


@pytest.fixture(scope="module")
def rows() -> list[dict[str, Any]]:
    return rows_of(some_scores())


def test_rows_fit_the_metric_table(rows, tmp_path):
    tables.write(tmp_path / "metrics.parquet", rows, METRIC, {})
    assert tables.read(tmp_path / "metrics.parquet", METRIC).num_rows == len(rows)


def test_every_monitor_has_every_metric_on_every_set_and_the_mean(rows):
    plain = [row for row in rows if row["versus"] is None]
    assert len(plain) == 4 * 4 * len(measuring.METRICS)
    assert {row["dataset"] for row in plain} == {"pairs@test", "dialogues@test", "forms@test", "mean"}


def test_a_row_names_family_layer_and_headline(rows):
    row = the(rows, dataset="pairs@test", monitor="mean", metric="auroc")
    assert (row["family"], row["layer"], row["selected"], row["class"]) == ("mean", 3, True, "high")
    row = the(rows, dataset="pairs@test", monitor="tfidf", metric="auroc")
    assert (row["family"], row["layer"], row["selected"]) == ("tfidf", None, False)


def test_values_are_means_over_seeds_with_intervals_around(rows):
    scores = some_scores()
    here = scores[(scores.dataset == "pairs") & (scores.monitor == "mean")]
    by_seed = [measuring.points.auroc(one.score.to_numpy(), one.label.to_numpy()) for _, one in here.groupby("seed")]
    row = the(rows, dataset="pairs@test", monitor="mean", metric="auroc")
    assert row["value"] == pytest.approx(np.mean(by_seed))
    assert row["low"] < row["value"] < row["high"]
    assert (row["n"], row["n_positive"], row["n_negative"], row["n_groups"], row["n_seeds"]) == (60, 30, 30, 30, 2)


def test_the_mean_leaves_out_sets_in_distribution(rows):
    aurocs = [the(rows, dataset=part, monitor="mean", metric="auroc") for part in ("dialogues@test", "forms@test")]
    row = the(rows, dataset="mean", monitor="mean", metric="auroc")
    assert row["value"] == pytest.approx(np.mean([one["value"] for one in aurocs]))
    assert row["n"] == 120 and row["n_groups"] == 60 and row["n_seeds"] == 2


def test_the_mean_is_over_all_sets_where_all_are_in_distribution():
    task = a_task(evaluation=["pairs@test"], baselines=[])
    rows = rows_of(some_scores(("pairs@test",)), task)
    part, mean = (the(rows, dataset=name, monitor="mean", metric="auroc") for name in ("pairs@test", "mean"))
    assert [mean[key] for key in ("value", "low", "high")] == [part[key] for key in ("value", "low", "high")]


def test_accuracy_needs_a_probability(rows):
    row = the(rows, dataset="pairs@test", monitor="tfidf", metric="accuracy")
    assert row["value"] is None and row["low"] is None
    assert row["remark"] == "the monitor gives no probability"
    assert the(rows, dataset="pairs@test", monitor="mean", metric="accuracy")["value"] > 0.5


def test_the_control_threshold_is_that_of_layer_and_seed(rows):
    scores = some_scores()
    here = scores[(scores.dataset == "forms") & (scores.monitor == "mean")]
    flagged = here.score > here.seed.map({0: 1.0, 1: 1.2})
    for metric, label in (("tpr_at_control", True), ("fpr_at_control", False)):
        row = the(rows, dataset="forms@test", monitor="mean", metric=metric)
        assert row["value"] == pytest.approx(flagged[here.label == label].mean())
    assert the(rows, dataset="forms@test", monitor="tfidf", metric="tpr_at_control")["value"] is not None
    row = the(rows, dataset="forms@test", monitor="length", metric="tpr_at_control")
    assert row["value"] is None and row["remark"] == "no threshold from the control set"


def test_few_negatives_are_remarked_on(rows):
    row = the(rows, dataset="pairs@test", monitor="mean", metric="tpr_at_fpr")
    assert row["remark"].startswith(
        "fewer than 300 negatives: resolution 0.033; the threshold lies above every negative"
    )
    assert the(rows, dataset="pairs@test", monitor="mean", metric="realised_fpr")["value"] == 0
    row = the(rows, dataset="pairs@test", monitor="mean", metric="tpr_at_5_fpr")
    assert row["remark"] == "fewer than 300 negatives: resolution 0.033"
    assert the(rows, dataset="pairs@test", monitor="mean", metric="auroc")["remark"] is None


def test_comparisons_are_with_the_first_baseline_and_of_the_headline_with_each(rows):
    for place in ("pairs@test", "mean"):
        pairs = {(r["monitor"], r["versus"]) for r in rows if r["dataset"] == place and r["versus"]}
        assert pairs == {("mean", "tfidf"), ("attention", "tfidf"), ("length", "tfidf"), ("mean", "length")}


@pytest.mark.parametrize("place", ["pairs@test", "mean"])
def test_a_difference_is_that_of_the_values_and_holm_never_lowers_p(rows, place):
    compared = [row for row in rows if row["dataset"] == place and row["versus"]]
    for row in compared:
        one, other = (the(rows, dataset=place, monitor=row[key], metric="auroc") for key in ("monitor", "versus"))
        assert row["value"] == pytest.approx(one["value"] - other["value"])
        assert row["low"] < row["value"] < row["high"]
        assert 0 < row["p_value"] <= row["p_holm"] <= 1
    smallest = min(compared, key=lambda row: row["p_value"])
    assert smallest["p_holm"] == pytest.approx(min(1, 4 * smallest["p_value"]))


def test_a_monitor_compared_on_shared_groups_gains_from_the_pairing(rows):
    row = the(rows, dataset="pairs@test", monitor="length", metric="auroc", versus="tfidf")
    parts = [the(rows, dataset="pairs@test", monitor=name, metric="auroc") for name in ("length", "tfidf")]
    assert row["high"] - row["low"] < np.hypot(*(part["high"] - part["low"] for part in parts))


def test_examples_without_score_or_label_are_skipped_and_counted():
    scores = some_scores(("pairs@test",))
    lost = (scores.monitor == "mean") & (scores.seed == 1) & (scores.example_id == "e4")
    scores.loc[lost, ["score", "probability", "status"]] = [np.nan, np.nan, "not_finite"]
    scores["label"] = scores["label"].astype(object)
    scores.loc[scores.example_id == "e7", "label"] = None
    scores.loc[scores.example_id == "e9", "status"] = "truncated"
    rows = rows_of(scores, a_task(evaluation=["pairs@test"]))
    row = the(rows, dataset="pairs@test", monitor="mean", metric="auroc")
    assert (row["n"], row["n_positive"], row["n_negative"]) == (58, 29, 29)
    assert (row["n_skipped"], row["n_truncated"]) == (2, 1)
    row = the(rows, dataset="pairs@test", monitor="attention", metric="auroc")
    assert (row["n"], row["n_skipped"]) == (59, 1)
    row = the(rows, dataset="pairs@test", monitor="mean", metric="auroc", versus="tfidf")
    assert row["n"] == 58
    kept = scores[~scores.example_id.isin(["e4", "e7"])]
    one, other = (kept[kept.monitor == name] for name in ("mean", "tfidf"))
    aurocs = [
        measuring.points.auroc(s.score.to_numpy(), s.label.to_numpy(dtype=bool))
        for s in (one[one.seed == 0], one[one.seed == 1], other)
    ]
    assert row["value"] == pytest.approx((aurocs[0] + aurocs[1]) / 2 - aurocs[2])


def test_a_set_of_one_class_has_no_auroc_and_the_mean_says_so():
    scores = some_scores()
    scores = scores[(scores.dataset != "forms") | ~scores.label]
    rows = rows_of(scores)
    for metric in ("auroc", "tpr_at_fpr", "tpr_at_control"):
        row = the(rows, dataset="forms@test", monitor="mean", metric=metric)
        assert row["value"] is None and row["remark"].startswith("one class only")
    assert the(rows, dataset="forms@test", monitor="mean", metric="fpr_at_control")["value"] is not None
    assert the(rows, dataset="forms@test", monitor="mean", metric="auroc", versus="tfidf")["p_holm"] is None
    row = the(rows, dataset="mean", monitor="mean", metric="auroc")
    assert row["value"] == the(rows, dataset="dialogues@test", monitor="mean", metric="auroc")["value"]
    assert row["remark"] == "without forms@test: one class only"


def test_perfect_separation_is_marked_and_has_a_lower_end():
    scores = some_scores(("pairs@test",))
    probe = scores.monitor == "mean"
    scores.loc[probe, "score"] = scores.loc[probe, "score"] + 100 * scores.loc[probe, "label"]
    rows = rows_of(scores, a_task(evaluation=["pairs@test"]))
    row = the(rows, dataset="pairs@test", monitor="mean", metric="auroc")
    assert (row["value"], row["high"], row["remark"]) == (1, 1, measuring.PERFECT)
    assert row["low"] ** 15 == pytest.approx(0.025)  # 30 pairs make 15 independent comparisons


def test_other_layers_tokens_and_folds_are_left_out():
    scores = some_scores(("pairs@test",))
    probe = scores[scores.monitor == "mean"]
    extra = [
        probe.assign(layer=9, score=0.0),
        probe.assign(token_index=1, score=0.0),
        probe.assign(fold=1, score=0.0),
    ]
    task = a_task(evaluation=["pairs@test"])
    assert rows_of(pd.concat([scores, *extra]), task) == rows_of(scores, task)


def test_the_same_scores_in_another_order_give_the_same_rows(rows):
    assert rows_of(some_scores().sample(frac=1, random_state=0)) == rows


def test_one_more_monitor_changes_no_others_rows(rows):
    task = a_task(probes=["mean"])
    fewer = [row for row in rows_of(some_scores(), task) if row["versus"] is None]
    assert fewer == [row for row in rows if row["versus"] is None and row["monitor"] != "attention"]


def test_three_classes_are_measured_one_versus_the_rest_with_their_mean():
    classes = ["normal", "aware", "deceptive"]
    scores = pd.concat(
        some_scores(("pairs@test",)).assign(
            **{"class": cls}, label=lambda f, k=k: f.example_id.str[1:].astype(int) % 3 == k
        )
        for k, cls in enumerate(classes)
    )
    rows = rows_of(scores, a_task(classes=classes, evaluation=["pairs@test"]))
    plain = [row for row in rows if row["versus"] is None and row["dataset"] == "pairs@test"]
    assert {row["class"] for row in plain} == {*classes, "macro"}
    assert not [row for row in plain if row["metric"].endswith("_control")]
    assert {row["metric"] for row in plain if row["class"] == "macro"} == {"auroc"}
    aurocs = [the(plain, monitor="mean", metric="auroc", **{"class": cls})["value"] for cls in classes]
    macro = the(rows, dataset="pairs@test", monitor="mean", metric="auroc", **{"class": "macro"})
    assert macro["value"] == pytest.approx(np.mean(aurocs))
    assert macro["low"] < macro["value"] < macro["high"]
    compared = the(rows, dataset="mean", monitor="mean", metric="auroc", versus="tfidf", **{"class": "macro"})
    other = the(rows, dataset="pairs@test", monitor="tfidf", metric="auroc", **{"class": "macro"})
    assert compared["value"] == pytest.approx(macro["value"] - other["value"])


def test_missing_scores_are_named():
    scores = some_scores()
    with pytest.raises(MeasuringError, match="forms@test: no scores of mean at layer 3"):
        rows_of(scores[(scores.dataset != "forms") | (scores.monitor != "mean")])
    with pytest.raises(MeasuringError, match=r"forms@test: mean has scores of the seeds \[0\], elsewhere of \[0, 1\]"):
        rows_of(scores[(scores.dataset != "forms") | (scores.monitor != "mean") | (scores.seed == 0)])


def test_contradicting_labels_are_named():
    scores = some_scores()
    scores.loc[(scores.monitor == "mean") & (scores.example_id == "e3"), "label"] = False
    with pytest.raises(MeasuringError, match=r"pairs@test: .* 'e3' two labels"):
        rows_of(scores)


def test_the_script_writes_the_same_bytes_twice(tmp_path):
    task = a_task(evaluation=["pairs@test"], bootstrap=50)
    scores = some_scores(("pairs@test",), n_groups=10)
    halves = [scores[scores.layer.notna()], scores[scores.layer.isna()]]
    paths = [tmp_path / "probes.parquet", tmp_path / "baselines.parquet"]
    for path, half in zip(paths, halves, strict=True):
        tables.write(path, pa.Table.from_pandas(half, preserve_index=False), SCORE, {})
    tables.write_json(tmp_path / "selection.json", SELECTION, {})
    command = [sys.executable, ROOT / "scripts" / "measure.py", "--scores", *paths, "--task", "stakes"]
    command += ["--selection", tmp_path / "selection.json", "--families", json.dumps(FAMILIES)]
    command += ["--spec", json.dumps({"tasks": task.model_dump(mode="json")})]
    written = []
    for name in ("first.parquet", "second.parquet"):
        subprocess.run([*command, "--output", tmp_path / name], check=True)
        written.append((tmp_path / name).read_bytes())
    assert written[0] == written[1]
    assert pq.read_table(tmp_path / "first.parquet").num_rows == 2 * (4 * len(measuring.METRICS) + 4)
