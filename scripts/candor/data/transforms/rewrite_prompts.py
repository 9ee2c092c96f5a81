"""Prompts that ask a language model to write the first sentence of a system prompt anew; its answers are put in by
the transform `rewritten` (docs/high_stakes.md)."""

from collections.abc import Iterable, Iterator
from dataclasses import replace

from pydantic import Field, field_validator

from candor.config.base import Section
from candor.data.dialogues import filled, holding, system_of
from candor.data.examples import Example, RawRow
from candor.data.transforms.toolace import FIRST_SENTENCE

READS = "examples"
FORM = (
    "Below is the first sentence of the instructions that an AI assistant was given. Write it anew: the same duty in "
    "your own words, one sentence, addressed to the assistant, no quotation marks. Reply with the sentence alone.\n\n"
    "{sentence}"
)


class Options(Section):
    """Options of rewrite_prompts."""

    form: str = Field(FORM, description="The request; {sentence} is filled in. The default is our own wording.")

    @field_validator("form")
    @classmethod
    def _holds_the_sentence(cls, form: str) -> str:
        holding(form, "sentence")
        return form


def transform(rows: Iterable[RawRow], options: Options) -> Iterator[Example]:
    """One prompt per example; the attribute `dialogue` keeps its messages."""
    for row in rows:
        example = Example(**row.fields)
        prompt = system_of(example.messages, row.origin)
        found = FIRST_SENTENCE.match(prompt)
        request = filled(options.form, {"sentence": (found.group() if found else prompt).strip()})
        attributes = {**example.attributes, "dialogue": example.messages}
        yield replace(example, messages=[{"role": "user", "content": request}], attributes=attributes)
