"""The section `experiments`: jobs that train many small monitors on a task's training set."""

from typing import Annotated, Literal

from pydantic import Field

from candor.config.base import Id, Section


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


Experiment = Annotated[LayerSweep | VariationTransfer, Field(discriminator="kind")]
