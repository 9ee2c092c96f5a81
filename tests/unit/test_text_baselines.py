"""The text baselines beside TF-IDF: what each finds and does not find, their files, and their scripts."""

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score

from candor import provenance, tables
from candor.baselines.text import TextBaseline, TextError, TextModel, Trained, parse_options, score, train
from candor.schemas.dataset import DATASET
from candor.schemas.score import SCORE
from tests.unit.test_tfidf import CLASSES, SCRIPTS, WORDS, row, texts_of

BAG, LENGTH = ({"kind": kind} for kind in ("bag_of_words", "length"))
N = 120
CHANCE = 4 * ((N + 1) / (3 * N**2)) ** 0.5
"""Four standard errors of the AUROC of noise."""


def told_by(kind: str) -> TextBaseline:
    return parse_options({"kind": kind})


def words(count: int, rng: np.random.Generator) -> str:
    return " ".join(f"w{i}" for i in rng.integers(0, 40, count))


def texts_by(lengths: Sequence[int]) -> list[str]:
    """N texts of random words; of each class in turn, with as many words as it gets."""
    rng = np.random.default_rng(0)
    return [words(lengths[i % 2] + int(rng.integers(0, 8)), rng) for i in range(N)]


def fitted(kind: str, texts: Sequence[str]) -> Trained:
    return train(
        texts, [CLASSES[i % 2] for i in range(N)], [str(i // 2) for i in range(N)], CLASSES, told_by(kind), 5, seed=0
    )


def auroc(found: Trained) -> float:
    return float(roc_auc_score(np.arange(N) % 2, found.out_of_fold.margins[:, 0]))


@pytest.mark.parametrize("kind", ["length", "bag_of_words", "tfidf"])
def test_nothing_is_found_in_random_words_of_one_length(kind: str) -> None:
    assert auroc(fitted(kind, texts_by((20, 20)))) == pytest.approx(0.5, abs=CHANCE)


def test_length_is_found_where_it_is_the_signal() -> None:
    found = fitted("length", texts_by((20, 40)))
    assert auroc(found) > 0.95
    one, other = score(found.model, ["a b c", "a b c " * 20]).margins[:, 0]
    assert one < 0 < other


def test_length_hears_no_word() -> None:
    found = fitted("length", texts_by((20, 40)))
    assert score(found.model, ["one two three"]).margins == score(found.model, ["any other words"]).margins


def test_length_is_a_logistic_regression_on_the_logarithm_of_the_words() -> None:
    texts = texts_by((20, 30))
    x = np.log1p([[len(text.split())] for text in texts])
    model = LogisticRegression().fit(x, np.arange(N) % 2)
    found = score(fitted("length", texts).model, texts).margins[:, 0]
    np.testing.assert_allclose(found, model.decision_function(x), atol=1e-3)


def test_a_bag_of_words_counts_words_and_hears_no_order() -> None:
    texts, labels, groups = texts_of(CLASSES)
    found = train(texts, labels, groups, CLASSES, told_by("bag_of_words"), 5, seed=0)
    assert ((found.out_of_fold.margins[:, 0] > 0) == np.array([label == "high" for label in labels])).all()
    once, turned, twice = score(found.model, ["patient surgery", "surgery patient", "patient surgery surgery"]).margins
    assert once == turned < twice
    assert "patient" in found.model.header.vocabulary and not any(" " in w for w in found.model.header.vocabulary)


@pytest.mark.parametrize("kind", ["bag_of_words", "length"])
def test_three_classes_are_each_told_from_the_others(kind: str) -> None:
    classes = ["low", "high", "other"]
    texts, labels, groups = texts_of(classes, 45)
    texts = [f"{text}{' more' * 10 * classes.index(label)}" for text, label in zip(texts, labels, strict=True)]
    found = train(texts, labels, groups, classes, told_by(kind), 3, seed=0)
    assert found.out_of_fold.margins.shape == (45, 3)
    for k in (0, 2):
        positive = [label == classes[k] for label in labels]
        assert roc_auc_score(positive, found.out_of_fold.margins[:, k]) > 0.95


def test_a_bag_of_words_falls_back_to_min_df_1_and_length_has_nothing_to_fall_back_from() -> None:
    texts, labels = ["red car", "blue bus", "green van", "grey cab"], ["low", "high", "low", "high"]
    bag = train(texts, labels, list("abcd"), CLASSES, told_by("bag_of_words"), 2, seed=0)
    assert bag.model.header.min_df == 1 and bag.fallback_folds == [0, 1]
    length = train(texts, labels, list("abcd"), CLASSES, told_by("length"), 2, seed=0)
    assert length.model.header.min_df is None and length.fallback_folds == []
    with pytest.raises(TextError, match=r"leave no n-gram to learn from.*max_df"):
        train(["same"] * 4, labels, list("abcd"), CLASSES, told_by("bag_of_words"), 2, seed=0)


@pytest.mark.parametrize("kind", ["bag_of_words", "length", "tfidf"])
def test_a_model_of_three_classes_that_was_saved_scores_the_same(tmp_path: Path, kind: str) -> None:
    classes = [*CLASSES, "other"]
    texts, labels, groups = texts_of(classes)
    model = train(texts, labels, groups, classes, told_by(kind), 5, seed=0).model
    model.save(tmp_path / "m", {})
    assert (score(TextModel.load(tmp_path / "m"), texts).margins == score(model, texts).margins).all()


@pytest.mark.parametrize("kind", ["bag_of_words", "length", "tfidf"])
def test_a_model_that_was_saved_scores_the_same(tmp_path: Path, kind: str) -> None:
    model = fitted(kind, texts_by((20, 30))).model
    for name in ("a", "b"):
        model.save(tmp_path / name, {"script": "train_text.py"})
    texts = ["w1 w2 w3", "nothing known", ""]
    loaded = TextModel.load(tmp_path / "a")
    assert (score(loaded, texts).margins == score(model, texts).margins).all() and loaded.header == model.header
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    assert {array.dtype for array in loaded.arrays.values()} == {np.dtype(np.float64)}


@pytest.mark.parametrize("kind", ["bag_of_words", "length"])
def test_from_tables_to_score_tables(tmp_path: Path, kind: str) -> None:
    texts, labels, _ = texts_of(CLASSES)
    texts = [f"{text}{' more' * 10 * (label == 'high')}" for text, label in zip(texts, labels, strict=True)]
    rows = [row(f"t{i}", label, text) for i, (text, label) in enumerate(zip(texts, labels, strict=True))]
    rows.append(row("held", "high", f"{WORDS['high']} {'more ' * 20}", "test"))
    tables.write(tmp_path / "d.parquet", rows, DATASET, {})
    tables.write(tmp_path / "c.parquet", [row("c", "everyday", "the tea is cold", "test")], DATASET, {})
    (tmp_path / "selection.json").write_text("{}")
    task = {"classes": CLASSES, "train": "d@train", "control": "c@test", "folds": 3}
    spec = ["--spec", json.dumps({"tasks": task, "baselines": {"kind": kind}}), "--monitor", kind]
    model, own, scored = (str(tmp_path / name) for name in ("m.safetensors", "train.parquet", "test.parquet"))
    data = ["--data", str(tmp_path / "d.parquet")]
    for script, arguments in {
        "train_text.py": [*data, "--control", str(tmp_path / "c.parquet"), "--model", model, "--scores", own],
        "score_text.py": [
            *[*data, "--part", "d@test", "--model", model],
            *["--selection", str(tmp_path / "selection.json"), "--output", scored],
        ],
    }.items():
        command = [sys.executable, str(SCRIPTS / script), *spec, *arguments]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
    found = tables.read(Path(own), SCORE).to_pandas()
    assert {name: len(part) for name, part in found.groupby("dataset")} == {"c": 1, "d": 30}
    assert found["probability"].notna().all() and provenance.read(Path(own))["folds_at_min_df_1"] == []
    [held] = tables.read(Path(scored), SCORE).to_pylist()
    assert held["score"] > 0 and held["probability"] == pytest.approx(1 / (1 + np.exp(-held["score"])))
    assert held["flops_monitor"] == held["flops_total"] > 0
