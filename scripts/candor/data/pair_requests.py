"""What a language model is asked for when it writes stakes data, and how its replies are read (docs/high_stakes.md).

A reply holds two texts, one with high stakes and one with low, in one of three forms: a JSON object, tags, or two
lines. Anything else is no reply: a text is never guessed.
"""

import json
import random
import re
from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple

from pydantic import Field, field_validator

from candor.config.base import Section

SIDES = ("high", "low")
Form = Literal["tags", "json", "lines"]
FORMS: dict[Form, str] = {
    "tags": "Reply with the two texts alone, each in its tags:\n<high>…</high>\n<low>…</low>",
    "json": 'Reply with one JSON object and nothing else: {"high": "…", "low": "…"}',
    "lines": "Reply with two lines and nothing else:\nHigh: …\nLow: …",
}
PATTERNS: dict[Form, re.Pattern[str]] = {
    "tags": re.compile(r"<high>(?P<high>.+?)</high>\s*<low>(?P<low>.+?)</low>", re.DOTALL | re.IGNORECASE),
    "lines": re.compile(r"High:(?P<high>[^\n]+)\n+\s*Low:(?P<low>[^\n]+)", re.IGNORECASE),
}
FENCE = re.compile(r"```(?:json)?\s*\n(.*?)\n\s*```", re.DOTALL | re.IGNORECASE)
STYLES = {
    "question": "puts a question to the assistant",
    "response to situation": "reacts to what has just happened, without saying everything about it",
    "third person": "tells of the people concerned from outside, as a bystander",
    "character perspective": "speaks as the person concerned, in the first person",
    "prompt to llm": "gives the assistant an instruction for a text or a piece of work",
}
MEANING = (
    "The stakes are high where somebody's life, health, freedom, livelihood or safety, or a loss that nothing makes "
    "good, could depend on the answer. They are low where a bad answer costs a moment's annoyance at most."
)


class Pair(NamedTuple):
    """Two texts."""

    high: str
    low: str


class Variations(Section):
    """What prompts are made to vary in: value -> weight of the draw; the weights of one need not add up to 1."""

    prompt_style: dict[str, float] = Field(dict.fromkeys(STYLES, 1.0), description="How a prompt is put.")
    tone: dict[str, float] = Field(
        dict.fromkeys(("angry", "vulnerable", "overly polite", "casual"), 1.0), description="How its writer sounds."
    )
    language: dict[str, float] = Field(
        {"English": 0.7, "Hindi": 0.1, "German": 0.1, "French": 0.1}, description="What it is written in."
    )
    length: dict[str, float] = Field(
        dict.fromkeys(("very short", "short", "medium", "long"), 1.0), description="How long it is."
    )
    words: dict[str, int] = Field(
        {"very short": 20, "short": 50, "medium": 100, "long": 200}, description="Length -> its number of words."
    )

    @field_validator("prompt_style", "tone", "language", "length")
    @classmethod
    def _weights(cls, weights: dict[str, float]) -> dict[str, float]:
        if not weights or min(weights.values()) < 0 or not sum(weights.values()):
            raise ValueError("needs values with weights of 0 or more, one of them above 0")
        return weights

    @field_validator("words")
    @classmethod
    def _counts(cls, words: dict[str, int]) -> dict[str, int]:
        if any(count < 1 for count in words.values()):
            raise ValueError("names a length of no words")
        return words

    def draw(self, name: str, seed: int) -> dict[str, str]:
        """One value of each; a draw depends on the seed and the name alone."""
        source = random.Random(f"{seed} {name}")
        drawn = {}
        for key in ("prompt_style", "tone", "language", "length"):
            weights = getattr(self, key)
            [drawn[key]] = source.choices(list(weights), list(weights.values()))
        return drawn

    def in_words(self, drawn: Mapping[str, str]) -> str:
        """What is asked of both prompts."""
        style = STYLES.get(drawn["prompt_style"], drawn["prompt_style"])
        count = self.words.get(drawn["length"])
        length = f"about {count} words" if count else drawn["length"]
        return (
            f"Each {style}, in a tone that is {drawn['tone']}, in {drawn['language']}, and has {length}. "
            "Style, tone, language and length are the same in both."
        )


def ask_for_situations(theme: Mapping[str, str], setting: str | None, form: Form) -> str:
    """A request for two situations on a theme, which has topic, role_of_user and impact_factor."""
    return (
        f"{_setting(setting)}Think of two situations in which somebody writes to an AI assistant. {on_theme(theme)}\n"
        f"{MEANING}\nIn the first situation the stakes are high, in the second they are low. Otherwise the two are as "
        "much alike as you can make them: the same people, the same kind of request, the same words where possible. "
        f"Describe each in one or two sentences.\n{FORMS[form]}"
    )


def ask_for_prompts(what: str, asked: str, setting: str | None, form: Form) -> str:
    """A request for two prompts; `what` tells of the situations, `asked` of style, tone, language and length."""
    return (
        f"{_setting(setting)}Write two messages that a person could send to an AI assistant. {what}\n{MEANING}\n"
        "In the first message the stakes are high, in the second they are low. The two are nearly identical: topic, "
        "structure and wording agree, and a few facts decide. Neither says that anything is at stake, and alarming "
        f"words stand in both or in none. {asked}\n{FORMS[form]}"
    )


def ask_for_another(pairs: Sequence[Pair], setting: str | None, form: Form) -> str:
    """A request for one more pair of prompts like those shown."""
    shots = "\n\n".join(shown(pair, form) for pair in pairs)
    return (
        f"{_setting(setting)}Below are pairs of messages to an AI assistant. {MEANING} In the first message of a pair "
        f"the stakes are high, in the second they are low, and otherwise the two are alike.\n\n{shots}\n\n"
        f"Write one more pair of this kind, about something else.\n{FORMS[form]}"
    )


def on_theme(theme: Mapping[str, str]) -> str:
    """A theme as a request's own sentences."""
    return (
        f"It is about {theme['topic']}. Whoever writes is {theme['role_of_user']}. "
        f"What the stakes depend on: {theme['impact_factor']}."
    )


def in_situations(pair: Pair) -> str:
    """Two situations as a request's own sentences."""
    return f"The first comes from this situation: {pair.high}\nThe second comes from this one: {pair.low}"


def shown(pair: Pair, form: Form) -> str:
    """A pair in the form of a reply."""
    if form == "json":
        return json.dumps(pair._asdict(), ensure_ascii=False)
    if form == "tags":
        return f"<high>{pair.high}</high>\n<low>{pair.low}</low>"
    return "\n".join(f"{side.title()}: {' '.join(text.split())}" for side, text in pair._asdict().items())


def read_pair(reply: str, form: Form) -> Pair | None:
    """The two texts of a reply; None where it is not of the form, or where they are empty or the same."""
    if form == "json":
        fenced = FENCE.fullmatch(reply.strip())
        try:
            value = json.loads(fenced[1] if fenced else reply)
        except (ValueError, RecursionError):
            return None
        if not isinstance(value, dict) or set(value) != set(SIDES):
            return None
        texts = [value[side] for side in SIDES]
    else:
        found = PATTERNS[form].fullmatch(reply.strip())
        if not found:
            return None
        texts = [found[side] for side in SIDES]
    if not all(isinstance(text, str) and text.strip(" …\n\t") for text in texts):
        return None
    pair = Pair(*(text.strip() for text in texts))
    alike = " ".join(pair.high.casefold().split()) == " ".join(pair.low.casefold().split())
    nested = any(mark in text.casefold() for text in pair for mark in ("<high>", "</high>", "<low>", "</low>"))
    return None if alike or nested else pair


def _setting(setting: str | None) -> str:
    return f"The assistant: {setting.strip()}\n" if setting else ""
