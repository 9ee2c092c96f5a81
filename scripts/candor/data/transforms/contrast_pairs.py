"""Rows that hold both sides of a contrast: two texts on the same topic, alike but for what is to be detected."""

from collections.abc import Iterable, Iterator

from pydantic import Field

from candor.config.base import Section
from candor.data.examples import Example, RawRow, messages_of


class Options(Section):
    """Options of contrast_pairs."""

    sides: dict[str, str] = Field(description="Field that holds a side's text -> the side's label.")
    id: str = Field("pair_id", description="Field that names the pair.")
    rating: str = Field("rating_{side}", description="Field with a side's rating, where rows have one.")


def transform(rows: Iterable[RawRow], options: Options) -> Iterator[Example]:
    """One example per side; the pair is the group, all other fields are attributes."""
    for row in rows:
        pair = row.id(options.id)
        ratings = {side: options.rating.format(side=side) for side in options.sides}
        own = {options.id, *options.sides, *ratings.values()}
        for side, label in options.sides.items():
            yield Example(
                example_id=f"{pair}.{side}",
                group_id=pair,
                messages=messages_of(row.get(side), f"{row.origin}, {side}"),
                label=label,
                rating=row.number(ratings[side]),
                attributes={name: value for name, value in row.fields.items() if name not in own},
            )
