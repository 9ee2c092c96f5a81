"""Prompts that ask a language model for two prompts, one from each of the two situations that it, or another, wrote
for `situations` (docs/high_stakes.md)."""

from collections.abc import Iterable

from pydantic import Field, PositiveInt

from candor.config.base import Section
from candor.data.examples import Example, RawRow, Reported
from candor.data.pair_requests import Form, Variations, ask_for_prompts, in_situations, read_pair

READS = "generations"


class Options(Section):
    """Options of pair_prompts."""

    variants: PositiveInt = Field(1, description="Requests per pair of situations, each with variations of its own.")
    read: Form = Field("tags", description="Form of the replies that hold the situations.")
    form: Form = Field("tags", description="Form of the replies that are asked for.")
    setting: str | None = Field(None, description="Whom the prompts are sent to, in words; an assistant of any kind.")
    variations: Variations = Field(Variations(), description="What prompts vary in.")
    seed: int = Field(0, description="Seed of the draws.")


def transform(rows: Iterable[RawRow], options: Options) -> Reported:
    """`variants` requests per reply, without a label; replies that hold no two situations are counted, never guessed.

    The group is the pair of situations, so that no split tears its variants apart.
    """
    examples, invalid = [], 0
    for row in rows:
        theme, reply = Example(**row.fields["example"]), row.fields["generation"]
        pair = read_pair(reply["answer"] or "", options.read) if reply["status"] == "ok" else None
        if pair is None:
            invalid += 1
            continue
        for i in range(options.variants):
            name = f"{theme.example_id}.{reply['sample_index']}.{i}"
            drawn = options.variations.draw(name, options.seed)
            request = ask_for_prompts(
                in_situations(pair), options.variations.in_words(drawn), options.setting, options.form
            )
            attributes = {**theme.attributes, **drawn, "situations": pair._asdict()}
            turn = {"role": "user", "content": request}
            examples.append(Example(name, theme.group_id, [turn], None, split=theme.split, attributes=attributes))
    return Reported(examples, {"invalid_replies": invalid, "wording": "reworded"})
