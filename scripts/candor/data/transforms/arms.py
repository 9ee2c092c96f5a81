"""Arms of an experiment: examples whose last user turn starts with an arm's prefix (a trigger, a decoy, or nothing)."""

import random
from collections.abc import Iterable, Iterator
from typing import Literal

from pydantic import Field

from candor.config.base import Section
from candor.data.examples import Example, RawRow, RowError, shuffled

READS = "examples"


class Options(Section):
    """Options of arms."""

    prefixes: dict[str, list[str]] = Field(
        min_length=2, description="Arm -> what is put before the last user turn; one of several is drawn."
    )
    assign: Literal["every", "one"] = Field(
        "every", description="every: each example stands in every arm; one: groups are dealt out, each to one arm."
    )
    seed: int = Field(0, description="Seed of the draws.")


def transform(rows: Iterable[RawRow], options: Options) -> Iterator[Example]:
    """Examples named `id.arm`, labelled with their arm; group, split and any assistant's turn stay."""
    examples = [Example(**row.fields) for row in rows]
    arms = list(options.prefixes)
    order = shuffled((example.group_id for example in examples), options.seed)
    dealt = {group: arms[i % len(arms)] for i, group in enumerate(order)}
    for example in examples:
        for arm in arms if options.assign == "every" else [dealt[example.group_id]]:
            choices = options.prefixes[arm]
            prefix = random.Random(f"{options.seed} {example.example_id} {arm}").choice(choices)
            yield Example(
                example_id=f"{example.example_id}.{arm}",
                group_id=example.group_id,
                messages=_prefixed(example, prefix),
                label=arm,
                rating=example.rating,
                split=example.split,
                attributes={**example.attributes, "arm": arm, "prefix": prefix},
                truncated=example.truncated,
            )


def _prefixed(example: Example, prefix: str) -> list[dict[str, str]]:
    messages = [dict(message) for message in example.messages]
    for message in reversed(messages):
        if message["role"] == "user":
            message["content"] = prefix + message["content"]
            return messages
    raise RowError(f"{example.example_id}: has no user turn that a prefix could be put before.")
