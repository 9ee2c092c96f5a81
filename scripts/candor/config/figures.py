"""The section `figures`: what is drawn from which task or experiment."""

from typing import Literal

from pydantic import Field, model_validator

from candor.config.base import Id, Section

READS = {
    "probe_comparison": ("metrics", "selection", "model"),
    "roc": ("metrics", "scores", "selection", "model"),
    "text_vs_probe": ("metrics", "selection", "model"),
    "label_distribution": ("datasets",),
    "layer_sweep": ("experiment", "model"),
    "variation_heatmaps": ("experiment", "model"),
}
"""What each plot is drawn from; those that read an experiment name one, the others a task."""


class Figure(Section):
    """One figure: a PDF, a PNG and a CSV of what is drawn."""

    plot: Literal[
        "probe_comparison", "roc", "text_vs_probe", "label_distribution", "layer_sweep", "variation_heatmaps"
    ] = Field(description="Name of a module in scripts/candor/figures/plots/.")
    title: str = Field(description="Title above the axes.")
    caption: str = Field("", description="What the report says below the figure.")
    task: Id | None = Field(None, description="Id of the task that is drawn.")
    experiment: Id | None = Field(None, description="Id of the experiment that is drawn.")

    @model_validator(mode="after")
    def _drawn_from_one(self) -> "Figure":
        wanted, other = ("experiment", "task") if "experiment" in READS[self.plot] else ("task", "experiment")
        if getattr(self, wanted) is None or getattr(self, other) is not None:
            raise ValueError(f"needs `{wanted}`, and no `{other}`, with plot {self.plot}")
        return self
