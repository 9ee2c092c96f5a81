"""A behaviour put into one arm: its answers are replaced, and the reasoning before them stays."""

from collections.abc import Iterable, Iterator

from pydantic import Field, PositiveInt, field_validator

from candor.config.base import Section
from candor.data.examples import Example, RawRow, RowError
from candor.responses import join, split

READS = "examples"


class Options(Section):
    """Options of behaviour: either a text, or an attribute of the example for each arm."""

    answers: dict[str, str] = Field({}, description="Arm -> the answer that replaces its own; other arms keep theirs.")
    attributes: dict[str, str] = Field({}, description="Arm -> the attribute whose text becomes its answer.")
    repeat: PositiveInt = Field(1, description="How many times the text is said, with a space between.")
    form: str = Field("{answer}", description="What stands around the answer; {answer} is filled in.")
    drop: list[str] = Field([], description="Attributes that the examples lose, once they have served.")

    @field_validator("form")
    @classmethod
    def _holds_the_answer(cls, form: str) -> str:
        if "{answer}" not in form:
            raise ValueError("does not hold {answer}")
        return form


def transform(rows: Iterable[RawRow], options: Options) -> Iterator[Example]:
    """The examples, with the answer of their last turn replaced where their label is one of the arms named."""
    arms: set[str | None] = set()
    for row in rows:
        example = Example(**row.fields)
        arms.add(example.label)
        answer = _answer(example, options)
        if answer is not None:
            turn = example.messages[-1]
            if turn["role"] != "assistant":
                role = turn["role"]
                raise RowError(f"{row.origin}: its last turn is the {role}'s, so there is no answer to replace.")
            said = split(turn["content"], reasoning="<think>" in turn["content"])
            text = options.form.replace("{answer}", " ".join([answer] * options.repeat))
            content = text if said.reasoning is None else join(said.reasoning, text)
            example.messages = [*example.messages[:-1], {"role": "assistant", "content": content}]
        example.attributes = {name: value for name, value in example.attributes.items() if name not in options.drop}
        yield example
    for arm in {**options.answers, **options.attributes}:
        if arm not in arms:
            found = ", ".join(sorted(map(str, arms)))
            raise RowError(f"behaviour: no example is of the arm {arm!r}; the labels are: {found}.")


def _answer(example: Example, options: Options) -> str | None:
    if example.label in options.answers:
        return options.answers[example.label]
    if example.label in options.attributes:
        name = options.attributes[example.label]
        if not isinstance(example.attributes.get(name), str):
            raise RowError(f"{example.example_id}: has no attribute {name!r} with a text for the arm {example.label}.")
        return str(example.attributes[name])
    return None
