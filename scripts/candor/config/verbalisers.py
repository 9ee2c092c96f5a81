"""The section `verbalisers`: what puts a subject's inner state into words, from its activations or from its prompt."""

from pathlib import PurePosixPath
from typing import Annotated, Literal

from pydantic import Field, PositiveFloat, PositiveInt, model_validator

from candor.config.base import Id, Section

Split = Literal["train", "validation", "test"]
READABLE = ("tokens", "positions", "spans")
"""What a capture may store for a verbaliser: activations of single tokens, or of spans of a few."""


class _Verbaliser(Section):
    splits: list[Split] = Field([], description="Splits of the dataset that are put into words; none named: all.")
    temperature: float = Field(0.0, ge=0, description="0 takes the likeliest token.")
    top_p: float = Field(1.0, gt=0, le=1, description="Least probability mass of the tokens that may be drawn.")
    seed: int = Field(0, description="Seed of what is drawn.")

    @model_validator(mode="after")
    def _each_split_once(self) -> "_Verbaliser":
        if len(set(self.splits)) != len(self.splits):
            raise ValueError(f"has the splits {', '.join(self.splits)}; name each once")
        return self


class ChatVerbaliser(_Verbaliser):
    """A language model that is told what the subject read. It sees no activation, and its tables say so."""

    kind: Literal["chat"] = Field(description="A language model is shown the prompt; it sees no activation.")
    client: Id = Field(description="Id of the client that is asked.")
    template: str = Field(
        description="The text file with the question, a path below the project's root: headings [system] and [user], "
        "the placeholder {prompt}, and {response} where it is shown. resources/verbalisers/ holds some."
    )
    response: bool = Field(
        False, description="Show what the subject answered as well; the template has {response} for it."
    )
    max_tokens: PositiveInt = Field(200, description="Longest text; one that reaches it is truncated.")
    stop: list[str] = Field([], description="Texts that end a reply; they are cut off.")
    budget_usd: float | None = Field(
        None,
        ge=0,
        allow_inf_nan=False,
        description="US dollars that the verbaliser may cost; it stops before they are passed.",
    )

    @model_validator(mode="after")
    def _below_the_root(self) -> "ChatVerbaliser":
        path = PurePosixPath(self.template)
        if path.is_absolute() or ".." in path.parts or not path.name:
            raise ValueError(f"has the template {self.template!r}; give a path below the project's root")
        return self


class ActivationVerbaliser(_Verbaliser):
    """A model finetuned to read an activation in the place of a token, and to say in words what it holds.

    Prompt, injected token and norm are those of the checkpoint's own sidecar, nla_meta.yaml, since the model has learnt
    them and reads no others. What the sidecar does not say is given here: whose activations it reads, and the mean's
    error. `layer` stands in both, so that a wrong one is known before anything runs.
    """

    kind: Literal["nla"] = Field(description="A model that reads the activation itself.")
    subject: Id = Field(description="Id of the subject whose activations it reads; it was made for one model alone.")
    layer: int = Field(ge=0, description="Block, counted from 0, whose output it reads; the sidecar must say the same.")
    model: Id = Field(description="Id of the verbaliser's model, whose files hold an nla_meta.yaml.")
    reconstructor: Id | None = Field(
        None, description="Id of the model that makes the activation again from the words, for mse, cosine and fve."
    )
    mean_mse: PositiveFloat | None = Field(
        None,
        le=1,
        description="Error of predicting the mean direction, to which fve is relative; without it that of the "
        "capture's own activations. Qwen2.5-7B at layer 20: 0.7335, on the release's training data.",
    )
    rows: list[int] = Field(
        [], description="Which of an example's stored tokens, counted from 0, -1 the last; none named: all."
    )
    max_new_tokens: PositiveInt = Field(200, description="Longest text; one that reaches it is truncated.")
    top_k: int = Field(0, ge=0, description="Number of likeliest tokens that may be drawn; 0: all.")
    batch_size: PositiveInt | Literal["auto"] = Field(
        "auto", description="Activations that are put into words side by side; auto: 16 on a CPU, 64 elsewhere."
    )

    @model_validator(mode="after")
    def _consistent(self) -> "ActivationVerbaliser":
        if len(set(self.rows)) != len(self.rows):
            raise ValueError(f"has the rows {self.rows}; name each once")
        if self.reconstructor == self.model:
            raise ValueError(f"has {self.model!r} as both `model` and `reconstructor`; they are two models")
        if self.mean_mse is not None and self.reconstructor is None:
            raise ValueError("has `mean_mse`, which nothing is compared with unless a `reconstructor` is named")
        return self


Verbaliser = Annotated[ChatVerbaliser | ActivationVerbaliser, Field(discriminator="kind")]
