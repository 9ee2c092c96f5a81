"""What is known of a value: whether untrusted input is in it, and to what it can do no harm any more.

Tags of harmlessness are the number of a weakness (`089`), or a part of what it takes:
`022:up`, no `..` in a path; `022:absolute`, not an absolute path; `022:resolved`, links and `..` resolved;
`020:low` and `020:high`, a number with a lower and an upper bound; `020:url`, a URL of a known host;
`020:local` and `020:single`, a URL that starts with `/`, and not with `//`; `020:any`, looked at in some way.
"""

import ast
import functools
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from candor.judges.flow.events import Call

Kind = Literal["", "text", "number", "path", "list", "dict", "request", "file"]
HOLE = "\0"
"""Stands in `Value.text` for what the source does not give."""
LONGEST, MOST = 10_000, 1_000
"""Characters of a text, and elements of a list, that are kept."""
INJECTIONS = frozenset({"022", "078", "079", "089"})
"""Weaknesses where a value's characters do the harm."""
BOUNDS = frozenset({"020:low", "020:high"})
CHECKED = frozenset({"020:any"})
ANYTHING = INJECTIONS | BOUNDS | CHECKED | {"020:url", "502"}
"""Tags of a value that is one of a few that the program names."""


class Unknown:
    """The literal of a value that the source does not give."""


UNKNOWN = Unknown()


@dataclass(frozen=True, eq=False)
class Value:
    """An abstract value."""

    origin: str | None = None
    """The untrusted input in it, in words; None: no untrusted input is in it."""
    safe: frozenset[str] = frozenset()
    """Tags of what its untrusted parts can do no harm to."""
    inputs: frozenset[str] = frozenset()
    """Names of the untrusted inputs that it was made from."""
    kind: Kind = ""
    literal: Any = UNKNOWN
    """The value itself, where the source gives it; of a parameter, its default number."""
    text: str | None = None
    """Of text, or of a list of texts: its literal pieces, and HOLE for the rest; None where it may be no text."""
    elements: tuple["Value", ...] | None = None
    """Of a list or tuple that the source spells out."""
    fallback: Any = UNKNOWN
    """What the source gives in its place, where there is no other value: `"x"` of `name or "x"`."""
    call: "Call | None" = None
    """The call that gave it."""
    condition: ast.expr | None = None
    """Of a truth value: the expression that it was computed by."""
    parameter: bool = False
    """Whether it is a parameter of a plain function, as it came in."""
    name: str = ""
    """Of what the program does not define itself: its full name."""
    members: dict[str, "Value"] = field(default_factory=dict)
    """Of a dictionary that the source spells out: its values by key."""

    def __post_init__(self) -> None:
        if self.text is not None and len(self.text) > LONGEST:  # a program may double it line by line
            object.__setattr__(self, "text", self.text[:LONGEST])
        if self.elements is not None and len(self.elements) > MOST:
            object.__setattr__(self, "elements", None)

    def cleared(self, tags: Iterable[str]) -> "Value":
        """The same value, of which more is known to be harmless; trusted values stay as they are."""
        return self if self.origin is None else replace(self, safe=self.safe | frozenset(tags))

    def tainted(self, weakness: str) -> bool:
        """Whether untrusted input in it can still do that harm."""
        return self.origin is not None and weakness not in self.safe

    @property
    def known(self) -> bool:
        """Whether the source gives the value itself."""
        return self.literal is not UNKNOWN and self.origin is None

    @property
    def looked_at(self) -> bool:
        """Whether some condition looked at one of its untrusted parts."""
        return any(tag.startswith("020:any") for tag in self.safe)


TRUSTED = Value()


def untrusted(origin: str, name: str, kind: Kind = "", **more: Any) -> Value:
    """Untrusted input: `origin` names it in words, `name` is what it is told apart by."""
    return Value(origin=origin, inputs=frozenset({name}), kind=kind, **more)


def constant(literal: Any) -> Value:
    """A value that the source gives."""
    if isinstance(literal, (str, bytes)):
        text = literal if isinstance(literal, str) else literal.decode("latin-1")
        return Value(literal=literal, text=text, kind="text")
    number = isinstance(literal, (int, float)) and not isinstance(literal, bool)
    return Value(literal=literal, kind="number" if number else "")


def combined(values: Iterable[Value], kind: Kind = "", text: str | None = None) -> Value:
    """A value made of others: untrusted where one of them is, harmless where all untrusted ones are.

    Only "some condition looked at it" needs no more than one.
    """
    parts = [value for value in values if value.origin is not None]
    if not parts:
        return Value(kind=kind, text=text)
    safe = frozenset.intersection(*(part.safe for part in parts))
    looked_at = {tag for part in parts for tag in part.safe if tag.startswith("020:any")}
    inputs = frozenset().union(*(part.inputs for part in parts))
    return Value(origin=parts[0].origin, safe=safe | looked_at, inputs=inputs, kind=kind, text=text)


def either(one: Value, other: Value) -> Value:
    """The value of a name to which two ways lead."""
    if one is other:
        return one
    parts = [value for value in (one, other) if value.origin is not None]
    same = one.known and other.known and type(one.literal) is type(other.literal) and one.literal == other.literal
    return Value(
        origin=parts[0].origin if parts else None,
        safe=frozenset.intersection(*(part.safe for part in parts)) if parts else frozenset(),
        inputs=one.inputs | other.inputs,
        kind=one.kind if one.kind == other.kind else one.kind or other.kind,
        literal=one.literal if same else UNKNOWN,
        text=max((value.text for value in (*parts, one, other) if value.text is not None), key=len, default=None),
        call=one.call if one.call is other.call else None,
        condition=one.condition if one.condition is other.condition else None,
        parameter=one.parameter and other.parameter,
    )


def element(items: Value) -> Value:
    """An item of a list, a file or another value that is gone through."""
    if items.elements:
        return functools.reduce(either, items.elements)
    if items.origin is None:
        return TRUSTED
    return Value(origin=items.origin, safe=items.safe, inputs=items.inputs)
