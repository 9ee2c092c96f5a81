"""Prompts whose label stands beside them, as the file's name does in rows of text files: a file per category."""

from collections.abc import Iterable, Iterator

from pydantic import Field

from candor.config.base import Section
from candor.data.examples import Example, RawRow, RowError, messages_of


class Options(Section):
    """Options of categories."""

    text: str = Field("text", description="Field that holds the prompt: text, or messages.")
    category: str = Field("file", description="Field that holds the category; of a text file, its name without ending.")
    labels: dict[str, str] | None = Field(
        None,
        description="Category -> label; a category that it lacks is an error. Without it the category is the label.",
    )


def transform(rows: Iterable[RawRow], options: Options) -> Iterator[Example]:
    """One example per row, named by its place and a group of its own; all other fields are attributes."""
    for row in rows:
        row.expect(options.text, options.category)
        category = row.id(options.category)
        if options.labels is not None and category not in options.labels:
            raise RowError(
                f"{row.origin}: {options.category} is {category!r}, which `labels` does not name; it names "
                f"{', '.join(options.labels) or 'nothing'}."
            )
        yield Example(
            example_id=row.origin,
            group_id=row.origin,
            messages=messages_of(row.get(options.text), row.origin),
            label=category if options.labels is None else options.labels[category],
            attributes={name: value for name, value in row.fields.items() if name != options.text},
        )
