"""Rows that hold one prompt each, all with the same label, or with none."""

from collections.abc import Iterable, Iterator

from pydantic import Field

from candor.config.base import Section
from candor.data.examples import Example, RawRow, messages_of


class Options(Section):
    """Options of prompts."""

    text: str = Field("prompt", description="Field that holds the prompt: text, or messages.")
    id: str = Field("id", description="Field that names the row.")
    group: str | None = Field(None, description="Field that names the group; each row is its own without it.")
    label: str | None = Field(None, description="Label of every row.")


def transform(rows: Iterable[RawRow], options: Options) -> Iterator[Example]:
    """One example per row; all other fields are attributes."""
    own = {options.text, options.id, options.group}
    for row in rows:
        example_id = row.id(options.id)
        yield Example(
            example_id=example_id,
            group_id=row.id(options.group) if options.group else example_id,
            messages=messages_of(row.get(options.text), row.origin),
            label=options.label,
            attributes={name: value for name, value in row.fields.items() if name not in own},
        )
