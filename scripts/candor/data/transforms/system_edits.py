"""Changes to system prompts, as the study's sets had from version to version (docs/high_stakes.md): sentences dropped,
words replaced, a second system prompt removed. Label a dataset again after it."""

from collections.abc import Iterable
from dataclasses import replace

from pydantic import Field, model_validator

from candor.config.base import Section
from candor.data.examples import Example, RawRow, Reported, RowError

READS = "examples"


class Options(Section):
    """Options of system_edits."""

    drop: list[str] = Field([], description="Texts that are cut out wherever they stand in a system prompt.")
    replace: dict[str, str] = Field({}, description="Text -> what stands in its place, say where a word is misspelt.")
    one: bool = Field(False, description="Keep the first system prompt of a dialogue alone.")
    required: bool = Field(True, description="Stop where a text stands in no system prompt at all.")

    @model_validator(mode="after")
    def _does_something(self) -> "Options":
        if not (self.drop or self.replace or self.one):
            raise ValueError("changes nothing; give `drop`, `replace` or `one`")
        if "" in self.drop or "" in self.replace:
            raise ValueError("names an empty text, which stands everywhere")
        return self


def transform(rows: Iterable[RawRow], options: Options) -> Reported:
    """The examples, their system prompts changed; `changed` counts examples by what was changed in them."""
    edits = {**dict.fromkeys(options.drop, ""), **options.replace}
    counts = dict.fromkeys(edits, 0)
    examples, removed = [], 0
    for row in rows:
        example = Example(**row.fields)
        messages, seen = [], False
        for message in example.messages:
            if message["role"] == "system":
                if options.one and seen:
                    continue
                seen, message = True, dict(message)
                for text, other in edits.items():
                    counts[text] += text in message["content"]
                    message["content"] = _edited(message["content"], text, other)
                if not message["content"].strip():
                    continue
            messages.append(message)
        removed += len([m for m in example.messages if m["role"] == "system"]) > 1 and options.one
        examples.append(replace(example, messages=messages))
    missing = [text for text, count in counts.items() if not count]
    if missing and options.required:
        raise RowError(f"system_edits: no system prompt holds {missing[0]!r}; correct it, or set `required: false`.")
    facts = {"changed": counts} if edits else {}
    return Reported(examples, {**facts, **({"second_prompts_removed": removed} if options.one else {})})


def _edited(prompt: str, text: str, other: str) -> str:
    """A prompt with a text replaced; where it is cut out, the blank before it goes too."""
    if not other:
        prompt = prompt.replace(f" {text}", "")
    return prompt.replace(text, other).strip()
