"""Point values of metrics: against scikit-learn, on ties, and where they are undefined."""

import numpy as np
import pytest
from sklearn import metrics as reference

from candor.metrics import points


def ranking(n: int, ties: bool, seed: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    label = np.arange(n) % 3 == 0
    score = rng.normal(size=n) + label
    return (np.round(score * 3) if ties else score), label


@pytest.mark.parametrize("ties", [False, True])
def test_auroc_is_scikit_learns_with_and_without_ties(ties):
    score, label = ranking(200, ties, seed=0)
    assert points.auroc(score, label) == pytest.approx(reference.roc_auc_score(label, score), abs=1e-12)


@pytest.mark.parametrize("ties", [False, True])
def test_weighted_auroc_is_that_of_examples_repeated(ties):
    score, label = ranking(60, ties, seed=1)
    weights = np.random.default_rng(2).integers(0, 4, size=(1000, 60))
    found = points.auroc_weighted(score, label, weights)
    for draw in (0, 1, 999):
        repeated = np.repeat(np.arange(60), weights[draw])
        assert found[draw] == pytest.approx(points.auroc(score[repeated], label[repeated]), abs=1e-12)
        assert found[draw] == pytest.approx(points.auroc(score, label, weights[draw]), abs=1e-12)


def test_a_constant_score_is_worth_one_half():
    assert points.auroc(np.zeros(10), np.arange(10) < 4) == 0.5


@pytest.mark.parametrize("label", [np.ones(5, dtype=bool), np.zeros(5, dtype=bool)])
def test_one_class_has_no_ranking(label):
    score = np.arange(5.0)
    assert np.isnan(points.auroc(score, label))
    assert np.isnan(points.tpr_at_fpr(score, label, 0.01))
    assert np.isnan(points.tpr_at_fpr(score, label, 0.01, rule="nearest"))


def test_at_most_never_exceeds_the_target_and_takes_the_highest_tpr():
    score = np.array([9.0, 8, 7, 6, 5, 4, 3, 2])
    label = np.array([1, 1, 0, 1, 0, 1, 0, 0], dtype=bool)
    assert points.tpr_at_fpr(score, label, 0.24) == 0.5
    assert points.tpr_at_fpr(score, label, 0.25) == 0.75
    assert points.tpr_at_fpr(score, label, 1.0) == 1


def test_at_most_takes_tied_scores_together():
    score = np.array([3.0, 2, 2, 1])
    label = np.array([1, 1, 0, 0], dtype=bool)
    assert points.tpr_at_fpr(score, label, 0.49) == 0.5


def test_a_target_that_is_a_whole_number_of_negatives_is_not_missed_by_rounding():
    score = -np.arange(200.0)
    label = np.arange(200) % 2 == 1
    assert 0.29 * 100 < 29  # in floating point
    assert points.tpr_at_fpr(score, label, 0.29) == 0.29


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("target", [0.01, 0.05, 0.3])
@pytest.mark.parametrize("seed", range(5))
def test_nearest_is_the_papers_point_of_the_curve(ties, target, seed):
    score, label = ranking(300, ties, seed)
    fpr, tpr, _ = reference.roc_curve(label, score)
    expected = tpr[np.argmin(np.abs(fpr - target))]
    assert points.tpr_at_fpr(score, label, target, rule="nearest") == pytest.approx(expected)


def test_nearest_can_exceed_the_target():
    label = np.array([True, True, True, False, True] + [False] * 65)  # 66 negatives: FPR moves by .015
    score = np.array([9.0, 8, 8, 8, 7] + [-i for i in range(65)])  # the first negative ties with two positives
    assert points.tpr_at_fpr(score, label, 0.01) == 0.25
    assert points.tpr_at_fpr(score, label, 0.01, "nearest") == 0.75


def test_nearest_is_the_start_of_the_curve_with_few_negatives():
    score, label = ranking(60, ties=False, seed=0)  # 40 negatives: FPR 0 is nearer to .01 than .025
    assert points.tpr_at_fpr(score, label, 0.01, "nearest") == 0
    assert points.tpr_at_fpr(score, label, 0.01) > 0


def test_all_rank_metrics_agree_with_the_single_functions():
    score, label = ranking(150, ties=True, seed=3)
    weights = np.vstack([np.ones(150), np.random.default_rng(4).integers(0, 3, size=(5, 150))])
    found = points.rank_metrics(score, label, weights, target=0.02)
    assert found.auroc == pytest.approx(points.auroc_weighted(score, label, weights))
    for draw, weight in enumerate(weights):
        assert found.tpr_at_fpr[draw] == points.tpr_at_fpr(score, label, 0.02, weight=weight)
        assert found.tpr_at_fpr_nearest[draw] == points.tpr_at_fpr(score, label, 0.02, "nearest", weight)
        assert found.tpr_at_5_fpr[draw] == points.tpr_at_fpr(score, label, 0.05, weight=weight)
    assert (found.realised_fpr <= 0.02 + 1e-9).all()


def test_roc_curve_runs_from_corner_to_corner_through_every_threshold():
    score, label = ranking(50, ties=True, seed=5)
    curve = points.roc_curve(score, label)
    fpr, tpr, threshold = reference.roc_curve(label, score, drop_intermediate=False)
    assert curve.fpr == pytest.approx(fpr)
    assert curve.tpr == pytest.approx(tpr)
    assert (curve.threshold == threshold).all()


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("target", [0.01, 0.05, 0.29])
def test_the_control_threshold_is_the_smallest_that_keeps_the_target(ties, target):
    control, _ = ranking(100, ties, seed=6)
    threshold = points.threshold_at_fpr(control, target)
    assert (control > threshold).mean() <= target + 1e-9
    assert (control > np.nextafter(threshold, -np.inf)).mean() > target


def test_few_control_examples_put_the_threshold_at_their_highest_score():
    assert points.threshold_at_fpr(np.array([0.3, 2.5, 1.0]), 0.01) == 2.5
    assert np.isnan(points.threshold_at_fpr(np.array([]), 0.01))


def test_accuracy_takes_a_probability_of_one_half_as_negative():
    assert points.accuracy(np.array([0.5, 0.6, 0.4]), np.array([False, True, True])) == pytest.approx(2 / 3)


def test_brier_is_the_mean_squared_distance():
    assert points.brier(np.array([1.0, 0.5]), np.array([True, False])) == 0.125


def test_ece_weighs_bins_by_their_examples():
    probability = np.array([0.95, 0.95, 0.95, 0.15])
    label = np.array([True, True, False, False])
    assert points.ece(probability, label) == pytest.approx(0.75 * (0.95 - 2 / 3) + 0.25 * 0.15)


def test_a_probability_of_one_falls_into_the_last_bin():
    assert points.ece(np.array([1.0, 0.0]), np.array([True, False])) == 0


def test_weighted_shares_are_nan_for_draws_without_examples():
    found = points.share_weighted(np.array([True, False]), np.array([[1, 1], [3, 1], [0, 0]]))
    assert found[:2].tolist() == [0.5, 0.75]
    assert np.isnan(found[2])
