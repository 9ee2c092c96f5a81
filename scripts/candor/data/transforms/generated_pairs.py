"""Pairs of prompts, one with high stakes and one with low, that a language model wrote (docs/high_stakes.md).

Which side is meant to be which stands in the attribute `intended`; what it is, a judge has to say.
"""

from collections.abc import Iterable

from pydantic import Field

from candor.config.base import Section
from candor.data.dialogues import with_system
from candor.data.examples import Example, RawRow, Reported
from candor.data.pair_requests import Form, read_pair

READS = "generations"


class Options(Section):
    """Options of generated_pairs."""

    form: Form = Field("tags", description="Form of the replies: tags, json or lines.")
    system: str | None = Field(None, description="System prompt put before each prompt.")
    drop: list[str] = Field(["situations", "shots"], description="Attributes that the examples lose.")


def transform(rows: Iterable[RawRow], options: Options) -> Reported:
    """Two examples per reply, `id.high` and `id.low`, without a label; the pair's group is its request's.

    Replies that hold no two different texts in their form, or are not whole, are counted, never guessed.
    """
    examples, invalid = [], 0
    for row in rows:
        request, reply = Example(**row.fields["example"]), row.fields["generation"]
        pair = read_pair(reply["answer"] or "", options.form) if reply["status"] == "ok" else None
        if pair is None:
            invalid += 1
            continue
        sample = reply["sample_index"]
        name = request.example_id if sample == 0 else f"{request.example_id}.{sample}"
        attributes = {key: value for key, value in request.attributes.items() if key not in options.drop}
        for side, text in pair._asdict().items():
            examples.append(
                Example(
                    example_id=f"{name}.{side}",
                    group_id=request.group_id,
                    messages=with_system([{"role": "user", "content": text}], options.system),
                    label=None,
                    split=request.split,
                    attributes={**attributes, "pair": name, "intended": side},
                )
            )
    return Reported(examples, {"invalid_replies": invalid})
