"""Some examples of another dataset, as they are."""

from collections.abc import Iterable, Iterator

from pydantic import Field

from candor.config.base import Section
from candor.config.datasets import SplitName
from candor.data.examples import Example, RawRow

READS = "examples"


class Options(Section):
    """Options of subset."""

    where: dict[str, list[str]] = Field({}, description="Attribute -> the values that are kept; all must hold.")
    labels: list[str] | None = Field(None, description="Labels that are kept; all without it.")
    splits: list[SplitName] | None = Field(None, description="Splits that are kept; all without it.")


def transform(rows: Iterable[RawRow], options: Options) -> Iterator[Example]:
    """The examples whose attributes and label are asked for."""
    for row in rows:
        example = Example(**row.fields)
        if options.labels is not None and example.label not in options.labels:
            continue
        if options.splits is not None and example.split not in options.splits:
            continue
        if all(str(example.attributes.get(name)) in values for name, values in options.where.items()):
            yield example
