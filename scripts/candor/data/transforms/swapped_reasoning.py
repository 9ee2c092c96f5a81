"""Prompts that end in the middle of the assistant's turn, after the reasoning that the other arm gave.

Generation goes on from there, which tells whether the answer follows from the reasoning or from the prompt.
"""

from collections.abc import Iterable, Iterator

from pydantic import Field

from candor.config.base import Section
from candor.data.examples import Example, RawRow
from candor.responses import join

READS = "generations"


class Options(Section):
    """Options of swapped_reasoning."""

    arms: tuple[str, str] = Field(description="The two arms whose reasoning is exchanged.")


def transform(rows: Iterable[RawRow], options: Options) -> Iterator[Example]:
    """One example per prompt whose group has reasoning in both arms; the first sample's reasoning is taken."""
    first = [row.fields for row in rows if row.fields["generation"]["sample_index"] == 0]
    reasoning = {
        (fields["example"]["group_id"], fields["example"]["label"]): fields["generation"]["reasoning"]
        for fields in first
        if fields["generation"]["reasoning"]
    }
    other = dict(zip(options.arms, reversed(options.arms), strict=True))
    for fields in first:
        prompt = fields["example"]
        own = reasoning.get((prompt["group_id"], prompt["label"]))
        given = reasoning.get((prompt["group_id"], other.get(prompt["label"])))
        if own and given:
            turn = {"role": "assistant", "content": join(given, "")}
            yield Example(**{**prompt, "messages": [*prompt["messages"], turn]})
