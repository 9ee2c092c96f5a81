"""Dialogues whose system prompt begins with the sentence that a language model wrote for `rewrite_prompts`."""

from collections.abc import Iterable
from dataclasses import replace

from pydantic import Field, PositiveInt

from candor.config.base import Section
from candor.data.dialogues import system_of
from candor.data.examples import Example, RawRow, Reported, RowError
from candor.data.transforms.toolace import FIRST_SENTENCE, with_first_sentence

READS = "generations"


class Options(Section):
    """Options of rewritten."""

    max_words: PositiveInt = Field(60, description="Longest sentence, in words; a longer reply is invalid.")


def transform(rows: Iterable[RawRow], options: Options) -> Reported:
    """The dialogues that the prompts were made from. A reply that is not one sentence is counted, and leaves its
    dialogue out: no sentence is put in its place."""
    examples, invalid = [], 0
    for row in rows:
        prompt, reply = Example(**row.fields["example"]), row.fields["generation"]
        dialogue = prompt.attributes.get("dialogue")
        if not isinstance(dialogue, list):
            raise RowError(f"{row.origin}: has no attribute dialogue; make the prompts with rewrite_prompts.")
        if reply["sample_index"]:
            continue
        sentence = (reply["answer"] or "").strip()
        found = FIRST_SENTENCE.match(sentence)
        if (
            reply["status"] != "ok"
            or not found
            or found.group() != sentence
            or len(sentence.split()) > options.max_words
        ):
            invalid += 1
            continue
        system = with_first_sentence(system_of(dialogue, row.origin), sentence)
        attributes = {name: value for name, value in prompt.attributes.items() if name != "dialogue"}
        messages = [{"role": "system", "content": system}, *dialogue[1:]]
        examples.append(replace(prompt, messages=messages, attributes=attributes))
    return Reported(examples, {"invalid_replies": invalid})
