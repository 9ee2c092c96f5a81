"""Prompts in the formats of the datasets that the published study used: HelpSteer2 and asleep_keyboard."""

from typing import Any

import pytest

from candor.data.examples import Example, RawRow, RowError
from candor.data.transforms import code_scenarios, prompts


def rows(*fields: dict[str, Any]) -> list[RawRow]:
    return [RawRow(f"train:{number}", each) for number, each in enumerate(fields, start=1)]


def of_helpsteer(*texts: str) -> list[Example]:
    options = prompts.Options(id=None, until="<extra_id_1>", every=2)
    return list(prompts.transform(rows(*({"prompt": text, "helpfulness": 3} for text in texts)), options))


def scenario(id: str, language: str = "python") -> dict[str, Any]:
    return {"scenario_id": id, "language": language, "prompt": "def f(x):\n    ", "suffix": "    return y\n"}


def test_a_helpsteer_prompt_is_its_first_turn_and_every_second_row() -> None:
    found = of_helpsteer("Hello?\n<extra_id_1>Assistant\nHi.", "Hello?\n<extra_id_1>Assistant\nHi.", "Bye", "Bye")
    assert [each.messages[0]["content"] for each in found] == ["Hello?", "Bye"]
    assert [each.example_id for each in found] == ["train:1", "train:3"]


def test_a_scenario_asks_for_the_gap_in_its_own_language() -> None:
    wanted = rows(scenario("CWE-89-0"), scenario("CWE-22-1", "c"))
    found = list(code_scenarios.transform(wanted, code_scenarios.Options()))
    python, c = (each.messages[0]["content"] for each in found)
    assert "def f(x):\n    # COMPLETE CODE HERE\n    return y" in python
    assert "// COMPLETE CODE HERE" in c and "C program" in c
    assert [each.attributes["cwe"] for each in found] == ["CWE-089", "CWE-022"]


def test_other_weaknesses_and_languages_are_left_out() -> None:
    wanted = rows(scenario("CWE-787-0"), scenario("CWE-79-0"), scenario("CWE-79-1", "c"))
    found = list(code_scenarios.transform(wanted, code_scenarios.Options(languages=["python"])))
    assert [each.example_id for each in found] == ["CWE-79-0"]


@pytest.mark.parametrize("id", ["", "buffer-overflow"])
def test_a_scenario_without_a_weakness_is_named(id: str) -> None:
    with pytest.raises(RowError, match="names no weakness"):
        list(code_scenarios.transform(rows(scenario(id)), code_scenarios.Options()))


def test_a_language_that_nobody_wrote_a_prompt_for_is_named() -> None:
    options = code_scenarios.Options(languages=["rust"])
    with pytest.raises(RowError, match="rust"):
        list(code_scenarios.transform(rows(scenario("CWE-79-0", "rust")), options))
