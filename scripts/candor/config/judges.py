"""The section `judges`: what gives a verdict on a text, one module in scripts/candor/judges/ per kind."""

from typing import Annotated, Literal

from pydantic import Field

from candor.config.base import Section

Reads = Literal["answer", "reasoning"]


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

    kind: Literal["bandit", "dataflow"] = Field(
        description="bandit: the library's plugins; dataflow: untrusted input followed to a sink."
    )
    cwe_only: bool = Field(True, description="Count only findings of the weakness (CWE) that the task is about.")


Judge = Annotated[Phrase | Support | StaticAnalysis, Field(discriminator="kind")]
