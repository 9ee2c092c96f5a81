"""What a weakness is looked for in, and what is found."""

import ast
from collections.abc import Sequence
from typing import NamedTuple

from candor.judges.flow.events import Event, line
from candor.judges.flow.names import words


class Program(NamedTuple):
    """A program's syntax tree, and what happens to values in it."""

    tree: ast.Module
    events: Sequence[Event]

    def vocabulary(self) -> frozenset[str]:
        """The words of its names and texts, comments aside."""
        found: set[str] = set()
        for node in ast.walk(self.tree):
            for text in (
                getattr(node, "id", None),
                getattr(node, "attr", None),
                getattr(node, "name", None),
                getattr(node, "arg", None),
                getattr(node, "value", None) if isinstance(node, ast.Constant) else None,
            ):
                if isinstance(text, str):
                    found.update(words(text))
        return frozenset(found)


class Finding(NamedTuple):
    """A weakness: on which line, and what is wrong there."""

    line: int
    message: str


def finding(event: Event, message: str) -> Finding:
    """What is wrong with an event."""
    return Finding(line(event), message)
