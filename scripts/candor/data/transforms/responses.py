"""Generations as examples: each prompt with the response that a subject gave."""

import re
from collections.abc import Iterable, Iterator
from typing import Literal

from pydantic import Field

from candor.config.base import Section
from candor.data.examples import Example, RawRow
from candor.responses import join
from candor.schemas.status import STATUSES

READS = "generations"
SENTENCE_END = re.compile(r"""(?<!^\d)(?<!^\d\d)[.!?]["')]*(?=\s|$)""", re.MULTILINE)
"""Where a sentence ends; the point behind a line's number in a list ends none."""


class Options(Section):
    """Options of responses. Whatever is left out is left out before arms are dealt, so alike in both."""

    statuses: list[Literal[STATUSES]] = Field(  # type: ignore[valid-type]  # the one list is a value
        ["ok", "truncated"], description="Statuses of the responses that are kept; the others are counted as dropped."
    )
    truncated: Literal["keep", "sentence"] = Field(
        "keep",
        description="What to do with a truncated answer: keep it, or cut it after its last whole sentence (and drop it "
        "where there is none).",
    )


def transform(rows: Iterable[RawRow], options: Options) -> Iterator[Example]:
    """One example per response: the prompt's turns, then the assistant's; label, group and split are the prompt's."""
    for row in rows:
        prompt, response = row.fields["example"], row.fields["generation"]
        if response["status"] not in options.statuses or response["answer"] is None:
            continue
        answer = response["answer"]
        if response["status"] == "truncated" and options.truncated == "sentence":
            answer = _whole_sentences(answer)
            if not answer:
                continue
        text = response["text"]
        if answer != response["answer"]:
            text = answer if response["reasoning"] is None else join(response["reasoning"], answer)
        sample = response["sample_index"]
        turns = prompt["messages"]
        if turns[-1]["role"] == "assistant":  # the response went on with it, and its text holds it
            turns = turns[:-1]
        yield Example(
            **{
                **prompt,
                "example_id": prompt["example_id"] if sample == 0 else f"{prompt['example_id']}.{sample}",
                "messages": [*turns, {"role": "assistant", "content": text}],
                "truncated": response["status"] == "truncated" and options.truncated == "keep",
            }
        )


def _whole_sentences(text: str) -> str:
    """A text up to its last sentence's end; nothing where no sentence ends."""
    ends = [found.end() for found in SENTENCE_END.finditer(text)]
    return text[: ends[-1]] if ends else ""
