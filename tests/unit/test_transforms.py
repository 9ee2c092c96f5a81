"""Transforms: shapes of rows, and what cannot become an example."""

from typing import Any, ClassVar

import pytest
from pydantic import ValidationError

from candor.data.examples import Example, RawRow, RowError, messages_of, split_of
from candor.data.transforms import contrast_pairs, prompts, stakes_rows, subset


class TestMessages:
    def test_plain_text_is_one_user_turn(self) -> None:
        assert messages_of("hello", "f:1") == [{"role": "user", "content": "hello"}]

    def test_a_list_or_a_list_as_json_is_a_dialogue(self) -> None:
        turns = [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "hello"}]
        text = '[{"role": "user", "content": "hi"}, {"role": "assistant", "content": "hello"}]'
        assert messages_of(turns, "f:1") == messages_of(text, "f:1") == turns

    @pytest.mark.parametrize(
        "text",
        ["[1, 2]", "[laughs] what?", '[{"name": "a tool call"}]', "[]", "[" * 100_000],
        ids=["numbers", "aside", "objects", "empty", "many brackets"],
    )
    def test_other_text_that_starts_with_a_bracket_is_text(self, text: str) -> None:
        assert messages_of(text, "f:1") == [{"role": "user", "content": text}]

    @pytest.mark.parametrize(
        ("value", "message"),
        [
            (None, "f:1: is neither text nor a list of messages"),
            ([], "f:1: is neither text nor a list of messages"),
            ([{"role": "user"}], "f:1: message 1 is not an object with the texts role and content"),
            ([{"role": "user", "content": "a"}, {"role": "doctor", "content": "b"}], "message 2 has the unknown role"),
            ('[{"role": "user", "content": 3}]', "message 1 is not an object"),
            ("  ", "f:1: holds no text"),
        ],
    )
    def test_what_is_none_is_named(self, value: Any, message: str) -> None:
        with pytest.raises(RowError, match=message):
            messages_of(value, "f:1")


def test_split_names() -> None:
    assert [split_of(name, "f:1") for name in ("train", "dev", "val", "test")] == ["train", *["validation"] * 2, "test"]
    with pytest.raises(RowError, match="f:1: split is 'holdout', which is not one of train"):
        split_of("holdout", "f:1")


def test_attributes_are_json_in_the_table() -> None:
    row = Example("a", "g", [], None, attributes={"b": 1, "a": "é"}).row()
    assert row["attributes"] == '{"a": "é", "b": 1}'


class TestPrompts:
    def test_id_group_label_and_the_rest_as_attributes(self) -> None:
        options = prompts.Options(text="question", group="family", label="benign")
        fields = {"id": 7, "question": "why?", "family": "f", "tone": "calm"}
        [example] = prompts.transform([RawRow("f:1", fields)], options)
        assert (example.example_id, example.group_id, example.label) == ("7", "f", "benign")
        assert example.attributes == {"tone": "calm"}

    def test_each_row_is_its_own_group_without_one(self) -> None:
        [example] = prompts.transform([RawRow("f:1", {"id": "a", "prompt": "why?"})], prompts.Options())
        assert example.group_id == "a" and example.label is None

    @pytest.mark.parametrize("group", [None, "", ["a"], True])
    def test_a_group_that_names_nothing_is_refused(self, group: Any) -> None:
        rows = [RawRow("f:9", {"id": "a", "prompt": "why?", "family": group})]
        with pytest.raises(RowError, match=r"f:9: family is .*, which names nothing"):
            list(prompts.transform(rows, prompts.Options(group="family")))

    def test_a_missing_field_is_named_with_those_there_are(self) -> None:
        with pytest.raises(RowError, match="f:1: has no field prompt; it has id, text"):
            list(prompts.transform([RawRow("f:1", {"id": "a", "text": "why?"})], prompts.Options()))


class TestContrastPairs:
    OPTIONS = contrast_pairs.Options(sides={"high": "high-stakes", "low": "low-stakes"})
    FIELDS: ClassVar = {"pair_id": "p1", "high": "urgent", "low": "idle", "rating_high": 9, "topic": "health"}

    def test_one_example_per_side_with_the_pair_as_group(self) -> None:
        high, low = contrast_pairs.transform([RawRow("f:1", self.FIELDS)], self.OPTIONS)
        assert (high.example_id, high.label, high.rating) == ("p1.high", "high-stakes", 9.0)
        assert (low.example_id, low.label, low.rating) == ("p1.low", "low-stakes", None)
        assert high.group_id == low.group_id == "p1"
        assert high.attributes == low.attributes == {"topic": "health"}

    def test_a_side_without_text_is_named(self) -> None:
        with pytest.raises(RowError, match="f:1, low: holds no text"):
            list(contrast_pairs.transform([RawRow("f:1", {**self.FIELDS, "low": ""})], self.OPTIONS))

    def test_a_rating_that_is_no_number_is_named(self) -> None:
        with pytest.raises(RowError, match="f:1: rating_high is 'nine', which is not a number"):
            list(contrast_pairs.transform([RawRow("f:1", {**self.FIELDS, "rating_high": "nine"})], self.OPTIONS))


class TestStakesRows:
    FIELDS: ClassVar = {"ids": "x", "inputs": "text", "labels": "high-stakes"}

    def example(self, options: stakes_rows.Options | None = None, **fields: Any) -> Example:
        [example] = stakes_rows.transform([RawRow("f:1", {**self.FIELDS, **fields})], options or stakes_rows.Options())
        return example

    def test_a_row_of_the_synthetic_set(self) -> None:
        example = self.example(pair_id="p", split="train", tone="casual", language=None, scale_labels="8")
        assert (example.group_id, example.split, example.rating) == ("p", "train", 8.0)
        assert example.attributes == {"tone": "casual"}

    @pytest.mark.parametrize(("pair", "group"), [(None, "x"), ("", "x"), (0, "0"), ("p", "p")])
    def test_the_pair_is_the_group_or_the_row_is(self, pair: Any, group: str) -> None:
        assert self.example(pair_id=pair).group_id == group

    def test_its_split_may_be_left_aside(self) -> None:
        assert self.example(stakes_rows.Options(use_split=False), split="train").split is None

    def test_a_system_prompt_goes_before_dialogues_that_have_none(self) -> None:
        options = stakes_rows.Options(system="You help.")
        assert [m["role"] for m in self.example(options).messages] == ["system", "user"]
        own = [{"role": "system", "content": "Mine."}, {"role": "user", "content": "hi"}]
        assert self.example(options, inputs=own).messages == own

    @pytest.mark.parametrize(
        ("fields", "message"),
        [
            ({"labels": "medium"}, "labels is 'medium', which is not one of high-stakes"),
            ({"labels": 1}, "labels holds a int, not text"),
            ({"scale_labels": "high"}, "scale_labels is 'high', which is not a number"),
            ({"ids": None}, "ids is None, which names nothing"),
            ({"split": "holdout"}, "split is 'holdout'"),
        ],
    )
    def test_what_cannot_be_read_is_named(self, fields: dict[str, Any], message: str) -> None:
        with pytest.raises(RowError, match=f"f:1: {message}"):
            self.example(**fields)


class TestSubset:
    def row(self, id: str, label: str, **attributes: str) -> RawRow:
        messages = [{"role": "user", "content": id}]
        return RawRow(id, Example(id, id, messages, label, split="test", attributes=dict(attributes)).__dict__)

    def test_all_conditions_must_hold_and_the_rest_stays_as_it_is(self) -> None:
        rows = [
            self.row("a", "low", language="English", tone="calm"),
            self.row("b", "low", language="German", tone="calm"),
            self.row("c", "high", language="English", tone="calm"),
            self.row("d", "low", language="English"),
        ]
        where = {"language": ["English", "French"], "tone": ["calm"]}
        kept = list(subset.transform(rows, subset.Options(where=where, labels=["low"])))
        assert [example.example_id for example in kept] == ["a"] and kept[0].split == "test"

    def test_without_conditions_all_stay(self) -> None:
        rows = [self.row("a", "low"), self.row("b", "high")]
        assert len(list(subset.transform(rows, subset.Options()))) == 2


@pytest.mark.parametrize("module", [contrast_pairs, prompts, stakes_rows, subset])
def test_an_unknown_option_is_refused(module: Any) -> None:
    with pytest.raises(ValidationError, match="not_an_option"):
        module.Options.model_validate({"not_an_option": 1})
