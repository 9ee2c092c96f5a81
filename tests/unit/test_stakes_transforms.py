"""Transforms of the raw sets of study B, and what their versions changed."""

import gzip
import json
import os
from collections import Counter
from itertools import pairwise
from pathlib import Path
from typing import Any, ClassVar

import pytest
from pydantic import ValidationError

from candor.config.datasets import Dataset
from candor.config.sources import LocalSource
from candor.data.building import Built, build
from candor.data.dialogues import filled, joined
from candor.data.examples import Example, RawRow, Reported, RowError
from candor.data.transforms import (
    aya_redteaming,
    hh_rlhf,
    mental_health,
    mt_samples,
    mts_dialog,
    rewrite_prompts,
    rewritten,
    system_edits,
    toolace,
)
from candor.sources import fetch

REAL = pytest.mark.skipif(
    "CANDOR_TEST_DATA" not in os.environ, reason="CANDOR_TEST_DATA names no folder with real data"
)


def turns(example: Example) -> list[tuple[str, str]]:
    return [(message["role"], message["content"]) for message in example.messages]


def fetched(*files: str) -> list[RawRow]:
    source = LocalSource(kind="local", files=[f"$CANDOR_TEST_DATA/{file}" for file in files])
    return [RawRow(row["origin"], json.loads(row["row"])) for row in fetch(source).rows]


def again(examples: list[Example]) -> list[RawRow]:
    return [RawRow(example.example_id, dict(example.__dict__)) for example in examples]


class TestDialogues:
    def test_empty_turns_go_and_neighbours_of_one_role_are_one_turn(self) -> None:
        given = [("user", "a "), ("user", "b"), ("assistant", " "), ("user", "c"), ("assistant", "d")]
        assert joined(given) == [{"role": "user", "content": "a\n\nb\n\nc"}, {"role": "assistant", "content": "d"}]

    def test_what_is_filled_in_is_not_filled_in_itself(self) -> None:
        assert filled("{a} and {b}, {c}", {"a": "{b}", "b": "2"}) == "{b} and 2, {c}"


class TestHhRlhf:
    ROW = RawRow(
        "f:1",
        {
            "chosen": "\n\nHuman: Hello?\n\nAssistant: Hi.\n\nHuman: A list:\n\nHuman: one\n\nAssistant: So: Human: x",
            "rejected": "\n\nHuman: Hello?\n\nAssistant:",
        },
    )

    def test_turns_begin_at_the_names_after_a_blank_line(self) -> None:
        made = hh_rlhf.transform([self.ROW], hh_rlhf.Options(system=None))
        [example] = made.examples
        assert turns(example) == [
            ("user", "Hello?"),
            ("assistant", "Hi."),
            ("user", "A list:\n\none"),
            ("assistant", "So: Human: x"),
        ]
        assert (example.example_id, example.group_id, example.label) == ("f:1.chosen", "f:1", None)
        assert made.facts == {"irregular": 1}

    def test_both_transcripts_of_a_row_share_a_group(self) -> None:
        made = hh_rlhf.transform([self.ROW], hh_rlhf.Options(sides=["chosen", "rejected"]))
        assert [example.attributes["side"] for example in made.examples] == ["chosen", "rejected"]
        assert {example.group_id for example in made.examples} == {"f:1"}
        assert turns(made.examples[1]) == [("system", hh_rlhf.SYSTEM), ("user", "Hello?")]

    def test_the_last_answer_may_be_left_out(self) -> None:
        [example] = hh_rlhf.transform([self.ROW], hh_rlhf.Options(last_answer=False)).examples
        assert example.messages[-1]["role"] == "user"

    @pytest.mark.parametrize(
        ("fields", "message"),
        [
            ({"chosen": "x", "reject": "y"}, "f:1: expected the fields chosen, rejected; found chosen, reject"),
            (
                {"chosen": "Human: x", "rejected": ""},
                "f:1, chosen: expected a transcript that begins with a blank line",
            ),
            ({"chosen": "\n\nHuman: ", "rejected": ""}, "f:1, chosen: holds no turn with text"),
        ],
    )
    def test_other_rows_are_named(self, fields: dict[str, Any], message: str) -> None:
        with pytest.raises(RowError, match=message):
            hh_rlhf.transform([RawRow("f:1", fields)], hh_rlhf.Options())

    @REAL
    def test_the_public_file(self) -> None:
        path = Path(os.environ["CANDOR_TEST_DATA"], "hh-rlhf", "harmless-base.test.jsonl.gz")
        rows = fetched("hh-rlhf/harmless-base.test.jsonl.gz")
        made = hh_rlhf.transform(rows, hh_rlhf.Options(sides=["chosen", "rejected"], system=None))
        assert len(made.examples) == 2 * len(rows) == 4624
        assert made.facts["irregular"] == 17
        said = Counter[str]()
        with gzip.open(path, "rt", encoding="utf-8") as lines:
            for line in lines:
                for text in json.loads(line).values():
                    said.update(text.replace("\n\nHuman:", "").replace("\n\nAssistant:", "").split())
        told = Counter(word for example in made.examples for m in example.messages for word in m["content"].split())
        assert told == said  # no word is lost, and none comes in
        for example in made.examples:
            roles = [message["role"] for message in example.messages]
            assert roles[0] == "user" and all(one != other for one, other in pairwise(roles))


class TestToolace:
    SYSTEM = "You are an expert in functions. You are given a question.\nHere are functions: [f.x]. Only call them. End"
    TALK: ClassVar = [
        {"from": "user", "value": "Look it up"},
        {"from": "assistant", "value": "[f()]"},
        {"from": "tool", "value": "3"},
        {"from": "assistant", "value": "It is 3."},
    ]

    def rows(self, **fields: Any) -> list[RawRow]:
        return [RawRow("f:1", {"system": self.SYSTEM, "conversations": self.TALK, **fields})]

    def test_tool_turns_become_user_turns_and_the_first_sentence_another(self) -> None:
        made = toolace.transform(self.rows(), toolace.Options(first_sentence="You help."))
        [example] = made.examples
        assert turns(example)[1:] == [
            ("user", "Look it up"),
            ("assistant", "[f()]"),
            ("user", "3"),
            ("assistant", "It is 3."),
        ]
        assert example.messages[0]["content"] == "You help." + self.SYSTEM[31:]
        assert example.example_id == example.group_id == "f:1"
        assert made.facts == {"tool_turns": 1, "first_sentences_replaced": 1}

    def test_both_may_be_left_as_they_are(self) -> None:
        made = toolace.transform(self.rows(), toolace.Options(first_sentence=None, tool_role="tool"))
        assert made.examples[0].messages[0]["content"] == self.SYSTEM
        assert made.examples[0].messages[3]["role"] == "tool"

    @pytest.mark.parametrize(
        ("fields", "message"),
        [
            ({"conversations": "x"}, "f:1: conversations holds a str, not a list"),
            (
                {"conversations": [{"role": "user", "content": "x"}]},
                "expected a turn with the text `value`.*found None and",
            ),
            ({"conversations": []}, "f:1: conversations holds no turn with text"),
        ],
    )
    def test_other_rows_are_named(self, fields: dict[str, Any], message: str) -> None:
        with pytest.raises(RowError, match=message):
            toolace.transform(self.rows(**fields), toolace.Options())
        with pytest.raises(RowError, match="f:1: expected the fields system, conversations; found text"):
            toolace.transform([RawRow("f:1", {"text": "x"})], toolace.Options())

    def rewritten(self, answer: str | None, status: str = "ok") -> Reported:
        given = toolace.transform(self.rows(), toolace.Options(first_sentence=None)).examples
        [prompt] = rewrite_prompts.transform(again(given), rewrite_prompts.Options())
        assert prompt.messages[-1]["content"].endswith("\n\nYou are an expert in functions.")
        reply = {"answer": answer, "status": status, "sample_index": 0}
        return rewritten.transform(
            [RawRow("f:1", {"example": prompt.__dict__, "generation": reply})], rewritten.Options()
        )

    def test_a_language_model_may_write_the_first_sentence(self) -> None:
        [example] = self.rewritten(" You call functions for people. ").examples
        assert example.messages[0]["content"] == "You call functions for people." + self.SYSTEM[31:]
        assert len(example.messages) == 5 and example.attributes == {}

    @pytest.mark.parametrize(
        ("answer", "status"), [("Two. Sentences.", "ok"), ("no end", "ok"), (None, "ok"), ("You call.", "truncated")]
    )
    def test_a_reply_that_is_no_sentence_is_counted_and_not_taken(self, answer: str | None, status: str) -> None:
        assert self.rewritten(answer, status) == ([], {"invalid_replies": 1})

    def test_version_step_a_later_sentence_is_removed(self) -> None:
        given = toolace.transform(self.rows(), toolace.Options(first_sentence=None)).examples
        made = system_edits.transform(again(given), system_edits.Options(drop=["Only call them."]))
        assert made.examples[0].messages[0]["content"] == self.SYSTEM.replace(" Only call them.", "")
        assert made.facts == {"changed": {"Only call them.": 1}}


class TestMtSamples:
    ROW: ClassVar = {
        "medical_specialty": " Cardiology ",
        "sample_name": "Echo",
        "transcription": "Normal {left} ventricle, no effusion.",
        "description": "An echo.",
    }

    def made(self, *changes: dict[str, Any], **options: Any) -> Reported:
        rows = [RawRow(f"f:{i}", {**self.ROW, **change}) for i, change in enumerate(changes)]
        return mt_samples.transform(rows, mt_samples.Options(**options))

    def test_the_user_gives_all_four_texts(self) -> None:
        [example] = self.made({}).examples
        assert turns(example) == [
            ("system", mt_samples.SYSTEM),
            (
                "user",
                "Specialty: Cardiology\nSample: Echo\n\nNormal {left} ventricle, no effusion.\n\nIn short: An echo.",
            ),
        ]
        assert example.attributes == {"specialty": "Cardiology", "sample_name": "Echo"}

    def test_a_transcription_under_two_specialties_is_one_group(self) -> None:
        cases = {}, {"medical_specialty": "Radiology"}, {"transcription": "Another note, a longer one."}
        groups = [example.group_id for example in self.made(*cases).examples]
        assert groups[0] == groups[1] != groups[2]
        assert len({example.group_id for example in self.made(*cases, group="row").examples}) == 3

    def test_version_step_transcriptions_shorter_than_the_description_are_dropped(self) -> None:
        cases = {}, {"transcription": "Fine."}, {"transcription": None}
        made = self.made(*cases)
        assert [example.example_id for example in made.examples] == ["f:0"]
        assert made.facts == {"without_transcription": 1, "shorter_than_description": 1}
        kept = self.made(*cases, shorter_than_description="keep")
        assert [example.example_id for example in kept.examples] == ["f:0", "f:1"]

    def test_version_step_rows_move_from_test_to_dev(self) -> None:
        """Some test rows are drawn, join the dev set, and stand in the test set no more."""
        test = [
            Example(f"t{i}", f"t{i}", [{"role": "user", "content": f"test {i}"}], None, split="test") for i in range(9)
        ]
        dev = [
            Example(f"d{i}", f"d{i}", [{"role": "user", "content": f"dev {i}"}], None, split="test") for i in range(2)
        ]
        recipe = {"origin": "datasets/x", "transform": "subset"}
        moved = build(again(test), Dataset.model_validate({**recipe, "limit": 4})).examples
        more = build(again(dev), Dataset.model_validate({**recipe, "also": ["moved"]}), also={"moved": moved})
        rest = build(again(test), Dataset.model_validate({**recipe, "exclude": ["moved"]}), exclude={"moved": moved})
        assert [example.example_id for example in more.examples][:2] == ["d0", "d1"]
        assert (len(more.examples), more.also) == (6, {"moved": 4})
        assert (len(rest.examples), rest.excluded, rest.excluded_by) == (5, {"moved": 4}, {"id": 4})
        assert {e.example_id for e in rest.examples} | {e.example_id for e in moved} == {f"t{i}" for i in range(9)}

    def test_other_columns_are_named(self) -> None:
        with pytest.raises(RowError, match=r"f:1: expected the fields medical_specialty, sample_name.*; found text"):
            mt_samples.transform([RawRow("f:1", {"text": "x"})], mt_samples.Options())
        with pytest.raises(ValidationError, match=r"does not hold \{transcription\}"):
            mt_samples.Options(form="{description}")


class TestMtsDialog:
    ROW: ClassVar = {
        "section_header": "GENHX",
        "section_text": "Note {x}.",
        "dialogue": "Doctor: Where: here?\r\nPatient: Yes.\nAnd there.\r\n"
        "Guest_family: Always.\r\nPatient: Quiet!\r\nDocotr_2: Hm.\r\nDoctor: I see.",
    }

    def made(self, **options: Any) -> Reported:
        return mts_dialog.transform([RawRow("f:1", self.ROW)], mts_dialog.Options(**options))

    def test_version_step_strict_parsing_drops_other_speakers(self) -> None:
        made = self.made()
        assert turns(made.examples[0]) == [
            ("system", mts_dialog.SYSTEM.replace("{section_text}", "Note {x}.")),
            ("assistant", "Where: here?"),
            ("user", "Yes.\nAnd there.\n\nQuiet!"),
            ("assistant", "I see."),
        ]
        assert made.facts == {"turns_of_others": {"Docotr_2": 1, "Guest_family": 1}, "without_a_patient": 0}

    def test_loose_parsing_keeps_them(self) -> None:
        [example] = self.made(parsing="loose", system=None).examples
        assert turns(example)[1] == ("user", "Yes.\nAnd there.\n\nAlways.\n\nQuiet!\n\nHm.")

    def test_a_turn_that_lost_its_line_is_a_turn(self) -> None:
        rows = [RawRow("f:1", {**self.ROW, "dialogue": "Doctor: So? Patient: Now.\nGuest_family. Hi.\nDoctor: Good."})]
        [example] = mts_dialog.transform(rows, mts_dialog.Options(system=None)).examples
        assert turns(example) == [("assistant", "So?"), ("user", "Now."), ("assistant", "Good.")]

    def test_a_dialogue_without_a_patient_is_counted(self) -> None:
        rows = [RawRow("f:1", {**self.ROW, "dialogue": "Doctor: Hm.\nGuest_family: Well."})]
        assert mts_dialog.transform(rows, mts_dialog.Options()) == (
            [],
            {"turns_of_others": {"Guest_family": 1}, "without_a_patient": 1},
        )

    def test_version_steps_a_misspelt_word_and_the_guests_leave_the_system_prompt(self) -> None:
        first = "You are a docter. Guest families may speak too. Your note: {section_text}"
        given = self.made(system=first).examples
        options = system_edits.Options(drop=["Guest families may speak too."], replace={"docter": "doctor"})
        made = system_edits.transform(again(given), options)
        assert made.examples[0].messages[0]["content"] == "You are a doctor. Your note: Note {x}."
        assert made.examples[0].messages[1:] == given[0].messages[1:]
        assert given[0].messages[0]["content"].startswith("You are a docter.")  # the examples given stay as they were

    def test_other_rows_are_named(self) -> None:
        with pytest.raises(RowError, match="f:1: expected the fields dialogue, section_text, section_header; found x"):
            mts_dialog.transform([RawRow("f:1", {"x": "y"})], mts_dialog.Options())
        with pytest.raises(RowError, match="f:1: expected lines that begin with a speaker's name"):
            mts_dialog.transform([RawRow("f:1", {**self.ROW, "dialogue": "hello"})], mts_dialog.Options())
        with pytest.raises(ValidationError, match=r"does not hold \{section_text\}"):
            mts_dialog.Options(system="You are a doctor.")

    @REAL
    def test_the_public_files(self) -> None:
        rows = fetched("mts-dialog/train.csv", "mts-dialog/validation.csv")
        made = mts_dialog.transform(rows, mts_dialog.Options())
        assert len(rows) == 1301 and len(made.examples) + made.facts["without_a_patient"] == 1301
        assert len(made.examples) > 1150
        assert {name for name in made.facts["turns_of_others"] if not name.startswith(("G", "Doc"))} == set()
        for example in made.examples:
            assert {message["role"] for message in example.messages[1:]} <= {"assistant", "user"}
            for message in example.messages[1:]:
                assert "Doctor:" not in message["content"] and "Patient:" not in message["content"]
        loose = mts_dialog.transform(rows, mts_dialog.Options(parsing="loose"))
        assert len(loose.examples) > len(made.examples)


class TestSingleTexts:
    def test_mental_health(self) -> None:
        rows = [
            RawRow(f"f:{i}", {"": i, "statement": text, "status": status})
            for i, (text, status) in enumerate([(" I am tired ", "Stress"), (None, "Normal"), ("fine", "Normal")])
        ]
        made = mental_health.transform(rows, mental_health.Options())
        assert [turns(example) for example in made.examples] == [
            [("system", mental_health.SYSTEM), ("user", text)] for text in ("I am tired", "fine")
        ]
        assert made.facts == {"without_statement": 1}
        assert made.examples[0].attributes == {"status": "Stress"} and made.examples[0].group_id == "f:0"
        some = mental_health.transform(rows, mental_health.Options(statuses=["Normal"], system=None))
        assert [turns(example) for example in some.examples] == [[("user", "fine")]]
        with pytest.raises(RowError, match="f:1: expected the fields statement, status; found text"):
            mental_health.transform([RawRow("f:1", {"text": "x"})], mental_health.Options())

    def test_aya_redteaming(self) -> None:
        own = {"harm_category": '["x"]', "literal_translation": "?"}
        rows = [
            RawRow(f"f:{i}", {**own, "prompt": f"p{i}", "language": name})
            for i, name in enumerate(["Hindi", "English"])
        ]
        made = aya_redteaming.transform(rows, aya_redteaming.Options(languages=["Hindi"]))
        [example] = made.examples
        assert turns(example) == [("system", aya_redteaming.SYSTEM), ("user", "p0")]
        assert example.attributes == {"language": "Hindi", "harm_category": '["x"]'}
        with pytest.raises(RowError, match="f:1: expected the fields prompt, language, harm_category; found prompt"):
            aya_redteaming.transform([RawRow("f:1", {"prompt": "x"})], aya_redteaming.Options())


class TestSystemEdits:
    def example(self, *prompts: str) -> list[RawRow]:
        messages = [{"role": "system", "content": prompt} for prompt in prompts] + [{"role": "user", "content": "a b"}]
        return again([Example("e", "e", messages, None)])

    def test_version_step_a_second_system_prompt_is_removed(self) -> None:
        made = system_edits.transform(self.example("You chat.", "You chat."), system_edits.Options(one=True))
        assert turns(made.examples[0]) == [("system", "You chat."), ("user", "a b")]
        assert made.facts == {"second_prompts_removed": 1}
        assert system_edits.transform(self.example("a"), system_edits.Options(one=True)).facts == {
            "second_prompts_removed": 0
        }

    def test_a_text_that_stands_nowhere_stops_the_build_unless_it_need_not(self) -> None:
        with pytest.raises(RowError, match="no system prompt holds 'b'; correct it, or set `required: false`"):
            system_edits.transform(self.example("a"), system_edits.Options(drop=["b"]))
        made = system_edits.transform(self.example("a"), system_edits.Options(drop=["b"], required=False))
        assert made.facts == {"changed": {"b": 0}}

    def test_a_prompt_of_which_nothing_is_left_goes(self) -> None:
        made = system_edits.transform(self.example("You chat."), system_edits.Options(drop=["You chat."]))
        assert turns(made.examples[0]) == [("user", "a b")]

    @pytest.mark.parametrize(("keys", "message"), [({}, "changes nothing"), ({"drop": [""]}, "names an empty text")])
    def test_options_that_make_no_sense(self, keys: dict[str, Any], message: str) -> None:
        with pytest.raises(ValidationError, match=message):
            system_edits.Options(**keys)


def test_the_record_tells_what_each_step_gave_and_dropped() -> None:
    rows = [RawRow(f"f:{i}", {**TestMtSamples.ROW, "transcription": "T" * (2 + 10 * i)}) for i in range(3)]
    recipe = Dataset.model_validate(
        {
            "origin": "sources/mt",
            "transform": "mt_samples",
            "then": [{"transform": "system_edits", "options": {"replace": {"medical staff": "nurses"}}}],
            "split": "test",
        }
    )
    built: Built = build(rows, recipe)
    assert built.steps == [
        {"transform": "mt_samples", "n": 2, "without_transcription": 0, "shorter_than_description": 1},
        {"transform": "system_edits", "n": 2, "changed": {"medical staff": 2}},
    ]
