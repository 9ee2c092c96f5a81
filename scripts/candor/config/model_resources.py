"""The section `run.resources`: what a model's jobs ask of their machine, where the estimate does not fit."""

from pydantic import Field

from candor.config.base import Section


class ModelResources(Section):
    """What overrules the estimate for all jobs that load a model; no job is told, so a change makes nothing again."""

    gpus: int | None = Field(
        None,
        ge=0,
        description="GPUs, where a profile names an accelerator; 0 keeps the model on CPU nodes. profiles/local-gpu "
        "takes 1, 2, 4 or 8.",
    )
    memory_gb: float | None = Field(None, gt=0, description="Main memory in GB at the first attempt.")
    hours: float | None = Field(None, gt=0, description="Longest runtime of a job, at the first attempt.")
