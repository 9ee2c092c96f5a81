"""Cascades on small score tables whose answers are known."""

from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from candor import tables
from candor.experiments import cascade
from candor.experiments.cascade import routed
from candor.metrics.measuring import measure
from candor.metrics.points import auroc
from candor.schemas.curve import CURVE
from tests.score_tables import PARTS, SELECTION, by, context_of, examples, positives, table, the

PROBE = {"layer": 3, "flops_monitor": 10.0, "flops_total": 1000.0}
COST = {PARTS[0]: 500.0, PARTS[1]: 700.0, PARTS[2]: 900.0}
CASCADE: dict[str, Any] = {"kind": "cascade", "cascades": {"main": {"expensive": "prompted"}}}
EVERY = {"selections": ["median", "top", "bottom"], "merges": ["mean", "max", "replace"]}


def planted(perfect: bool = False, margins: bool = False) -> tuple[list[Any], dict[str, Any]]:
    """A probe of two seeds and a prompted baseline that is better, or perfect, on three sets of other costs."""
    rng = np.random.default_rng(0)
    rows = {part: examples(part) for part in PARTS}
    scores = []
    for part, of_part in rows.items():
        high = positives(of_part)
        for seed in (0, 1):
            cheap = rng.normal(size=len(high)) + high
            scores.append(table(of_part, part, "mean", cheap, margins, seed=seed, n_tokens=[7] * len(high), **PROBE))
        better = rng.normal(size=len(high)) * (0.1 if perfect else 1) + 2.5 * high
        scores.append(table(of_part, part, "prompted", better, flops_monitor=1.0, flops_total=COST[part]))
    return scores, rows


def of(scores: list[Any], monitor: str, part: str = "") -> list[Any]:
    """The tables of a monitor, on all sets or on one."""
    return [
        each
        for each in scores
        if each["monitor"][0].as_py() == monitor and each["example_id"][0].as_py().startswith(part)
    ]


@pytest.fixture(scope="module")
def rows() -> list[dict[str, Any]]:
    return cascade.run(context_of({**CASCADE, **EVERY}, *planted()))


def test_rows_fit_the_curve_table(rows, tmp_path):
    tables.write(tmp_path / "c.parquet", rows, CURVE, {})
    assert tables.read(tmp_path / "c.parquet", CURVE).num_rows == len(rows)


def test_a_monitor_alone_has_the_values_and_intervals_of_the_metric_table(rows):
    scores, parts = planted()
    context = context_of(CASCADE, scores, parts, probes=["mean"], controls=[], baselines=["prompted"])
    metrics = measure(pa.concat_tables(scores), context.task, "stakes", SELECTION, {"mean": "mean", "prompted": "p"})
    for monitor in ("mean", "prompted"):
        for place in (*PARTS, "mean"):
            ours = the(rows, curve=monitor, dataset=place)
            theirs = the(metrics, monitor=monitor, dataset=place, metric="auroc", versus=None)
            for key in ("value", "low", "high", "n", "n_positive", "n_groups", "n_skipped"):
                assert ours[key] == pytest.approx(theirs[key]), (monitor, place, key)
            assert ours["x"] is None and ours["n_runs"] == theirs["n_seeds"]


@pytest.mark.parametrize("selection", EVERY["selections"])
@pytest.mark.parametrize("place", [*PARTS, "mean"])
def test_share_0_is_the_cheap_monitor_and_share_1_with_replace_the_expensive_one(rows, place, selection):
    for share, merge, monitor in ((0.0, "mean", "mean"), (0.0, "max", "mean"), (1.0, "replace", "prompted")):
        row = the(rows, curve=f"main/{selection}/{merge}", dataset=place, x=share, metric="auroc")
        alone = the(rows, curve=monitor, dataset=place)
        assert row["value"] == alone["value"]
        if share == 0:
            assert (row["low"], row["high"]) == pytest.approx((alone["low"], alone["high"]))
    gap = the(rows, curve=f"main/{selection}/replace", dataset=place, x=1.0, metric="auroc_difference")
    assert (gap["value"], gap["low"], gap["high"]) == (0, 0, 0)


def test_a_difference_is_that_of_the_values(rows):
    for row in by(rows, metric="auroc_difference"):
        value = the(rows, curve=row["curve"], dataset=row["dataset"], x=row["x"], metric="auroc")["value"]
        alone = the(rows, curve="prompted", dataset=row["dataset"])["value"]
        assert row["value"] == pytest.approx(value - alone)
        assert row["low"] <= row["value"] <= row["high"]


def test_a_perfect_expensive_monitor_helps_more_the_more_is_routed():
    rows = cascade.run(context_of({**CASCADE, "merges": ["replace"]}, *planted(perfect=True)))
    values = [
        the(rows, curve="main/median/replace", dataset="mean", x=x / 10, metric="auroc")["value"] for x in range(11)
    ]
    assert values[0] < 0.85 and values[-1] == 1
    assert values[5] > values[0] + 0.05


def test_every_set_is_routed_and_merged_on_its_own(rows):
    """The original read the scores of the last dataset for every one of them."""
    scores, parts = planted()
    for part in PARTS:
        expensive, values = of(scores, "prompted", part)[0]["probability"].to_numpy(), []
        for cheap in of(scores, "mean", part):
            p = cheap["probability"].to_numpy()
            near = np.abs(np.argsort(np.argsort(p)) - 19.5) < 4
            assert near.sum() == 8  # a share of .2 of 40
            values.append(auroc(np.where(near, (p + expensive) / 2, p), positives(parts[part])))
        row = the(rows, curve="main/median/mean", dataset=part, x=0.2, metric="auroc")
        assert row["value"] == pytest.approx(np.mean(values))


def test_cost_is_what_is_spent_on_each_set_and_the_mean_is_that_of_the_sets(rows):
    for share in (0.0, 0.2, 1.0):
        at = {"curve": "main/median/mean", "x": share, "metric": "auroc"}
        for part, cost in COST.items():
            assert the(rows, dataset=part, **at)["flops"] == pytest.approx(10 + share * cost)
        assert the(rows, dataset="mean", **at)["flops"] == pytest.approx(10 + share * (700 + 900) / 2)
    assert the(rows, curve="prompted", dataset=PARTS[0])["flops"] == 500  # both of its passes, as the table has them
    assert the(rows, curve="mean", dataset=PARTS[0])["flops"] == 10


def test_the_papers_rule_halves_a_probe_and_nothing_else():
    rows = cascade.run(context_of({**CASCADE, "flops_rule": "paper", "shares": [0.5]}, *planted()))
    assert the(rows, curve="mean", dataset=PARTS[0])["flops"] == 5
    assert the(rows, curve="prompted", dataset=PARTS[0])["flops"] == 500
    assert the(rows, curve="main/median/mean", dataset=PARTS[0], metric="auroc")["flops"] == 5 + 250


def test_an_unknown_cost_is_null_only_where_it_is_spent():
    scores, parts = planted()
    free = [table(parts[part], part, "prompted", np.zeros(40)) for part in PARTS]
    rows = cascade.run(context_of({**CASCADE, "shares": [0.0, 0.5]}, of(scores, "mean") + free, parts))
    at = {"curve": "main/median/mean", "dataset": PARTS[1], "metric": "auroc"}
    assert the(rows, x=0.0, **at)["flops"] == 10
    assert the(rows, x=0.5, **at)["flops"] is None


def test_a_missing_expensive_score_keeps_the_cheap_one_and_is_counted():
    scores, parts = planted()
    part, failed = PARTS[1], np.isin(np.arange(40), (4, 5))
    (whole,) = of(scores, "prompted", part)
    statuses = np.where(failed, "error", "ok").tolist()
    broken = table(parts[part], part, "prompted", whole["score"].to_numpy(), statuses=statuses, flops_total=COST[part])
    scores = [broken if each is whole else each for each in scores]
    rows = cascade.run(context_of({**CASCADE, "merges": ["replace"], "shares": [0.0, 1.0]}, scores, parts))

    at = {"curve": "main/median/replace", "dataset": part, "metric": "auroc"}
    routed, none = the(rows, x=1.0, **at), the(rows, x=0.0, **at)
    assert (routed["n"], routed["n_skipped"], none["n_skipped"]) == (40, 2, 0)
    assert routed["remark"] == "2 routed without an expensive score"
    cheap = [each["probability"].to_numpy() for each in of(scores, "mean", part)]
    merged = [np.where(failed, one, whole["probability"].to_numpy()) for one in cheap]
    assert routed["value"] == pytest.approx(np.mean([auroc(one, positives(parts[part])) for one in merged]))
    gap = the(rows, curve="main/median/replace", dataset=part, x=1.0, metric="auroc_difference")
    assert (gap["n"], gap["n_skipped"], gap["value"]) == (38, 2, pytest.approx(0))


def test_margins_are_merged_by_a_curve_through_training_scores_or_by_rank():
    scores, parts = planted(margins=True)
    train = examples("pairs@train", 80)
    rng = np.random.default_rng(1)
    margins = 5 * (rng.normal(size=80) + positives(train))  # ranks as before, on a scale of its own
    trained = table(train, "pairs@train", "mean", margins, margins=True, layer=3, seed=0, folds=[0] * 80)
    experiment = {**CASCADE, "shares": [0.0, 0.5]}
    curved = cascade.run(context_of(experiment, scores, parts, [trained]))
    ranked = cascade.run(context_of(experiment, scores, parts))
    at = {"curve": "main/median/mean", "dataset": PARTS[1], "x": 0.5, "metric": "auroc"}
    assert "a Platt curve through its out-of-fold training scores" in the(curved, **at)["remark"]
    assert "the rank within the set" in the(ranked, **at)["remark"]
    assert the(curved, **at)["value"] != the(ranked, **at)["value"]
    nothing = at | {"x": 0.0}
    assert (
        the(curved, **nothing)["value"]
        == the(ranked, **nothing)["value"]
        == the(ranked, curve="mean", dataset=PARTS[1])["value"]
    )


def test_an_expensive_monitor_of_several_seeds_adds_its_own_spread():
    scores, parts = planted()
    rng = np.random.default_rng(2)
    seeded = [
        table(parts[part], part, "prompted", 2 * positives(parts[part]) + rng.normal(size=40), seed=seed)
        for part in PARTS
        for seed in range(3)
    ]
    rows = cascade.run(
        context_of({**CASCADE, "shares": [1.0], "merges": ["replace"]}, of(scores, "mean") + seeded, parts)
    )
    row, alone = the(rows, x=1.0, dataset="mean", metric="auroc"), the(rows, curve="prompted", dataset="mean")
    assert row["n_runs"] == 3
    for key in ("value", "low", "high"):
        assert row[key] == pytest.approx(alone[key])


def test_a_set_of_one_class_is_named_and_left_out_of_the_mean():
    scores, parts = planted()
    kept = [each for part in PARTS[:2] for monitor in ("mean", "prompted") for each in of(scores, monitor, part)]
    low = [{**row, "label": "low"} for row in parts[PARTS[2]]]
    flat = [table(low, PARTS[2], "mean", np.zeros(40), seed=seed, **PROBE) for seed in (0, 1)]
    flat += [table(low, PARTS[2], "prompted", np.zeros(40))]
    rows = cascade.run(context_of({**CASCADE, "shares": [0.5]}, kept + flat, {**parts, PARTS[2]: low}))
    for metric in ("auroc", "auroc_difference"):
        at = {"curve": "main/median/mean", "metric": metric}
        undefined, mean = the(rows, dataset=PARTS[2], **at), the(rows, dataset="mean", **at)
        assert (undefined["value"], undefined["remark"]) == (None, "one class only")
        assert mean["value"] == the(rows, dataset=PARTS[1], **at)["value"]
        assert mean["remark"] == f"without {PARTS[2]}: one class only"


@pytest.mark.parametrize(
    ("selection", "share", "expected"),
    [
        ("median", 0.4, [2, 3]),
        ("median", 0.2, [2]),
        ("top", 0.4, [3, 4]),
        ("bottom", 0.4, [0, 1]),
        ("median", 0.0, []),
        ("bottom", 1.0, [0, 1, 2, 3, 4]),
    ],
)
def test_the_share_is_routed_by_rank(selection, share, expected):
    ranks = np.array([[3, 1, 2, 0, 4]])
    if selection == "median" and share == 0.4:
        expected = [1, 2]  # 1 and 3 are as near to the middle; the lower one is routed
    assert sorted(ranks[routed(ranks, selection, share)].tolist()) == expected


def test_equal_scores_are_ranked_by_chance_and_not_by_label():
    rows = {PARTS[1]: examples(PARTS[1], 200)}
    flat = [table(rows[PARTS[1]], PARTS[1], "mean", np.zeros(200), seed=0, **PROBE)]
    perfect = table(
        rows[PARTS[1]], PARTS[1], "prompted", np.where(positives(rows[PARTS[1]]), 3.0, -3.0), flops_total=1.0
    )
    experiment = {**CASCADE, "selections": ["top"], "merges": ["replace"], "shares": [0.5]}
    found = cascade.run(context_of(experiment, [*flat, perfect], rows))
    # half of the pairs are told apart by their positive and a quarter by their negative; the others are ties
    assert the(found, x=0.5, dataset=PARTS[1], metric="auroc")["value"] == pytest.approx(0.875, abs=0.02)
