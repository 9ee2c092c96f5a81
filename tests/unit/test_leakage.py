"""Leakage gates: what stands on both sides of a split or in two parts stops the workflow."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest

from candor import provenance, tables
from candor.config.datasets import Dataset
from candor.config.sources import LocalSource
from candor.data.building import build
from candor.data.examples import RawRow
from candor.data.leakage import LeakageError, Tolerance, check_dataset, check_parts, compare
from candor.data.similarity import NUM_PERM, bands, jaccard, shingles, user_text
from candor.schemas.dataset import DATASET
from candor.sources import fetch

SCRIPTS = Path(__file__).parents[2] / "scripts"
DEFAULT = Tolerance(similarity=0.8, allow_near=[])
TEXT = "please tell me how many litres of paint I need for a wall of twelve square metres"
NEAR = TEXT + " today"
OTHER = "which of the two trains to the coast leaves first in the morning"


def row(id: str, text: str, split: str = "train", group: str | None = None) -> dict[str, Any]:
    return {
        "example_id": id,
        "group_id": group or id,
        "split": split,
        "messages": [{"role": "user", "content": text}],
        "label": None,
        "rating": None,
        "attributes": "{}",
        "truncated": False,
    }


class TestText:
    def test_user_turns_count_case_and_spacing_do_not(self) -> None:
        messages = [
            {"role": "system", "content": "Be kind."},
            {"role": "user", "content": "Hello  THERE"},
            {"role": "assistant", "content": "Hi!"},
            {"role": "user", "content": "\nStraße"},
        ]
        assert user_text(messages) == "hello there strasse"

    def test_without_a_user_turn_all_turns_count(self) -> None:
        assert user_text([{"role": "assistant", "content": "I did it."}]) == "i did it."
        assert user_text([{"role": "user", "content": " "}, {"role": "assistant", "content": "Yes."}]) == "yes."

    def test_shingles_are_word_3_grams_or_the_words_of_a_short_text(self) -> None:
        assert shingles("a b c d") == {"a b c", "b c d"}
        assert shingles("a b") == {"a", "b"}

    def test_jaccard(self) -> None:
        assert jaccard(frozenset("abc"), frozenset("bcd")) == 0.5


class TestOneDataset:
    def test_counts(self) -> None:
        rows = [row("a", TEXT), row("b", TEXT.upper()), row("c", NEAR), row("d", OTHER, "test")]
        counts = check_dataset(rows, "d", DEFAULT)
        assert counts["n"] == 4 and counts["groups"] == 4
        assert counts["splits"]["train"] == {"n": 3, "groups": 3, "repeats": 1, "near_duplicate_pairs": 3}
        assert counts["splits"]["test"] == {"n": 1, "groups": 1, "repeats": 0, "near_duplicate_pairs": 0}

    def test_a_group_in_two_splits_fails(self) -> None:
        rows = [row("a", TEXT, "train", "g"), row("b", OTHER, "test", "g")]
        with pytest.raises(
            LeakageError, match=r"groups stand in more than one split, 1 in all: g \(test, train\).*split"
        ):
            check_dataset(rows, "d", DEFAULT)

    @pytest.mark.parametrize(("text", "similarity"), [(TEXT, "1.00"), (NEAR, "0.94")])
    def test_a_text_or_one_like_it_in_two_splits_fails_and_names_the_rows(self, text: str, similarity: str) -> None:
        rows = [row("a", TEXT), row("b", text, "test")]
        with pytest.raises(LeakageError, match=rf"a ~ b \({similarity}\).*Remove one.*datasets\.d\.allow_near"):
            check_dataset(rows, "d", DEFAULT)

    def test_a_pair_that_the_config_names_is_excused_and_reported(self) -> None:
        rows = [row("a", TEXT), row("b", TEXT, "test")]
        counts = check_dataset(rows, "d", Tolerance(similarity=0.8, allow_near=[("b", "a")]))
        assert counts["allowed"] == [{"pair": ["a", "b"], "similarity": 1.0}]
        assert counts["highest_similarity"] is None

    def test_the_threshold_is_the_config_s(self) -> None:
        rows = [row("a", TEXT), row("b", NEAR, "test")]
        counts = check_dataset(rows, "d", Tolerance(similarity=0.95, allow_near=[]))
        assert counts["highest_similarity"] == pytest.approx(15 / 16, abs=0.01)

    def test_at_most_ten_pairs_are_named_and_the_rest_counted(self) -> None:
        rows = [row(f"a{i}", TEXT) for i in range(4)] + [row(f"b{i}", TEXT, "test") for i in range(4)]
        with pytest.raises(LeakageError, match=r"16 pairs in all: .*and 6 more") as error:
            check_dataset(rows, "d", DEFAULT)
        assert str(error.value).count(" ~ ") == 10


class TestTwoParts:
    BOTH: ClassVar = {"a": DEFAULT, "b": DEFAULT}

    def test_sets_that_are_apart_give_counts(self) -> None:
        counts = check_parts([row("x", TEXT)], "a@train", [row("y", OTHER, "test")], "b@test", self.BOTH)
        assert counts["train"] == {"part": "a@train", "n": 1, "groups": 1, "repeats": 0, "near_duplicate_pairs": 0}
        assert counts["evaluation"]["part"] == "b@test"

    def test_a_text_in_both_fails(self) -> None:
        with pytest.raises(LeakageError, match=r"a@train and b@test: rows in different parts.*x ~ y \(0\.9"):
            check_parts([row("x", TEXT)], "a@train", [row("y", NEAR, "test")], "b@test", self.BOTH)

    @pytest.mark.parametrize("excusing", ["a", "b"])
    def test_either_dataset_may_excuse_a_pair(self, excusing: str) -> None:
        tolerances = {**self.BOTH, excusing: Tolerance(similarity=0.8, allow_near=[("x", "y")])}
        counts = check_parts([row("x", TEXT)], "a@train", [row("y", NEAR, "test")], "b@test", tolerances)
        assert [pair["pair"] for pair in counts["allowed"]] == [["x", "y"]]

    def test_names_of_groups_mean_nothing_between_two_datasets(self) -> None:
        train, evaluation = [row("x", TEXT, group="1")], [row("y", OTHER, "test", group="1")]
        check_parts(train, "a@train", evaluation, "b@test", self.BOTH)
        with pytest.raises(LeakageError, match="groups stand in both, 1 in all: 1"):
            check_parts(train, "a@train", evaluation, "a@test", self.BOTH)


class TestRecall:
    @pytest.mark.parametrize("threshold", [0.1, 0.3, 0.5, 0.8, 0.95, 1.0])
    def test_bands_miss_a_pair_at_the_threshold_once_in_ten_thousand(self, threshold: float) -> None:
        count, size = bands(threshold)
        assert count * size <= NUM_PERM
        assert (1 - threshold**size) ** count <= 1e-4

    def test_finds_the_pairs_that_comparing_everything_finds(self) -> None:
        rng = np.random.default_rng(0)
        texts = [[str(word) for word in rng.integers(0, 3000, size=60)] for _ in range(60)]
        for i in range(60):
            changed = list(texts[i])
            for at in rng.choice(60, size=int(rng.integers(0, 8)), replace=False):
                changed[at] = "changed"
            texts.append(changed)
        rows = [row(str(i), " ".join(words), "train" if i < 60 else "test") for i, words in enumerate(texts)]
        sets = [shingles(" ".join(words)) for words in texts]
        wanted = {(i, j) for i in range(60) for j in range(60, 120) if jaccard(sets[i], sets[j]) >= 0.8}
        found = compare(rows, [r["split"] for r in rows], 0.8, [])
        assert {(pair.first, pair.second) for pair in found.leaks} == wanted
        assert len(wanted) > 20


class TestScript:
    def run(self, *arguments: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            [sys.executable, str(SCRIPTS / "check_leakage.py"), *arguments], capture_output=True, text=True, check=False
        )

    def test_writes_counts_with_the_repeats_that_building_dropped(self, tmp_path: Path) -> None:
        data, output = tmp_path / "d.parquet", tmp_path / "gates" / "d.json"
        tables.write(data, [row("a", TEXT), row("b", OTHER, "test")], DATASET, {"repeats_dropped": 7})
        spec = json.dumps({"datasets": {"similarity": 0.8, "allow_near": []}})
        done = self.run("--data", str(data), "--spec", spec, "--output", str(output))
        assert done.returncode == 0, done.stderr
        counts = tables.read_json(output)
        assert (counts["dataset"], counts["n"], counts["repeats_dropped"]) == ("d", 2, 7)
        assert list(provenance.read(output)["inputs"]) == [data.as_posix()]

    def test_a_leak_is_one_sentence_and_nothing_is_written(self, tmp_path: Path) -> None:
        a, b, output = tmp_path / "a.parquet", tmp_path / "b.parquet", tmp_path / "gate.json"
        tables.write(a, [row("x", TEXT), row("z", NEAR, "test")], DATASET, {})
        tables.write(b, [row("y", NEAR, "test")], DATASET, {})
        tolerance = {"similarity": 0.8, "allow_near": []}
        done = self.run(
            *["--train", str(a), "--train-part", "a@train", "--evaluation", str(b), "--evaluation-part", "b@test"],
            *["--spec", json.dumps({"datasets": {"a": tolerance, "b": tolerance}}), "--output", str(output)],
        )
        assert done.returncode == 1
        assert (
            done.stderr.startswith("error: a@train and b@test: rows in different parts")
            and "Traceback" not in done.stderr
        )
        assert not output.exists()


@pytest.mark.skipif("CANDOR_TEST_DATA" not in os.environ, reason="CANDOR_TEST_DATA names no folder with real data")
def test_the_twelve_repeats_of_the_medical_set_are_dropped_and_counted() -> None:
    source = LocalSource(kind="local", files=["$CANDOR_TEST_DATA/stakes/dev/mt.jsonl"])
    rows = [RawRow(r["origin"], json.loads(r["row"])) for r in fetch(source).rows]
    recipe = {"origin": "sources/mt", "transform": "stakes_rows", "split": "test"}
    dropped = build(rows, Dataset.model_validate(recipe))
    kept = build(rows, Dataset.model_validate({**recipe, "duplicates": "keep"}))
    assert (len(dropped.examples), dropped.repeats) == (180, 12)
    counts = {
        name: check_dataset([example.row() for example in built.examples], "mt", DEFAULT)["splits"]["test"]["repeats"]
        for name, built in {"dropped": dropped, "kept": kept}.items()
    }
    assert counts == {"dropped": 0, "kept": 12}
