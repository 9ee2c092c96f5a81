"""Rows of the mental health statements: `statement`, what someone wrote, and `status` (docs/high_stakes.md)."""

from collections.abc import Iterable

from pydantic import Field

from candor.config.base import Section
from candor.data.dialogues import with_system
from candor.data.examples import Example, RawRow, Reported

SYSTEM = "You are an assistant on a website where people write about how they feel. Answer the person who writes."


class Options(Section):
    """Options of mental_health."""

    system: str | None = Field(SYSTEM, description="System prompt; null: none. The default is our own wording.")
    statuses: list[str] | None = Field(None, description="Values of `status` that are kept; all without it.")
    id: str | None = Field(None, description="Field that names the row; without it, the place where it stood does.")


def transform(rows: Iterable[RawRow], options: Options) -> Reported:
    """One example per row, without a label; the row is the group. Rows without a statement are counted."""
    examples, empty = [], 0
    for row in rows:
        row.expect("statement", "status")
        text = "" if row.get("statement") is None else row.text("statement").strip()
        if not text:
            empty += 1
            continue
        if options.statuses is not None and row.get("status") not in options.statuses:
            continue
        name = row.id(options.id) if options.id else row.origin
        messages = with_system([{"role": "user", "content": text}], options.system)
        examples.append(Example(name, name, messages, None, attributes={"status": row.get("status")}))
    return Reported(examples, {"without_statement": empty})
