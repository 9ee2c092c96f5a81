"""Rows that name what data can be about, combined: topic x role of the user x impact factor, each combination a prompt
that asks a language model for two situations, or at once for two prompts (docs/high_stakes.md)."""

from collections.abc import Iterable
from itertools import product
from typing import Literal

from pydantic import Field, PositiveInt

from candor.config.base import Section
from candor.data.examples import Example, RawRow, Reported, RowError, shuffled
from candor.data.pair_requests import Form, Variations, ask_for_prompts, ask_for_situations, on_theme

KINDS = ("topic", "role_of_user", "impact_factor")


class Options(Section):
    """Options of situations."""

    n: PositiveInt = Field(description="Combinations that are drawn.")
    ask: Literal["situations", "prompts"] = Field(
        "situations", description="situations: two situations, for `pair_prompts`; prompts: the pair itself."
    )
    form: Form = Field("tags", description="Form of the reply: tags, json or lines.")
    name: str = Field("situation", pattern=r"^[a-z0-9][a-z0-9_.-]*$", description="What the ids begin with.")
    setting: str | None = Field(None, description="Whom the prompts are sent to, in words; an assistant of any kind.")
    topics: list[str] | None = Field(None, description="Topics that are drawn from; all without it.")
    variations: Variations = Field(Variations(), description="With ask: prompts, what these vary in.")
    seed: int = Field(0, description="Seed of the draws.")


def transform(rows: Iterable[RawRow], options: Options) -> Reported:
    """One prompt per combination, without a label; attributes hold the combination and the variations drawn."""
    lists: dict[str, list[str]] = {kind: [] for kind in KINDS}
    for row in rows:
        kinds = [kind for kind in KINDS if kind in row.fields]
        if len(kinds) != 1:
            raise RowError(
                f"{row.origin}: expected one of the fields {', '.join(KINDS)}; found {', '.join(row.fields)}."
            )
        lists[kinds[0]].append(row.text(kinds[0]))
    for topic in options.topics or []:
        if topic not in lists["topic"]:
            raise RowError(f"situations: no row names the topic {topic!r}; they are: {'; '.join(lists['topic'])}.")
    if options.topics is not None:
        lists["topic"] = [topic for topic in lists["topic"] if topic in options.topics]
    themes = {"; ".join(each): dict(zip(KINDS, each, strict=True)) for each in product(*lists.values())}
    if options.n > len(themes):
        raise RowError(f"situations: `n` is {options.n}, and there are {len(themes)} combinations; set it lower.")
    digits = len(str(options.n - 1))
    examples = []
    for i, key in enumerate(shuffled(themes, options.seed)[: options.n]):
        name, theme = f"{options.name}-{i:0{digits}d}", themes[key]
        if options.ask == "situations":
            request, attributes = ask_for_situations(theme, options.setting, options.form), theme
        else:
            drawn = options.variations.draw(name, options.seed)
            asked = options.variations.in_words(drawn)
            request = ask_for_prompts(on_theme(theme), asked, options.setting, options.form)
            attributes = {**theme, **drawn}
        examples.append(Example(name, name, [{"role": "user", "content": request}], None, attributes=dict(attributes)))
    return Reported(examples, {"combinations": len(themes), "wording": "reworded"})
