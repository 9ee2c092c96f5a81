"""The section `run`: what is made of all that the registries name."""

from pydantic import Field, PositiveInt

from candor.config.base import Id, Section


class Run(Section):
    """What this run makes."""

    figures: list[Id] = Field(description="Ids of the figures of results/figures/all.")
    quick: list[Id] = Field([], description="Ids of the figures of results/figures/quick, a first look in minutes.")
    shards: dict[Id, PositiveInt] = Field(
        {}, description="Jobs that a dataset's model work is spread over, by dataset; 1 where absent."
    )
