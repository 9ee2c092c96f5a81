"""AUROC by length on small score tables whose answers are known."""

from typing import Any

import numpy as np
import pytest

from candor import tables
from candor.experiments import length_bins
from candor.metrics.points import auroc
from candor.schemas.curve import CURVE
from tests.score_tables import PARTS, context_of, examples, positives, table, the

EXPERIMENT: dict[str, Any] = {"kind": "length_bins", "monitors": ["selected", "tfidf"], "edges": [10, 20, 40, 90]}
TOKENS = [*[5] * 4, *[10] * 16, *[25] * 18, 40, 42]
"""Two pairs shorter than the first bin, eight and nine pairs in the next two, and one pair in the third."""


def planted() -> tuple[list[Any], dict[str, Any]]:
    """A probe that is right on short texts and wrong on longer ones, and a baseline that is always right."""
    rows = {part: examples(part) for part in PARTS}
    scores = []
    for number, (part, of_part) in enumerate(rows.items()):
        high, short = positives(of_part), np.array(TOKENS) < 20
        rng = np.random.default_rng(number)
        for seed in (0, 1):
            score = np.where(short, 1, -1) * high + 0.6 * rng.normal(size=40)
            scores.append(table(of_part, part, "mean", score, layer=3, seed=seed, n_tokens=TOKENS))
        scores.append(table(of_part, part, "tfidf", 1.0 * high, margins=True))
    return scores, rows


@pytest.fixture(scope="module")
def rows() -> list[dict[str, Any]]:
    return length_bins.run(context_of(EXPERIMENT, *planted()))


def test_every_bin_has_a_row_of_every_set_and_of_the_pooled_ones(rows, tmp_path):
    tables.write(tmp_path / "c.parquet", rows, CURVE, {})
    assert len(rows) == 2 * 4 * 4
    assert {row["x"] for row in rows} == {10, 20, 40, 90}


def test_a_bin_is_measured_on_its_texts(rows):
    scores, parts = planted()
    inside = (np.array(TOKENS) >= 10) & (np.array(TOKENS) < 20)
    by_seed = [auroc(each["score"].to_numpy()[inside], positives(parts[PARTS[0]])[inside]) for each in scores[:2]]
    row = the(rows, curve="mean", dataset=PARTS[0], x=10.0)
    assert row["value"] == pytest.approx(np.mean(by_seed)) and row["low"] < row["value"] < row["high"]
    assert (row["n"], row["n_positive"], row["n_groups"], row["n_skipped"], row["n_runs"]) == (16, 8, 8, 4, 2)
    assert the(rows, curve="mean", dataset=PARTS[0], x=20.0)["value"] < 0.3


def test_bins_hold_the_same_texts_for_a_monitor_that_counts_no_tokens(rows):
    for place in (*PARTS, "mean"):
        for x in (10.0, 20.0, 40.0, 90.0):
            one, other = (the(rows, curve=curve, dataset=place, x=x) for curve in ("mean", "tfidf"))
            assert one["n"] == other["n"]
    assert the(rows, curve="tfidf", dataset=PARTS[0], x=20.0)["value"] == 1


def test_what_is_undefined_says_so(rows):
    empty = the(rows, curve="mean", dataset=PARTS[0], x=90.0)
    assert (empty["value"], empty["n"], empty["remark"]) == (None, 0, "no text of this length")
    alone = the(rows, curve="mean", dataset=PARTS[0], x=40.0)
    assert alone["n"] == 2 and alone["low"] is None and "one group only" in alone["remark"]


def test_the_pooled_sets_are_those_out_of_distribution_in_one_ranking(rows):
    scores, parts = planted()
    inside = (np.array(TOKENS) >= 10) & (np.array(TOKENS) < 20)
    outside = [
        np.concatenate([scores[3 + s]["score"].to_numpy()[inside], scores[6 + s]["score"].to_numpy()[inside]])
        for s in (0, 1)
    ]
    label = np.concatenate([positives(parts[part])[inside] for part in PARTS[1:]])
    row = the(rows, curve="mean", dataset="mean", x=10.0)
    assert row["value"] == pytest.approx(np.mean([auroc(score, label) for score in outside]))
    assert (row["n"], row["n_groups"], row["n_skipped"]) == (32, 16, 8)
    assert "pooled" in row["remark"]


def test_without_the_selected_probe_the_monitors_own_tokens_count():
    scores, parts = planted()
    counted = [table(parts[part], part, "prompted", np.arange(40.0), n_tokens=[15] * 40) for part in PARTS]
    rows = length_bins.run(context_of({**EXPERIMENT, "monitors": ["prompted"]}, counted, parts))
    assert the(rows, dataset=PARTS[0], x=10.0)["n"] == 40
    unknown = [each for each in scores if each["monitor"][0].as_py() == "tfidf"]
    rows = length_bins.run(context_of({**EXPERIMENT, "monitors": ["tfidf"]}, unknown, parts))
    assert {(row["n"], row["n_skipped"]) for row in rows if row["dataset"] == PARTS[0]} == {(0, 40)}
