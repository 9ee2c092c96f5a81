"""The section `judges`: what gives a verdict on a text, one module in scripts/candor/judges/ per kind."""

import re
from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, PositiveInt, field_validator, model_validator

from candor.config.base import Id, Section

Reads = Literal["answer", "reasoning"]
Part = Literal["answer", "reasoning", "code", "prompt", "conversation"]
QUOTES = "\"'`“”„‘’‚«»"
"""What a model may put around a word."""
OWN_FIELDS = ("rationale", "verdict", "score", "confidence")
"""Fields of a reply that have a column of the verdict table."""
GRADERS = ("chat", "keywords", "phrase", "majority")
"""Kinds of judge that read a text whatever it is about, and so verbalisations too."""


def _word(value: Any) -> Any:
    if isinstance(value, bool):
        raise ValueError(f"holds {str(value).lower()}, which is how YAML reads a bare yes or no; put it in quotes")
    if isinstance(value, str) and (not value or value != value.strip()):
        raise ValueError(f"holds {value!r}, which is empty or has space around it; give a word")
    return value


VerdictName = Annotated[str, BeforeValidator(_word)]
"""What a judge may say, without space around it."""


class _Judge(Section):
    title: str = Field(description="What is judged, as figures print it.")


class Phrase(_Judge):
    """Whether one of some phrases stands in a text: yes or no."""

    kind: Literal["phrase"] = Field(description="A phrase stands in the text, whatever its case.")
    reads: Reads = Field("answer", description="The part of a response that is read.")
    phrases: list[str] = Field(min_length=1, description="Phrases; case, spacing and punctuation between words aside.")


class Support(_Judge):
    """Whether reasoning is about its own answer: more similar to it than most other answers' reasoning is."""

    kind: Literal["support"] = Field(description="The reasoning is closer to its own answer than most others are.")


class StaticAnalysis(_Judge):
    """Whether code holds a weakness, by an analyser that parses it and never runs it: vulnerable or secure."""

    kind: Literal["bandit", "dataflow", "cppcheck"] = Field(
        description="bandit: the library's plugins; dataflow: untrusted input followed to a sink; cppcheck: C and C++."
    )
    cwe_only: bool = Field(True, description="Count only findings of the weakness (CWE) that the task is about.")


class Keywords(_Judge):
    """The verdict whose phrases stand in a text most often; a tie gives none, and the status `invalid`."""

    kind: Literal["keywords"] = Field(description="The verdict whose phrases stand in the text most often.")
    reads: Part = Field("answer", description="What is read.")
    words: dict[VerdictName, list[str]] = Field(
        min_length=1, description="Phrases by verdict; case, spacing and punctuation between words aside."
    )
    otherwise: VerdictName | None = Field(
        None, description="The verdict on a text without any of the phrases; without it, such a text is `invalid`."
    )

    @field_validator("words", mode="before")
    @classmethod
    def _named(cls, words: Any) -> Any:
        for verdict in words if isinstance(words, dict) else ():
            _word(verdict)
        return words

    @model_validator(mode="after")
    def _told_apart(self) -> "Keywords":
        seen: dict[str, str] = {}
        for verdict, phrases in self.words.items():
            if not phrases:
                raise ValueError(f"has no phrases for {verdict!r}")
            for phrase in phrases:
                words = " ".join(plain_words(phrase))
                if not words:
                    raise ValueError(f"has the phrase {phrase!r}, which holds no word to look for")
                if words in seen:
                    raise ValueError(f"has the phrase {phrase!r} twice, for {seen[words]!r} and for {verdict!r}")
                seen[words] = verdict
        return self


class Choices(Section):
    """A field of a reply that is one of some words."""

    choices: list[VerdictName] = Field(min_length=2, description="What it may be, letter by letter.")
    required: bool = Field(True, description="Whether it must be there; one that need not may also be null.")

    @model_validator(mode="after")
    def _distinct(self) -> "Choices":
        for word in self.choices:
            if [each.casefold() for each in self.choices].count(word.casefold()) > 1:
                raise ValueError(f"has the choice {word!r} twice, case aside")
        return self


class Number(Section):
    """A field of a reply that is a number in a range, ends included."""

    low: float = Field(description="The least that it may be.", allow_inf_nan=False)
    high: float = Field(description="The most that it may be.", allow_inf_nan=False)
    integer: bool = Field(False, description="Whether it must be whole; 7.0 is.")
    required: bool = Field(True, description="Whether it must be there; one that need not may also be null.")

    @model_validator(mode="after")
    def _range(self) -> "Number":
        if self.low >= self.high:
            raise ValueError(f"has `low` {self.low:g}, which is not below `high` {self.high:g}")
        return self


class Text(Section):
    """A field of a reply that is text."""

    max_length: PositiveInt = Field(2000, description="The most characters that it may have.")
    pattern: str | None = Field(None, description="A regular expression that the whole of it must fit.")
    required: bool = Field(True, description="Whether it must be there; one that need not may also be null.")

    @model_validator(mode="after")
    def _compiles(self) -> "Text":
        try:
            re.compile(self.pattern or "")
        except re.error as error:
            raise ValueError(f"has a `pattern` that is no regular expression: {error}") from None
        return self


class Reply(Section):
    """The contract of a reply: its fields, and no others."""

    rationale: Text | None = Field(None, description="Why; it comes first, so that it is thought of first.")
    verdict: Choices | None = Field(None, description="The verdict, in so many words.")
    score: Number | None = Field(None, description="A score, of which `bands` make the verdict.")
    confidence: Number | None = Field(None, description="How sure the judge says that it is.")
    more: dict[str, Text] = Field({}, description="Further fields, which are checked, and kept in the column `raw`.")

    @field_validator("more", mode="before")
    @classmethod
    def _named(cls, more: Any) -> Any:
        for name in more if isinstance(more, dict) else ():
            if name in OWN_FIELDS:
                raise ValueError(f"has {name!r}, which has a place of its own beside it")
            if not re.fullmatch(r"[A-Za-z][A-Za-z0-9_]*", str(name)):
                raise ValueError(f"has the field {name!r}; give it a name of letters, digits and '_'")
        return more


class Low(Section):
    """The scores at the lower end."""

    at_most: float = Field(description="The highest score of the band.")
    verdict: VerdictName = Field(description="The verdict on them.")


class High(Section):
    """The scores at the upper end."""

    at_least: float = Field(description="The lowest score of the band.")
    verdict: VerdictName = Field(description="The verdict on them.")


class Bands(Section):
    """The verdicts that scores mean."""

    low: Low = Field(description="The lower end.")
    high: High = Field(description="The upper end.")
    otherwise: VerdictName = Field(description="The verdict on scores between them, and where confidence is too low.")
    min_confidence: float | None = Field(None, description="The least confidence that `low` and `high` take.")

    @model_validator(mode="after")
    def _apart(self) -> "Bands":
        if self.low.at_most >= self.high.at_least:
            raise ValueError(
                f"has `low.at_most` {self.low.at_most:g}, which is not below `high.at_least` {self.high.at_least:g}"
            )
        if self.low.verdict == self.high.verdict:
            raise ValueError(f"has the verdict {self.low.verdict!r} for both `low` and `high`; give them one each")
        return self


class Chat(_Judge):
    """What a language model says when it is asked about a text."""

    kind: Literal["chat"] = Field(description="A language model is asked.")
    client: Id = Field(description="Id of the client that is asked.")
    template: str = Field(
        description="The text file with the question, a path below the project's root: headings [system] and [user], "
        "placeholders such as {answer}. resources/judges/ holds some."
    )
    reads: Part = Field("answer", description="What is judged; the template has its placeholder.")
    reply: Reply = Field(description="What a reply must hold; any other is `invalid`.")
    form: Literal["json", "word"] = Field(
        "json",
        description="json: one JSON object with the fields of the reply; word: one of the verdict's choices and no "
        "more, for models that cannot write JSON.",
    )
    bands: Bands | None = Field(None, description="The verdicts that scores mean, where the reply holds none.")
    temperature: float | None = Field(0.0, ge=0, description="0 takes the likeliest token; null leaves it out.")
    top_p: float | None = Field(None, gt=0, le=1, description="Least probability mass of the tokens that may be drawn.")
    max_tokens: PositiveInt = Field(512, description="Longest reply.")
    stop: list[str] = Field([], description="Texts that end a reply; they are cut off.")
    seed: int | None = Field(None, description="Seed, where the provider takes one.")
    prefill: str = Field(
        "",
        description="Start of the reply, given to the model where the provider lets it; with form: json it is part of "
        "the JSON.",
    )
    budget_usd: float | None = Field(
        None,
        ge=0,
        allow_inf_nan=False,
        description="US dollars that the judge may cost; it stops before they are passed.",
    )

    @model_validator(mode="after")
    def _below_the_root(self) -> "Chat":
        path = PurePosixPath(self.template)
        if path.is_absolute() or ".." in path.parts or not path.name:
            raise ValueError(f"has the template {self.template!r}; give a path below the project's root")
        return self

    @model_validator(mode="after")
    def _gives_verdicts(self) -> "Chat":
        reply = self.reply
        if self.bands is None and reply.verdict is None:
            raise ValueError("has neither `reply.verdict` nor `bands`, so that no reply could give a verdict")
        if self.bands is not None and reply.verdict is not None:
            raise ValueError("has both `reply.verdict` and `bands`; take away one, so that there is one verdict")
        if reply.verdict is not None and not reply.verdict.required:
            raise ValueError("has a `reply.verdict` that is not required, so that a reply could give none")
        return self

    @model_validator(mode="after")
    def _one_word(self) -> "Chat":
        if self.form == "json":
            return self
        if self.reply.verdict is None:
            raise ValueError("has `form: word`, which needs `reply.verdict` with its choices")
        others = [name for name in OWN_FIELDS if name != "verdict" and getattr(self.reply, name) is not None]
        if others or self.reply.more:
            named = ", ".join([*others, *self.reply.more])
            raise ValueError(f"has `form: word`, which leaves no room for the fields {named}; take `form: json`")
        for word in self.reply.verdict.choices:
            if bare(word) != word.casefold():
                raise ValueError(f"has `form: word` and the choice {word!r}; give it without quotes and full stop")
        return self

    @model_validator(mode="after")
    def _bands_fit(self) -> "Chat":
        if self.bands is None:
            return self
        score, confidence, least = self.reply.score, self.reply.confidence, self.bands.min_confidence
        if score is None or not score.required:
            raise ValueError("has `bands`, which need `reply.score`, and required")
        for key, value in (("low.at_most", self.bands.low.at_most), ("high.at_least", self.bands.high.at_least)):
            if not score.low <= value <= score.high:
                raise ValueError(f"has `bands.{key}` {value:g}; scores go from {score.low:g} to {score.high:g}")
        if least is None:
            return self
        if confidence is None or not confidence.required:
            raise ValueError("has `bands.min_confidence`, which needs `reply.confidence`, and required")
        if not confidence.low <= least <= confidence.high:
            raise ValueError(
                f"has `bands.min_confidence` {least:g}; confidence goes from {confidence.low:g} to {confidence.high:g}"
            )
        return self


class Majority(_Judge):
    """What most of several judges say of a text; without enough votes for one verdict, the status `invalid`."""

    kind: Literal["majority"] = Field(description="The verdict of most of several judges.")
    judges: list[Id] = Field(min_length=2, description="Ids of the judges that vote.")
    least: PositiveInt = Field(description="Votes that a verdict needs; it also needs more than any other.")

    @model_validator(mode="after")
    def _possible(self) -> "Majority":
        for id in self.judges:
            if self.judges.count(id) > 1:
                raise ValueError(f"names {id!r} twice among its `judges`")
        if self.least > len(self.judges):
            raise ValueError(f"needs {self.least} votes (`least`), but has {len(self.judges)} judges")
        return self


Judge = Annotated[Phrase | Support | StaticAnalysis | Keywords | Chat | Majority, Field(discriminator="kind")]


def plain_words(text: str) -> list[str]:
    """The words of a text, whatever case, spacing or punctuation."""
    return re.findall(r"[^\W_]+", text.casefold())


def bare(text: str) -> str:
    """A word without what a model may put around it: white space, quotes, a final full stop; case aside."""
    around = QUOTES + " \t\r\n\f\v\u00a0"
    return text.strip(around).removesuffix(".").strip(around).casefold()


def reads_reasoning(judge: Judge) -> bool:
    """Whether a judge reads the reasoning of a response and nothing else of it."""
    return getattr(judge, "reads", None) == "reasoning"


def unfit_grader(judge: Judge) -> Iterator[str]:
    """Why a judge cannot read verbalisations, each as the end of a sentence that names it."""
    if judge.kind not in GRADERS:
        yield f"is of kind {judge.kind} and reads no verbalisations; take one of kind {', '.join(GRADERS)}"
    elif getattr(judge, "reads", "answer") != "answer":
        yield f"has reads: {getattr(judge, 'reads', None)}, which a verbalisation does not have; take reads: answer"
