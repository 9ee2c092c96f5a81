"""Rows of Anthropic's HH-RLHF: `chosen` and `rejected`, each a transcript of turns that begin with Human: or
Assistant: after a blank line (docs/high_stakes.md)."""

import re
from collections.abc import Iterable
from typing import Literal

from pydantic import Field

from candor.config.base import Section
from candor.data.dialogues import joined, with_system
from candor.data.examples import Example, RawRow, Reported, RowError

SPEAKER = re.compile(r"\n\n(Human|Assistant):")
ROLES = {"Human": "user", "Assistant": "assistant"}
SYSTEM = "You are a chatbot. People come to you with questions, worries and small talk of every kind; answer them."


class Options(Section):
    """Options of hh_rlhf."""

    sides: list[Literal["chosen", "rejected"]] = Field(
        ["chosen"], min_length=1, description="Transcripts of a row that become examples."
    )
    system: str | None = Field(
        SYSTEM, description="System prompt put before each dialogue; null: none. The default is our own wording."
    )
    last_answer: bool = Field(True, description="Keep the assistant's turn that ends a transcript.")


def transform(rows: Iterable[RawRow], options: Options) -> Reported:
    """One example per row and side, without a label; the row is the group.

    Empty turns are left out, and neighbours of one role become one turn; `irregular` counts the transcripts with any.
    """
    examples, irregular = [], 0
    for row in rows:
        row.expect("chosen", "rejected")
        for side in options.sides:
            turns = _turns(row.text(side), f"{row.origin}, {side}")
            messages = joined(turns)
            irregular += len(messages) != len(turns)
            if not options.last_answer and messages and messages[-1]["role"] == "assistant":
                messages.pop()
            if not messages:
                raise RowError(f"{row.origin}, {side}: holds no turn with text.")
            examples.append(
                Example(
                    example_id=f"{row.origin}.{side}",
                    group_id=row.origin,
                    messages=with_system(messages, options.system),
                    label=None,
                    attributes={"side": side},
                )
            )
    return Reported(examples, {"irregular": irregular})


def _turns(transcript: str, where: str) -> list[tuple[str, str]]:
    before, *parts = SPEAKER.split(transcript)
    if before.strip() or not parts:
        raise RowError(f"{where}: expected a transcript that begins with a blank line and Human: or Assistant:.")
    return [(ROLES[speaker], text) for speaker, text in zip(parts[::2], parts[1::2], strict=True)]
