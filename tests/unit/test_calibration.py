"""Calibration: curves through scores, errors of probabilities, and the experiment on small score tables."""

from typing import Any

import numpy as np
import pytest

from candor import tables
from candor.experiments import calibration
from candor.metrics import points
from candor.metrics.calibration import (
    bins_of,
    brier_weighted,
    ece_weighted,
    filled_bins,
    isotonic,
    mean_in_bin,
    platt,
)
from candor.metrics.intervals import estimate, share_interval
from candor.schemas.curve import CURVE
from tests.score_tables import PARTS, by, context_of, examples, positives, table, the

PART = PARTS[1]


def logistic(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


def calibrated(n: int = 4000) -> tuple[np.ndarray, np.ndarray]:
    """Log-odds, and labels that are positive as often as they say."""
    rng = np.random.default_rng(0)
    scores = 2 * rng.normal(size=n)
    return scores, rng.random(n) < logistic(scores)


def test_platt_finds_the_scale_that_scores_were_given():
    log_odds, label = calibrated()
    curve = platt(20 * log_odds + 300, label)
    assert curve(20 * np.array([-2.0, 0.0, 2.0]) + 300) == pytest.approx(logistic(np.array([-2.0, 0.0, 2.0])), abs=0.03)


def test_platt_is_no_step_where_scores_separate_the_classes():
    score, label = np.arange(10.0), np.arange(10) >= 5
    found = platt(score, label)(score)
    assert (np.diff(found) > 0).all()
    # the targets' means are kept: 6/7 for five positives and 1/7 for five negatives
    assert found.mean() == pytest.approx(0.5) and 0.5 < found[-1] < 1
    assert platt(np.zeros(4), np.arange(4) < 1)(np.zeros(1)) == pytest.approx((2 / 3 + 3 / 5) / 4)


def test_isotonic_rises_and_is_flat_beyond_what_it_has_seen():
    log_odds, label = calibrated(300)
    curve = isotonic(log_odds, label)
    found = curve(np.linspace(-20, 20, 200))
    assert (np.diff(found) >= 0).all() and found.min() >= 0 and found.max() <= 1
    assert found[0] == curve(np.array([log_odds.min()]))[0]
    assert np.isnan(curve(np.array([np.nan, 0.0]))).tolist() == [True, False]


def test_errors_of_a_draw_are_those_of_the_examples_that_it_takes():
    rng = np.random.default_rng(1)
    probability, label = rng.random(50), rng.random(50) < 0.5
    weights = rng.integers(0, 3, size=(4, 50)).astype(float)
    for row, ece, brier in zip(
        weights, ece_weighted(probability, label, weights, 7), brier_weighted(probability, label, weights), strict=True
    ):
        taken = np.repeat(np.arange(50), row.astype(int))
        assert ece == pytest.approx(points.ece(probability[taken], label[taken], 7))
        assert brier == pytest.approx(points.brier(probability[taken], label[taken]))


def test_a_border_belongs_to_the_bin_above_and_1_to_the_last():
    assert bins_of(np.array([0.0, 0.09, 0.1, 0.99, 1.0]), 10).tolist() == [0, 0, 1, 9, 9]


def test_a_bin_counts_an_example_as_often_as_seeds_put_it_there():
    probability = np.array([[0.1, 0.2, 0.9], [0.3, 0.8, 0.9]])
    low, high = filled_bins(probability, 2)
    assert low.predicted == pytest.approx(0.2) and high.predicted == pytest.approx(2.6 / 3)
    weights = np.array([[1.0, 1, 1], [2, 0, 1], [0, 0, 3]])
    sample = mean_in_bin(low, np.array([1.0, 0.0, 0.0]), np.arange(3), weights)
    assert sample is not None
    assert sample.values.mean() == pytest.approx(2 / 3)  # the first example twice, the second once
    assert sample.draws[0, 0] == 1 and np.isnan(sample.draws[1, 0])
    assert (sample.n_groups, sample.trials) == (2, 2)
    assert mean_in_bin(low, np.full(3, np.nan), np.arange(3), weights) is None


def test_a_bin_of_one_outcome_has_an_interval():
    sample = mean_in_bin(filled_bins(np.full((2, 20), 0.95), 10)[0], np.ones(20), np.arange(20), np.ones((5, 20)))
    assert sample is not None
    low, high = share_interval(estimate(*sample, np.random.default_rng(0)))
    assert high == 1 and low == pytest.approx(0.025 ** (1 / 20))


EXPERIMENT: dict[str, Any] = {"kind": "calibration", "monitors": ["selected", "tfidf", "prompted"]}


def sure(rows: list[dict[str, Any]], factor: float, seed: int) -> np.ndarray:
    """Log-odds that are right but for their size, `factor` times what it should be."""
    high = positives(rows)
    return factor * (2 * high - 1 + np.random.default_rng(seed).normal(size=len(high)) * 2**0.5)


def planted(n: int = 400) -> tuple[list[Any], list[Any], dict[str, Any]]:
    """Evaluation and training scores: a probe of two seeds that is too sure, and a baseline of margins."""
    rows = {part: examples(part, n) for part in PARTS[:2]}
    train = examples("pairs@train", n)
    control = [{**row, "label": None} for row in examples("benign@test", 10)]
    scores = []
    for number, (part, of_part) in enumerate(rows.items()):
        scores += [table(of_part, part, "mean", sure(of_part, 5, 10 * number + s), layer=3, seed=s) for s in (0, 1)]
        scores.append(table(of_part, part, "tfidf", sure(of_part, 0.1, 10 * number + 5), margins=True))
        scores.append(table(of_part, part, "prompted", sure(of_part, 1, 10 * number + 6)))
    folds = [i % 5 for i in range(n)]
    training = [
        table(train, "pairs@train", "mean", sure(train, 5, 100), layer=3, seed=0, folds=folds),
        table(train, "pairs@train", "mean", sure(train, -5, 101), layer=2, seed=0, folds=folds),
        table(control, "benign@test", "mean", np.full(10, 99.0), layer=3, seed=0),
        table(train, "pairs@train", "tfidf", sure(train, 0.1, 102), margins=True, folds=folds),
        table(train, "pairs@train", "prompted", sure(train, -1, 103)),
    ]
    return scores, training, rows


def run(scores: list[Any], training: list[Any], rows: dict[str, Any], **changes: Any) -> list[dict[str, Any]]:
    return calibration.run(context_of({**EXPERIMENT, **changes}, scores, rows, training))


@pytest.fixture(scope="module")
def rows() -> list[dict[str, Any]]:
    return run(*planted())


def test_rows_fit_the_curve_table(rows, tmp_path):
    tables.write(tmp_path / "c.parquet", rows, CURVE, {})
    assert {row["curve"] for row in rows} == {
        f"{monitor}/{method}" for monitor in ("mean", "tfidf", "prompted") for method in ("raw", "platt", "isotonic")
    }


@pytest.mark.parametrize("place", [*PARTS[:2], "mean"])
def test_recalibration_mends_probabilities_that_are_too_sure(rows, place):
    raw, *mended = (
        {
            metric: the(rows, curve=f"mean/{method}", dataset=place, metric=metric)["value"]
            for metric in ("ece", "brier")
        }
        for method in ("raw", "platt", "isotonic")
    )
    assert raw["ece"] > 0.12
    for one in mended:
        assert one["ece"] < 0.07 and one["brier"] < raw["brier"] - 0.02


def test_intervals_hold_the_value(rows):
    for row in rows:
        if row["low"] is not None:
            assert row["low"] <= row["value"] <= row["high"]
        else:
            assert row["remark"]


def test_a_monitor_of_margins_has_no_raw_probability_but_can_be_given_one(rows):
    for metric in ("ece", "brier"):
        row = the(rows, curve="tfidf/raw", dataset=PART, metric=metric)
        assert (row["value"], row["remark"]) == (None, "the monitor gives no probability")
        assert (
            "the monitor gives no probability" in the(rows, curve="tfidf/raw", dataset="mean", metric=metric)["remark"]
        )
    assert not by(rows, curve="tfidf/raw", metric="observed")
    assert the(rows, curve="tfidf/platt", dataset=PART, metric="ece")["value"] < 0.1


def test_training_scores_that_are_not_out_of_fold_are_never_fitted_to(rows):
    row = the(rows, curve="prompted/platt", dataset=PART, metric="ece")
    assert (row["value"], row["remark"]) == (None, "no out-of-fold training scores to fit to")
    assert the(rows, curve="prompted/raw", dataset=PART, metric="ece")["value"] < 0.1


def test_curves_are_fitted_to_training_scores_alone():
    """Other labels of the evaluation sets change what is observed, and no probability."""
    scores, training, parts = planted()
    turned = {
        part: [{**row, "label": "low" if row["label"] == "high" else "high"} for row in of_part]
        for part, of_part in parts.items()
    }
    relabelled = [
        each.set_column(each.schema.names.index("label"), "label", [[not label for label in each["label"].to_pylist()]])
        for each in scores
    ]
    before, after = run(scores, training, parts), run(relabelled, training, turned)
    for curve in ("mean/platt", "mean/isotonic", "tfidf/platt"):
        one, other = ([row["x"] for row in by(rows, curve=curve, metric="observed")] for rows in (before, after))
        assert one and one == other
    assert the(after, curve="mean/platt", dataset=PART, metric="ece")["value"] > 0.3


def test_bins_add_up_and_follow_the_diagonal_where_probabilities_are_calibrated(rows):
    bins = by(rows, curve="prompted/raw", dataset=PART, metric="observed")
    assert sum(row["n"] for row in bins) == 400 and [row["x"] for row in bins] == sorted(row["x"] for row in bins)
    assert sum(row["low"] <= row["x"] <= row["high"] for row in bins) >= len(bins) - 2
    assert not by(rows, dataset="mean", metric="observed")


def test_ratings_are_averaged_by_bin_with_intervals_on_their_scale(rows):
    for row in by(rows, curve="prompted/raw", dataset=PART, metric="rating"):
        observed = the(rows, curve="prompted/raw", dataset=PART, metric="observed", x=row["x"])
        assert row["value"] == pytest.approx(2 + 7 * observed["value"])
        if 0 < observed["value"] < 1:
            assert 1 <= row["low"] <= row["value"] <= row["high"] <= 10
        else:
            assert (row["low"], row["remark"]) == (None, "all ratings are equal: no interval")


def test_a_set_without_ratings_has_no_rating():
    scores, training, parts = planted(40)
    bare = {part: [{**row, "rating": None} for row in of_part] for part, of_part in parts.items()}
    assert not by(run(scores, training, bare), metric="rating")
    some = {part: [{**row, "rating": 12.0 if i else None} for i, row in enumerate(of)] for part, of in parts.items()}
    found = by(run(scores, training, some), metric="rating")
    assert found and {row["value"] for row in found} == {12}  # beyond the scale, and kept as it is
    whole = by(found, curve="prompted/raw", dataset=PART)
    assert sum(row["n"] for row in whole) == 39


def test_methods_and_bins_are_those_asked_for():
    rows = run(*planted(40), methods=["platt"], bins=1, monitors=["mean"])
    assert {row["curve"] for row in rows} == {"mean/platt"}
    assert the(rows, dataset=PART, metric="observed")["value"] == 0.5
