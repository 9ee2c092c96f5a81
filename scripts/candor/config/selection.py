"""The section `run`: what is made of all that the registries name."""

from pydantic import Field, PositiveInt

from candor.config.base import Id, Section
from candor.config.model_resources import ModelResources
from candor.config.storage import Storage


class Estimates(Section):
    """What `make cost` takes GPU-hours from, beside the parameters and blocks of the models."""

    tflops: float = Field(312, gt=0, description="Peak rate of one accelerator in 10^12 FLOP/s; an A100's in bfloat16.")
    memory_gb: float = Field(80, gt=0, description="Memory of one accelerator.")
    mfu: float = Field(0.4, gt=0, le=1, description="Share of the peak that reading and training reach.")
    decode_mfu: float = Field(0.05, gt=0, le=1, description="Share of the peak that writing token by token reaches.")
    tokens: PositiveInt = Field(300, description="Tokens of an example, where its dataset is not made yet.")
    examples: dict[Id, PositiveInt] = Field(
        {}, description="Examples of datasets that are not made yet; others take theirs from what they are made from."
    )


class Run(Section):
    """What this run makes."""

    figures: list[Id] = Field(description="Ids of the figures of results/figures/all.")
    quick: list[Id] = Field([], description="Ids of the figures of results/figures/quick, a first look in minutes.")
    shards: dict[Id, PositiveInt] = Field(
        {}, description="Jobs that a dataset's model work is spread over, by dataset; 1 where absent."
    )
    resources: dict[Id, ModelResources] = Field(
        {}, description="What a model's jobs ask of their machine, by model, where the estimate does not fit."
    )
    storage: Storage = Field(Storage(), description="Buckets that keep results; none lies in one otherwise.")
    estimates: Estimates = Field(Estimates(), description="What `make cost` takes GPU-hours from.")
