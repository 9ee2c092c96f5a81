"""Questions that are answered in two ways: a contrast between what the answers admit, with the question held fixed."""

from collections.abc import Iterable, Iterator

from pydantic import Field

from candor.config.base import Section
from candor.data.examples import Example, RawRow


class Options(Section):
    """Options of yes_no_pairs."""

    id: str = Field("id", description="Field that names the question.")
    question: str = Field("question", description="Field with the question.")
    sides: list[str] = Field(
        ["denies", "admits"], min_length=2, description="Fields with the answers; their names are the labels."
    )


def transform(rows: Iterable[RawRow], options: Options) -> Iterator[Example]:
    """One example per question and answer, `id.side`; the question is the group, all other fields are attributes."""
    own = {options.id, options.question, *options.sides}
    for row in rows:
        question = row.id(options.id)
        for side in options.sides:
            yield Example(
                example_id=f"{question}.{side}",
                group_id=question,
                messages=[
                    {"role": "user", "content": row.text(options.question)},
                    {"role": "assistant", "content": row.text(side)},
                ],
                label=side,
                attributes={name: value for name, value in row.fields.items() if name not in own},
            )
