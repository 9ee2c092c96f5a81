"""What a model has read of a transcript at a position, as texts for a monitor that reads words."""

from collections.abc import Mapping, Sequence
from typing import Any

from candor.baselines.text import conversations
from candor.config.captures import Span
from candor.responses import OPEN, split


def texts_until(rows: Sequence[Mapping[str, Any]], position: Span) -> list[str]:
    """The text of each dataset row up to a span's end: the prompt; then the reasoning; at `end` the answer as well."""
    return conversations([{"messages": _read(row["messages"], position)} for row in rows], None, "left").texts


def reasoning_of(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """The reasoning alone of the turn that ends each row; empty where there is none."""
    return [_parts(row["messages"][-1])[0] for row in rows]


def _read(messages: Sequence[Mapping[str, str]], position: Span) -> list[Mapping[str, str]]:
    *prompt, last = messages
    if last["role"] != "assistant":
        return list(messages)
    read = {"last_prompt": 0, "end": 2}.get(position, 1)
    turn = "\n".join(filter(None, _parts(last)[:read]))
    return [*prompt, {"role": "assistant", "content": turn}] if turn else prompt


def _parts(turn: Mapping[str, str]) -> tuple[str, str]:
    """Reasoning and answer of a turn; empty for what is not there."""
    if turn["role"] != "assistant":
        return "", ""
    said = split(turn["content"], reasoning=OPEN in turn["content"])
    return said.reasoning or "", said.answer or ""
