"""Text baselines: what all share, and TF-IDF with a linear classifier."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from candor import provenance, tables
from candor.baselines.text import TextError, TextModel, conversations, score, train
from candor.config.baselines import Tfidf
from candor.schemas.dataset import DATASET
from candor.schemas.score import SCORE

SCRIPTS = Path(__file__).parents[2] / "scripts"
CLASSES = ["low", "high"]
WORDS = {"low": "the garden needs water", "high": "the patient needs surgery", "other": "the train needs coal"}
DEFAULT = Tfidf(kind="tfidf")


def texts_of(classes: list[str], n: int = 30) -> tuple[list[str], list[str], list[str]]:
    """Texts, labels and groups: words that give the class away among random ones."""
    rng = np.random.default_rng(0)
    labels = [classes[i % len(classes)] for i in range(n)]
    texts = [f"{WORDS[label]} {' '.join(map(str, rng.integers(100, 140, 6)))}" for label in labels]
    return texts, labels, [f"g{i // len(classes)}" for i in range(n)]


def row(id: str, label: str | None, text: str, split: str = "train") -> dict[str, Any]:
    return {
        "example_id": id,
        "group_id": id,
        "split": split,
        "messages": [{"role": "user", "content": text}],
        "label": label,
        "rating": None,
        "attributes": "{}",
        "truncated": False,
    }


class TestConversations:
    TALK = ({"messages": [{"role": "user", "content": "one two"}, {"role": "assistant", "content": "three four"}]},)

    def test_turns_with_their_roles_one_below_the_other(self) -> None:
        read = conversations(self.TALK, None, "left")
        assert read.texts == ["user: one two\nassistant: three four"] and read.statuses == ["ok"]

    def test_a_cap_keeps_the_end_or_the_start_and_is_told(self) -> None:
        assert conversations(self.TALK, 2, "left") == (["three four"], ["truncated"])
        assert conversations(self.TALK, 2, "right") == (["user: one"], ["truncated"])
        assert conversations(self.TALK, 6, "left").statuses == ["ok"]

    def test_a_conversation_without_words_is_empty(self) -> None:
        assert conversations([{"messages": [{"role": "user", "content": " "}]}], None, "left").statuses == ["empty"]


class TestTraining:
    def test_learns_a_word_that_gives_the_class_away(self) -> None:
        texts, labels, groups = texts_of(CLASSES)
        trained = train(texts, labels, groups, CLASSES, DEFAULT, 5, seed=0)
        positive = np.array([label == "high" for label in labels])
        assert ((trained.out_of_fold.margins[:, 0] > 0) == positive).all()
        margins = score(trained.model, ["surgery for the patient", "water for the garden"]).margins
        assert margins.shape == (2, 1) and margins[0, 0] > 0 > margins[1, 0]

    def test_each_margin_comes_from_a_model_that_did_not_see_the_example_s_group(self) -> None:
        texts, labels, groups = texts_of(CLASSES)
        trained = train(texts, labels, groups, CLASSES, DEFAULT, 5, seed=0)
        own = trained.folds == trained.folds[0]
        marked = [f"{text} mark {label}" if i else text for text, label, i in zip(texts, labels, own, strict=True)]
        again = train(marked, labels, groups, CLASSES, DEFAULT, 5, seed=0)
        assert (again.out_of_fold.margins[own] == trained.out_of_fold.margins[own]).all()
        assert (again.out_of_fold.margins[~own] != trained.out_of_fold.margins[~own]).any()

    def test_three_classes_have_a_margin_each(self) -> None:
        classes = ["low", "high", "other"]
        texts, labels, groups = texts_of(classes, 45)
        trained = train(texts, labels, groups, classes, DEFAULT, 3, seed=0)
        assert [classes[k] for k in trained.out_of_fold.margins.argmax(1)] == labels

    def test_the_same_twice(self) -> None:
        texts, labels, groups = texts_of(CLASSES)
        one, two = (train(texts, labels, groups, CLASSES, DEFAULT, 5, seed=3) for _ in range(2))
        assert (one.out_of_fold.margins == two.out_of_fold.margins).all() and (
            one.model.arrays["coef"] == two.model.arrays["coef"]
        ).all()

    def test_min_df_falls_back_to_1_where_it_would_leave_no_n_gram(self) -> None:
        texts, labels = ["red car", "blue bus", "green van", "grey cab"], ["low", "high", "low", "high"]
        trained = train(texts, labels, list("abcd"), CLASSES, Tfidf(kind="tfidf", min_df=3), 2, seed=0)
        assert trained.model.header.min_df == 1 and trained.model.header.options["min_df"] == 3
        assert trained.fallback_folds == [0, 1]
        assert np.isfinite(trained.out_of_fold.margins).all()

    def test_texts_without_any_n_gram_are_one_sentence(self) -> None:
        with pytest.raises(TextError, match=r"leave no n-gram to learn from.*max_df"):
            train(["same"] * 4, ["low", "high"] * 2, list("abcd"), CLASSES, DEFAULT, 2, seed=0)

    def test_a_class_in_one_fold_only_is_one_sentence(self) -> None:
        with pytest.raises(TextError, match="class 'high' has examples in 1 folds"):
            train(["a b"] * 4, ["low"] * 3 + ["high"], list("abcd"), CLASSES, DEFAULT, 2, seed=0)


class TestFile:
    def trained(self) -> TextModel:
        texts, labels, groups = texts_of(CLASSES)
        return train(texts, labels, groups, CLASSES, DEFAULT, 5, seed=0, max_words=50).model

    def test_a_model_that_was_saved_scores_the_same(self, tmp_path: Path) -> None:
        model = self.trained()
        model.save(tmp_path / "m.safetensors", {"script": "train_text.py"})
        loaded = TextModel.load(tmp_path / "m.safetensors")
        texts = ["the patient needs the garden", "nothing known", ""]
        assert (score(loaded, texts).margins == score(model, texts).margins).all()
        assert loaded.header == model.header
        assert {name: array.dtype for name, array in loaded.arrays.items()} == dict.fromkeys(
            ("idf", "coef", "intercept"), np.float64
        )
        assert provenance.read(tmp_path / "m.safetensors") == {"script": "train_text.py"}

    def test_the_same_model_is_the_same_bytes(self, tmp_path: Path) -> None:
        for name in "abcd":
            self.trained().save(tmp_path / name, {"n": 1})
        assert len({(tmp_path / name).read_bytes() for name in "abcd"}) == 1

    def test_another_file_is_one_sentence(self, tmp_path: Path) -> None:
        from candor import tensors

        tensors.write(tmp_path / "p.safetensors", {"weight": np.zeros(2)}, {"probe": "{}"})
        with pytest.raises(TextError, match="is not a text model"):
            TextModel.load(tmp_path / "p.safetensors")

    def test_a_text_of_unknown_words_has_the_intercept(self) -> None:
        model = self.trained()
        scored = score(model, ["zzz"])
        assert scored.margins[0, 0] == model.arrays["intercept"][0] and scored.features.tolist() == [0]


def test_from_tables_to_score_tables(tmp_path: Path) -> None:
    texts, labels, _ = texts_of(CLASSES)
    rows = [row(f"t{i}", label, text) for i, (text, label) in enumerate(zip(texts, labels, strict=True))]
    rows += [row("unclear", "ambiguous", "the garden needs surgery"), row("held", "high", WORDS["high"], "test")]
    tables.write(tmp_path / "d.parquet", rows, DATASET, {})
    tables.write(tmp_path / "c.parquet", [row("c", "everyday", "the tea is cold", "test")], DATASET, {})
    (tmp_path / "selection.json").write_text("{}")
    task = {"classes": CLASSES, "train": "d@train", "control": "c@test", "folds": 3}
    spec = ["--spec", json.dumps({"tasks": task, "baselines": {"kind": "tfidf"}}), "--monitor", "tfidf"]
    model, trained, scored = (str(tmp_path / name) for name in ("m.safetensors", "train.parquet", "test.parquet"))
    data, control = ["--data", str(tmp_path / "d.parquet")], ["--control", str(tmp_path / "c.parquet")]
    selection = ["--selection", str(tmp_path / "selection.json")]
    for script, arguments in {
        "train_text.py": [*data, *control, "--model", model, "--scores", trained],
        "score_text.py": [*data, "--part", "d@test", "--model", model, *selection, "--output", scored],
    }.items():
        command = [sys.executable, str(SCRIPTS / script), *spec, *arguments]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr

    found = tables.read(Path(trained), SCORE).to_pylist()
    by_part = {name: [r for r in found if r["dataset"] == name] for name in ("d", "c")}
    assert len(by_part["d"]) == 30 and {r["fold"] for r in by_part["d"]} == {0, 1, 2}
    assert [(r["label"], r["fold"], r["status"]) for r in by_part["c"]] == [(None, None, "ok")]
    assert provenance.read(Path(trained))["n_skipped"] == 1

    [held] = tables.read(Path(scored), SCORE).to_pylist()
    assert (held["example_id"], held["class"], held["label"], held["monitor"]) == ("held", "high", True, "tfidf")
    assert held["score"] > 0 and held["probability"] is None and held["layer"] is None and held["seed"] is None
    assert held["flops_monitor"] == held["flops_total"] > 0 and held["flops_monitor"] % 2 == 0
