"""What each name of a program holds at one point of it."""

import ast
import re
from collections.abc import Callable, Iterable
from typing import Optional

from candor.judges.flow.values import Value, either

SAME_METHODS = frozenset(
    "strip lstrip rstrip lower upper casefold title encode decode resolve absolute expanduser as_posix".split()
)
SAME_CALLS = frozenset(
    "str bytes int float list set tuple sorted os.fspath os.path.realpath os.path.abspath os.path.normpath "
    "os.path.expanduser os.path.normcase decimal.Decimal pathlib.Path pathlib.PurePath urllib.parse.unquote".split()
)
ACCESSORS = frozenset("get getlist getone get_argument get_json".split())


class State:
    """Values by the source text of the names, attributes, items and requests that hold them."""

    def __init__(self, values: dict[str, Value] | None = None) -> None:
        self.values = dict(values or {})

    def copy(self) -> "State":
        return State(self.values)

    def assign(self, key: str, value: Value) -> None:
        """Give a name a value; what was known of things reached through the name is forgotten."""
        pattern = re.compile(rf"(?<![\w.]){re.escape(key)}(?!\w)")
        self.values = {other: held for other, held in self.values.items() if not pattern.search(other)}
        self.values[key] = value

    def clear(self, keys: Iterable[str], tags: Iterable[str]) -> None:
        """Note that what some names hold can do no harm in some ways."""
        tags = frozenset(tags)
        for key in keys:
            if tags and key in self.values:
                self.values[key] = self.values[key].cleared(tags)
            owner = key.removesuffix(".filename").removesuffix(".name")
            if owner != key and owner in self.values:  # a file, or an archive's member, goes where its name says
                self.values[owner] = self.values[owner].cleared(tag for tag in tags if tag.startswith("022"))

    def clear_inputs(self, inputs: Iterable[str], tags: Iterable[str]) -> None:
        """Note the same of everything that is made of some untrusted inputs."""
        inputs = frozenset(inputs)
        self.clear([key for key, value in self.values.items() if value.inputs & inputs], tags)


def merged(states: Iterable[Optional["State"]]) -> Optional["State"]:
    """The state to which several ways lead; None where none does."""
    alive = [state for state in states if state is not None]
    if len(alive) < 2:
        return alive[0] if alive else None
    first, *others = alive
    values = dict(first.values)
    for other in others:
        for key in {**values, **other.values}:
            mine, theirs = values.get(key), other.values.get(key)
            if mine is not None and theirs is not None:
                values[key] = either(mine, theirs)
            elif key.isidentifier():
                values[key] = mine if mine is not None else other.values[key]
            elif mine is not None:
                del values[key]
    return State(values)


def stable(node: ast.expr) -> str | None:
    """The source text of an expression that gives the same each time: a name, an attribute, an item; else None."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute):
        return ast.unparse(node) if stable(node.value) else None
    if isinstance(node, ast.Subscript):
        fixed = isinstance(node.slice, ast.Constant) or stable(node.slice) is not None
        return ast.unparse(node) if fixed and stable(node.value) else None
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in ACCESSORS:
        fixed = all(isinstance(argument, ast.Constant) for argument in node.args)
        return ast.unparse(node) if fixed and stable(node.func.value) else None
    return None


def subjects(node: ast.expr, full: Callable[[ast.expr], str]) -> list[str]:
    """What a condition on an expression vouches for: its name, seen through calls that keep what matters."""
    if isinstance(node, ast.NamedExpr):
        return [node.target.id, *subjects(node.value, full)]
    if isinstance(node, ast.Attribute) and node.attr == "parts":
        return subjects(node.value, full)
    key = stable(node)
    if key is not None:
        return [key]
    if isinstance(node, ast.Call):
        if isinstance(node.func, ast.Attribute) and node.func.attr in SAME_METHODS:
            return subjects(node.func.value, full)
        if full(node.func) in SAME_CALLS and len(node.args) == 1:
            return subjects(node.args[0], full)
    return []
