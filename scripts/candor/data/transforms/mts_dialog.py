"""Rows of MTS-Dialog: `dialogue`, lines that begin with a speaker's name, and `section_text`, the doctor's note on it
(docs/high_stakes.md)."""

import re
from collections import Counter
from collections.abc import Iterable
from typing import Literal

from pydantic import Field, field_validator

from candor.config.base import Section
from candor.data.dialogues import filled, holding, joined, with_system
from candor.data.examples import Example, RawRow, Reported, RowError

SPEAKER = re.compile(
    r"""^[ \t]*(?:([A-Z][a-z]+(?:_[a-z]+)?(?:_?\d+)?)[ \t]*:  # a line's beginning
    | ([A-Z][a-z]+_[a-z]+)\.)                              # or misspelt, as it happens
    | [ \t](Doctor|Patient):                              # or a turn that lost its line
    """,
    re.MULTILINE | re.VERBOSE,
)
"""The names that occur are Doctor and Patient, Guest_family and the like, some misspelt or numbered."""
ROLES = {"Doctor": "assistant", "Patient": "user"}
SYSTEM = "You are a doctor in conversation with a patient. Your note on the case: {section_text}"


class Options(Section):
    """Options of mts_dialog."""

    system: str | None = Field(
        SYSTEM, description="System prompt, with {section_text}; null: none. The default is our own wording."
    )
    parsing: Literal["strict", "loose"] = Field(
        "strict",
        description="strict: the turns of others than Doctor and Patient are dropped; loose: they are the assistant's "
        "where the name begins with Doctor, and the user's otherwise.",
    )
    id: str | None = Field(None, description="Field that names the row; without it, the place where it stood does.")

    @field_validator("system")
    @classmethod
    def _holds_the_note(cls, system: str | None) -> str | None:
        return holding(system, "section_text")


def transform(rows: Iterable[RawRow], options: Options) -> Reported:
    """One example per row, without a label; the dialogue is the group.

    Counted: turns of other speakers, dropped or not, and rows in which no patient has a say, which are left out.
    """
    examples, others, silent = [], Counter[str](), 0
    for row in rows:
        row.expect("dialogue", "section_text", "section_header")
        turns = []
        for speaker, text in _turns(row.text("dialogue"), row.origin):
            role = ROLES.get(speaker)
            if role is None:
                others[speaker] += 1
                if options.parsing == "strict":
                    continue
                role = "assistant" if speaker.startswith("Doctor") else "user"
            turns.append((role, text))
        messages = joined(turns)
        if not any(message["role"] == "user" for message in messages):
            silent += 1
            continue
        system = options.system and filled(options.system, {"section_text": row.text("section_text").strip()})
        name = row.id(options.id) if options.id else row.origin
        attributes = {"section_header": row.text("section_header")}
        examples.append(Example(name, name, with_system(messages, system), None, attributes=attributes))
    facts = {"turns_of_others": dict(sorted(others.items())), "without_a_patient": silent}
    return Reported(examples, facts)


def _turns(dialogue: str, where: str) -> list[tuple[str, str]]:
    """Speaker and text of each turn; a line without a speaker goes on with the turn before it."""
    found = list(SPEAKER.finditer(dialogue))
    if not found or dialogue[: found[0].start()].strip():
        raise RowError(
            f"{where}: expected lines that begin with a speaker's name and a colon; found {dialogue[:40]!r}."
        )
    ends = [*(each.start() for each in found[1:]), len(dialogue)]
    return [(each[1] or each[2] or each[3], dialogue[each.end() : end]) for each, end in zip(found, ends, strict=True)]
