"""What happens to values in a program, in the order in which it happens."""

import ast
from dataclasses import dataclass, field
from typing import Literal

from candor.judges.flow.values import TRUSTED, Value

Place = Literal["name", "attribute", "item", "keyword", "default", "key"]


@dataclass(frozen=True, eq=False)
class Call:
    """A call; `name` is the function's full name as far as imports tell (`os.path.join`, `cursor.execute`)."""

    node: ast.Call
    name: str
    method: str
    """The name's last part."""
    receiver: Value | None
    """The object whose method is called; None for a plain function, or one of a module."""
    args: tuple[Value, ...]
    keywords: dict[str, Value] = field(default_factory=dict)

    def argument(self, position: int, *names: str) -> Value | None:
        """An argument by position or by name; None where it is not given."""
        for name in names:
            if name in self.keywords:
                return self.keywords[name]
        return self.args[position] if position < len(self.args) else None

    def given(self, position: int, *names: str) -> Value:
        """As `argument`, with a trusted value where it is not given."""
        return self.argument(position, *names) or TRUSTED


@dataclass(frozen=True, eq=False)
class Bind:
    """A value gets a name: by assignment, as a keyword argument, a default, or an entry of a dictionary."""

    node: ast.AST
    name: str
    value: Value
    place: Place
    function: str
    """The function in which that happens; empty for a module's top level."""


@dataclass(frozen=True, eq=False)
class Return:
    """What a function that others call gives back; `view` where a web framework calls it."""

    node: ast.AST
    value: Value
    view: bool


@dataclass(frozen=True, eq=False)
class Index:
    """`container[index]`; `handled` are the exceptions that a `try` around it catches."""

    node: ast.AST
    container: Value
    index: Value
    handled: frozenset[str]


@dataclass(frozen=True, eq=False)
class Arithmetic:
    """`left op right`; `state` where the result changes what outlives the function."""

    node: ast.AST
    operator: type[ast.operator]
    left: Value
    right: Value
    state: bool


@dataclass(frozen=True, eq=False)
class Compare:
    """`left == right`, each with its source."""

    node: ast.AST
    left: tuple[str, Value]
    right: tuple[str, Value]


@dataclass(frozen=True, eq=False)
class Text:
    """A text that stands in the source, or is put together there, with HOLE for what is put in."""

    node: ast.AST
    text: str


Event = Call | Bind | Return | Index | Arithmetic | Compare | Text


def line(event: Event) -> int:
    """The line on which an event happens."""
    return int(getattr(event.node, "lineno", 1))
