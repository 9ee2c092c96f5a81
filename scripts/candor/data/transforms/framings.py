"""Rows that hold one task in several framings: a prompt for each state that a model may be put into by it."""

from collections.abc import Iterable, Iterator

from pydantic import Field

from candor.config.base import Section
from candor.data.examples import Example, RawRow, messages_of


class Options(Section):
    """Options of framings."""

    framings: dict[str, str] = Field(
        {"normal": "normal", "eval_aware": "eval_aware", "deceptive": "deceptive"},
        min_length=1,
        description="Field that holds a framing's prompt -> the framing's label.",
    )
    id: str = Field("triple_id", description="Field that names the task; its framings are one group.")


def transform(rows: Iterable[RawRow], options: Options) -> Iterator[Example]:
    """One example per framing; the task is the group, all other fields, such as family and topic, are attributes."""
    for row in rows:
        row.expect(options.id, *options.framings)
        task = row.id(options.id)
        attributes = {name: value for name, value in row.fields.items() if name not in {options.id, *options.framings}}
        for framing, label in options.framings.items():
            yield Example(
                example_id=f"{task}.{framing}",
                group_id=task,
                messages=messages_of(row.get(framing), f"{row.origin}, {framing}"),
                label=label,
                attributes=dict(attributes),
            )
