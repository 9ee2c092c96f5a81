"""Rows that hold one prompt each, all with the same label, or with none."""

from collections.abc import Iterable, Iterator
from itertools import islice

from pydantic import Field, PositiveInt

from candor.config.base import Section
from candor.data.examples import Example, RawRow, messages_of


class Options(Section):
    """Options of prompts."""

    text: str = Field("prompt", description="Field that holds the prompt: text, or messages.")
    id: str | None = Field("id", description="Field that names the row; null: the place where it stood names it.")
    group: str | None = Field(None, description="Field that names the group; each row is its own without it.")
    label: str | None = Field(None, description="Label of every row.")
    until: str | None = Field(
        None, description="A mark that ends the text where it stands; HelpSteer2 writes later turns after <extra_id_1>."
    )
    every: PositiveInt = Field(1, description="Take the first of so many rows; HelpSteer2 lists each prompt twice.")


def transform(rows: Iterable[RawRow], options: Options) -> Iterator[Example]:
    """One example per row; all other fields are attributes."""
    own = {options.text, options.id, options.group}
    for row in islice(rows, None, None, options.every):
        example_id = row.id(options.id) if options.id else row.origin
        text = row.get(options.text)
        if options.until is not None and isinstance(text, str):
            text = text.split(options.until)[0].strip()
        yield Example(
            example_id=example_id,
            group_id=row.id(options.group) if options.group else example_id,
            messages=messages_of(text, row.origin),
            label=options.label,
            attributes={name: value for name, value in row.fields.items() if name not in own},
        )
