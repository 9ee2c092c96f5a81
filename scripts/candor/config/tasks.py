"""The section `tasks`: what a monitor learns, and where it is measured."""

from typing import Annotated

from pydantic import Field, PositiveInt, StringConstraints

from candor.config.base import ID_PATTERN, Id, Section

Part = Annotated[str, StringConstraints(pattern=rf"^{ID_PATTERN}@(train|validation|test)$")]
"""One split of one dataset, `dataset@split`; also a name in paths, since ids have no @."""


class Learning(Section):
    """What every monitor learns from. A task is put together of parts, so that a job sees only what it uses."""

    classes: list[str] = Field(
        min_length=2, description="Labels of the dataset, negative first; other labels are skipped and counted."
    )
    train: Part = Field(description="Examples that probes, layers and thresholds are chosen on, `dataset@split`.")
    control: Part = Field(
        description="Benign examples, apart from training and evaluation, that set the threshold at the target FPR."
    )
    folds: int = Field(5, ge=2, description="Folds of the grouped cross-validation that selects layer and family.")
    seed: int = Field(0, description="Seed of folds, order of examples and bootstrap.")


class Training(Learning):
    """What a probe is trained with."""

    capture: Id = Field(description="Id of the capture that probes are trained on.")
    seeds: list[int] = Field(
        [0, 1, 2], min_length=1, description="Seeds of every probe: initialisation and held-out groups."
    )
    target_fpr: float = Field(0.01, gt=0, lt=1, description="False positive rate that the threshold aims at.")


class Contest(Training):
    """What is selected from."""

    probes: list[Id] = Field(min_length=1, description="Ids of the probes, simplest first; a tie is won by the first.")
    controls: list[Id] = Field(
        [], description="Ids of probes that are measured beside the others and never selected: what should tell little."
    )
    baselines: list[Id] = Field([], description="Ids of the baselines; all monitors are compared with the first.")

    @property
    def trained(self) -> list[str]:
        """All probes that are trained: those that are selected from, and the controls."""
        return [*self.probes, *self.controls]


class Bootstrapped(Learning):
    """What is measured on the training examples alone."""

    bootstrap: PositiveInt = Field(2000, description="Draws of the bootstrap.")


class Measurement(Contest, Bootstrapped):
    """What is measured on evaluation sets."""

    evaluation: list[Part] = Field(min_length=1, description="Examples that the monitors are measured on.")
    in_distribution: list[Part] = Field(
        [], description="Evaluation sets that stay out of the mean over datasets, being drawn like the training set."
    )


class Task(Measurement):
    """A classification task over examples, whole."""

    title: str = Field(description="What is detected, as figures print it.")


def dataset_of(part: str) -> str:
    """The dataset of `dataset@split`."""
    return part.rsplit("@", 1)[0]


def split_of(part: str) -> str:
    """The split of `dataset@split`."""
    return part.rsplit("@", 1)[1]
