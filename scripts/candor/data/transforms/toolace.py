"""Rows of ToolACE: `system`, a prompt that lists functions, and `conversations`, turns with the keys from and value
(docs/high_stakes.md)."""

import re
from collections.abc import Iterable
from typing import Any

from pydantic import Field

from candor.config.base import Section
from candor.data.dialogues import joined, with_system
from candor.data.examples import Example, RawRow, Reported, RowError

ROLES = {"user": "user", "human": "user", "assistant": "assistant", "gpt": "assistant", "tool": "tool"}
FIRST_SENTENCE = re.compile(r"^\s*.*?[.!?](?=\s|$)", re.DOTALL)
OPENING = "You are an assistant that does what a user asks by calling functions of other programs."


class Options(Section):
    """Options of toolace."""

    first_sentence: str | None = Field(
        OPENING,
        description="What the system prompt's first sentence becomes; null keeps it, say for `rewrite_prompts`. The "
        "default is our own wording.",
    )
    tool_role: str = Field(
        "user", pattern="^(user|tool)$", description="Role of what tools answer: user, as in the study, or tool."
    )
    id: str | None = Field(None, description="Field that names the row; without it, the place where it stood does.")


def transform(rows: Iterable[RawRow], options: Options) -> Reported:
    """One example per row, without a label; the row is the group. `tool_turns` counts what tools answered."""
    examples, tool_turns, changed = [], 0, 0
    for row in rows:
        row.expect("system", "conversations")
        given = row.text("system")
        system = given if options.first_sentence is None else with_first_sentence(given, options.first_sentence)
        turns = [_turn(turn, row.origin) for turn in _listed(row)]
        tool_turns += sum(role == "tool" for role, _ in turns)
        changed += system != given
        messages = joined((options.tool_role if role == "tool" else role, text) for role, text in turns)
        if not messages:
            raise RowError(f"{row.origin}: conversations holds no turn with text.")
        name = row.id(options.id) if options.id else row.origin
        examples.append(Example(name, name, with_system(messages, system.strip() or None), None))
    return Reported(examples, {"tool_turns": tool_turns, "first_sentences_replaced": changed})


def with_first_sentence(prompt: str, sentence: str) -> str:
    """A prompt whose first sentence is another; a prompt in which no sentence ends has it put before."""
    found = FIRST_SENTENCE.match(prompt)
    rest = prompt[found.end() :] if found else f"\n{prompt}" if prompt.strip() else ""
    return sentence.strip() + rest


def _listed(row: RawRow) -> list[Any]:
    turns = row.get("conversations")
    if not isinstance(turns, list):
        raise RowError(f"{row.origin}: conversations holds a {type(turns).__name__}, not a list of turns.")
    return turns


def _turn(turn: Any, origin: str) -> tuple[str, str]:
    if not isinstance(turn, dict) or not isinstance(turn.get("value"), str) or turn.get("from") not in ROLES:
        found = (
            f"{turn.get('from')!r} and the keys {', '.join(sorted(map(str, turn)))}" if isinstance(turn, dict) else turn
        )
        raise RowError(
            f"{origin}: expected a turn with the text `value` and `from` of {', '.join(ROLES)}; found {found}."
        )
    return ROLES[turn["from"]], turn["value"]
