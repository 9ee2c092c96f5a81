"""Examples in the dataset contract, as Python values, and the errors of rows that are none."""

import hashlib
import json
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from candor.errors import CandorError
from candor.schemas.base import ROLES
from candor.schemas.dataset import SPLITS


class RowError(CandorError):
    """A row cannot become an example; the message names the row and says why."""


class RawRow(NamedTuple):
    """A source's row: where it stood, and its fields. From a derived dataset: the example's id, and its columns."""

    origin: str
    fields: dict[str, Any]

    def text(self, name: str) -> str:
        """A field that must be text."""
        value = self.get(name)
        if not isinstance(value, str):
            raise RowError(f"{self.origin}: {name} holds a {type(value).__name__}, not text.")
        return value

    def id(self, name: str) -> str:
        """A field that names something: text or a number."""
        value = self.get(name)
        if isinstance(value, bool) or not isinstance(value, (str, int, float)) or value == "":
            raise RowError(f"{self.origin}: {name} is {value!r}, which names nothing; give text or a number.")
        return str(value)

    def number(self, name: str) -> float | None:
        """A field that holds a number, or text that spells one; None where it is absent or empty."""
        value = self.fields.get(name)
        if value is None or value == "":
            return None
        try:
            return float(value)
        except (TypeError, ValueError):
            raise RowError(f"{self.origin}: {name} is {value!r}, which is not a number.") from None

    def expect(self, *names: str) -> None:
        """RowError, which says what is expected and what is found, unless the row has all of some fields."""
        if any(name not in self.fields for name in names):
            found = ", ".join(sorted(map(str, self.fields))) or "none"
            raise RowError(f"{self.origin}: expected the fields {', '.join(names)}; found {found}.")

    def get(self, name: str) -> Any:
        """A field that must be there."""
        if name not in self.fields:
            raise RowError(f"{self.origin}: has no field {name}; it has {', '.join(sorted(self.fields))}.")
        return self.fields[name]


@dataclass
class Example:
    """One example; `split` may be None until splits are dealt out."""

    example_id: str
    group_id: str
    messages: list[dict[str, str]]
    label: str | None
    rating: float | None = None
    split: str | None = None
    attributes: dict[str, Any] = field(default_factory=dict)
    truncated: bool = False

    def row(self) -> dict[str, Any]:
        """The example as a row of the dataset table."""
        return {**self.__dict__, "attributes": json.dumps(self.attributes, sort_keys=True, ensure_ascii=False)}


class Reported(NamedTuple):
    """What a transform gives that has something to say about it: examples, and facts for the record."""

    examples: list[Example]
    facts: dict[str, Any]


def messages_of(value: Any, origin: str) -> list[dict[str, str]]:
    """Messages from plain text (one user turn), a list of {role, content}, or such a list as JSON."""
    if isinstance(value, str):
        listed = _json_list(value)
        value = [{"role": "user", "content": value}] if listed is None else listed
    if not isinstance(value, list) or not value:
        raise RowError(f"{origin}: is neither text nor a list of messages.")
    messages = []
    for number, message in enumerate(value, start=1):
        role = message.get("role") if isinstance(message, dict) else None
        content = message.get("content") if isinstance(message, dict) else None
        if not isinstance(role, str) or not isinstance(content, str):
            raise RowError(f"{origin}: message {number} is not an object with the texts role and content.")
        if role not in ROLES:
            raise RowError(f"{origin}: message {number} has the unknown role {role!r}; known are {', '.join(ROLES)}.")
        messages.append({"role": role, "content": content})
    if not any(message["content"].strip() for message in messages):
        raise RowError(f"{origin}: holds no text.")
    return messages


def _json_list(text: str) -> list[Any] | None:
    """The list of messages that a text spells as JSON; None for any other text, even if it starts with a bracket."""
    if not text.lstrip().startswith("["):
        return None
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):  # the latter: a text of very many brackets
        return None
    listed = isinstance(value, list) and value and all(isinstance(m, dict) and "role" in m for m in value)
    return value if listed else None


def absent_of_splits(splits: Mapping[str, str], found: Collection[str]) -> list[str]:
    """Ids of examples that are not among those found, while others of their split are; `splits` says each one's.

    A verbaliser may leave out whole splits, and nothing else.
    """
    there = {splits[id] for id in found if id in splits}
    return [id for id, split in splits.items() if split in there and id not in found]


def split_of(value: Any, origin: str) -> str:
    """A split's name as the contract has it; `dev` and `val` are the field's other words for validation."""
    name = {"dev": "validation", "val": "validation", "valid": "validation"}.get(value, value)
    if name not in SPLITS:
        raise RowError(f"{origin}: split is {value!r}, which is not one of {', '.join(SPLITS)}.")
    return str(name)


def shuffled(groups: Iterable[str], seed: int) -> list[str]:
    """Groups in an order that depends on the seed and their names alone: adding one does not move the others."""
    return sorted(set(groups), key=lambda group: hashlib.sha256(f"{seed} {group}".encode()).digest())
