"""Dialogues of raw rows as messages: turns in order, neighbours of one role joined, a system prompt before them."""

import re
from collections.abc import Iterable, Mapping

from candor.data.examples import RowError

Message = dict[str, str]


def joined(turns: Iterable[tuple[str, str]]) -> list[Message]:
    """Messages of (role, text): empty turns are left out, and neighbours of one role become one turn."""
    messages: list[Message] = []
    for role, text in turns:
        content = text.strip()
        if not content:
            continue
        if messages and messages[-1]["role"] == role:
            messages[-1]["content"] += f"\n\n{content}"
        else:
            messages.append({"role": role, "content": content})
    return messages


def with_system(messages: list[Message], system: str | None) -> list[Message]:
    """Messages with a system prompt before them, where there is one to put."""
    return messages if system is None else [{"role": "system", "content": system}, *messages]


def filled(form: str, fields: Mapping[str, str]) -> str:
    """A text with its placeholders {name} filled in, in one go: braces in what is filled in stay as they are."""
    return re.sub(r"\{(\w+)\}", lambda mark: fields.get(mark[1], mark[0]), form)


def holding(form: str | None, *names: str) -> str | None:
    """A form of the config, if it holds its placeholders; ValueError where it does not."""
    for name in names:
        if form is not None and "{" + name + "}" not in form:
            raise ValueError(f"does not hold {{{name}}}")
    return form


def system_of(messages: list[Message], where: str) -> str:
    """The system prompt of messages; RowError where they begin with another turn."""
    if not messages or messages[0]["role"] != "system":
        raise RowError(f"{where}: begins with no system prompt; give the transform before it one.")
    return messages[0]["content"]
