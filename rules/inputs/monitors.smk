"""Tasks, their probes and baselines, and the scores of these."""

from candor.config.baselines import PROMPTS, TEXT_KINDS


def task_id(wildcards):
    """The id of the task that a job belongs to: its own, or that of its experiment or figure."""
    if "figure" in wildcards.keys():
        figure = config["figures"][wildcards.figure]
        experiments = [figure["experiment"], *figure["experiments"]]
        if figure["task"]:
            return figure["task"]
        experiment = config["experiments"][next(filter(None, experiments))]
        return experiment.get("task") or experiment["tasks"][0]
    return wildcards.get("task") or experiment_of(wildcards)["task"]


def task_of(wildcards):
    """The config of the task that a job belongs to."""
    return config["tasks"][task_id(wildcards)]


def subject_of(wildcards):
    """The model behind the task's capture."""
    return base_of(config["captures"][task_of(wildcards)["capture"]]["subject"])


def families_of(probes):
    """The modules of the probes' families."""
    return [f"candor.probes.families.{config['probes'][probe]['family']}" for probe in probes]


def trained_of(task):
    """The probes that are trained for a task: those that are selected from, and the controls."""
    return [*task["probes"], *task["controls"]]


def training_gates(wildcards):
    """The gates of all that training reads."""
    task = task_of(wildcards)
    return gates_of(task["train"], task["control"])


def evaluation_gates(wildcards):
    """The gates between an evaluation part and all that training reads."""
    task = task_of(wildcards)
    return gates_of(task["train"], task["control"], wildcards.part)


def baselines_of(*kinds):
    """The ids of baselines of some kinds."""
    return [id for id, baseline in config["baselines"].items() if baseline["kind"] in kinds]


def baseline_of(wildcards):
    """The config of the baseline that a job is about."""
    return config["baselines"][wildcards.baseline]


def responses_read(wildcards, part):
    """What the subject of a task's capture answered to a part's texts, where the baseline reads it."""
    if baseline_of(wildcards)["reads"] == "text":
        return []
    return responses_of(task_of(wildcards)["capture"], part)


def baseline_module(wildcards):
    """The module of a text baseline's kind."""
    return f"candor.baselines.{baseline_of(wildcards)['kind']}"


def baseline_model(wildcards):
    """The facts of the model that a baseline asks or finetunes."""
    return f"results/models/{baseline_of(wildcards)['subject']}.json"


def baseline_model_config(wildcards):
    """The config of the model that a baseline asks or finetunes."""
    return f"models/{baseline_of(wildcards)['subject']}"


def prompt_files(wildcards):
    """The templates of a prompted baseline."""
    return [str(PROMPTS / f"{name}.txt") for name in baseline_of(wildcards)["templates"]]


def judged_part(wildcards):
    """The labels of a part's dataset by the judge that is a baseline."""
    return labels_of(dataset_of(wildcards.part), [baseline_of(wildcards)["judge"]])


def score_files(task, part):
    """The scores of all monitors of a task on one part."""
    return collect(
        "results/scores/{task}/{part}/{monitors}.parquet",
        task=task,
        part=part,
        monitors=["probes", *config["tasks"][task]["baselines"]],
    )
