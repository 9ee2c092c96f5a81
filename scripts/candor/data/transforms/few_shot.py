"""Prompts that show a language model some pairs that another wrote, and ask for one more, as the
deployment sets were made (docs/high_stakes.md)."""

import random
from collections.abc import Iterable

from pydantic import Field, PositiveInt

from candor.config.base import Section
from candor.data.examples import Example, RawRow, Reported, RowError
from candor.data.pair_requests import SIDES, Form, Pair, ask_for_another

READS = "examples"


class Options(Section):
    """Options of few_shot."""

    n: PositiveInt = Field(description="Prompts.")
    k: PositiveInt = Field(4, description="Pairs that each prompt shows.")
    form: Form = Field("tags", description="Form of the pairs shown, and of the reply: tags, json or lines.")
    name: str = Field("few-shot", pattern=r"^[a-z0-9][a-z0-9_.-]*$", description="What the ids begin with.")
    setting: str | None = Field(None, description="Whom the prompts are sent to, in words; an assistant of any kind.")
    seed: int = Field(0, description="Seed of the draws.")


def transform(rows: Iterable[RawRow], options: Options) -> Reported:
    """`n` prompts, without a label, each with `k` pairs drawn from all; the attribute `shots` names them."""
    pairs = _pairs(rows)
    if len(pairs) < options.k:
        raise RowError(f"few_shot: there are {len(pairs)} pairs, fewer than `k`, {options.k}; set it lower.")
    digits = len(str(options.n - 1))
    examples = []
    for i in range(options.n):
        name = f"{options.name}-{i:0{digits}d}"
        drawn = random.Random(f"{options.seed} {name}").sample(sorted(pairs), options.k)
        request = ask_for_another([pairs[pair] for pair in drawn], options.setting, options.form)
        examples.append(Example(name, name, [{"role": "user", "content": request}], None, attributes={"shots": drawn}))
    return Reported(examples, {"pairs": len(pairs), "wording": "reworded"})


def _pairs(rows: Iterable[RawRow]) -> dict[str, Pair]:
    """The pairs that are whole, by name."""
    sides: dict[str, dict[str, str]] = {}
    for row in rows:
        example = Example(**row.fields)
        if example.attributes.get("intended") not in SIDES or "pair" not in example.attributes:
            raise RowError(f"{row.origin}: has no attributes `pair` and `intended`; give examples of generated_pairs.")
        [text] = [message["content"] for message in example.messages if message["role"] == "user"]
        sides.setdefault(example.attributes["pair"], {})[example.attributes["intended"]] = text
    return {name: Pair(**both) for name, both in sides.items() if len(both) == len(SIDES)}
