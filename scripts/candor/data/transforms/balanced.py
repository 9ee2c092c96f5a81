"""As many examples of each label as there are of the rarest."""

from collections.abc import Iterable, Iterator

from pydantic import Field

from candor.config.base import Section
from candor.data.examples import Example, RawRow, shuffled

READS = "examples"


class Options(Section):
    """Options of balanced."""

    seed: int = Field(0, description="Seed of the draw.")


def transform(rows: Iterable[RawRow], options: Options) -> Iterator[Example]:
    """A seeded draw of each label's examples within each split, as many as the rarest has; in their order."""
    examples = [Example(**row.fields) for row in rows]
    drawn: set[str] = set()
    for split in dict.fromkeys(example.split for example in examples):
        by_label: dict[str | None, list[str]] = {}
        for example in examples:
            if example.split == split:
                by_label.setdefault(example.label, []).append(example.example_id)
        rarest = min(map(len, by_label.values()))
        for ids in by_label.values():
            drawn.update(shuffled(ids, options.seed)[:rarest])
    return (example for example in examples if example.example_id in drawn)
