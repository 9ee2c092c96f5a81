"""Helpers for every rule: the frozen run, spec, script, the shape of ids, and which files stand for what."""

import json
import os
import re
import sys
from pathlib import Path

# jobs on a cluster read this file again, and take everything else from the frozen run
frozen = None if workflow.is_main_process else os.environ.get("CANDOR_RUN")
sys.path.insert(0, str(Path(frozen or workflow.basedir, "scripts")))

from candor.config.base import ID_PATTERN
from candor.config.datasets import Recipe
from candor.config.files import refuse_duplicate_keys
from candor.config.study import Study
from candor.config.figures import READS
from candor.config.tasks import Contest, CrossValidation, Learning, Measurement, Training, dataset_of
from candor.errors import CandorError
from candor.run import Run
from candor.sources import local_files

try:
    if workflow.is_main_process:
        # config.yaml is read before any --configfile, which lies over it
        files = {Path(workflow.basedir, "config.yaml"), *map(Path, workflow.overwrite_configfiles)}
        refuse_duplicate_keys(sorted(files))
        run = Run.begin(Study.parse(config).resolved(), Path(workflow.basedir, "scripts"))
    else:
        run = Run.thaw(os.environ)
except CandorError as error:
    sys.exit(str(error))

config.clear()
config.update(run.config)


onstart:
    try:
        run.freeze(os.environ)
    except CandorError as error:
        sys.exit(str(error))


# threads that wait for each other in a loop slow every job on a machine that is busy, up to tenfold
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")


wildcard_constraints:
    model=ID_PATTERN,
    source=ID_PATTERN,
    dataset=ID_PATTERN,
    capture=ID_PATTERN,
    task=ID_PATTERN,
    # both kinds of monitor have training scores in one folder; the ids say which rule makes them
    probe="|".join(map(re.escape, config["probes"])),
    baseline="|".join(map(re.escape, config["baselines"])) or "none",
    experiment=ID_PATTERN,
    figure=ID_PATTERN,
    part=rf"{ID_PATTERN}@(train|validation|test)",
    other=rf"{ID_PATTERN}@(train|validation|test)",
    shard=r"\d{3}-of-\d{3}",


def spec(*paths):
    """A param: config entries (`section/id`, `section/id[keys]`) as one canonical JSON string.

    A path is a text with wildcards, or a function of wildcards.
    """
    return lambda wildcards: run.spec(*(_filled(path, wildcards) for path in paths))


def script(name, *modules):
    """A param: a script's path; Snakemake records the digest of its code, and of modules it imports by name.

    A module is a text, or a function of wildcards that gives one or a list.
    """

    def frozen_script(wildcards):
        named = (_filled(module, wildcards) for module in modules)
        flat = [m for module in named for m in ([module] if isinstance(module, str) else module)]
        return run.script(name, *flat)

    return frozen_script


def _filled(path, wildcards):
    return path(wildcards) if callable(path) else path.format(**dict(wildcards.items()))


def only(path, section):
    """A config entry's path for `spec`, with no more than the keys of a config model: `section/id[a,b]`."""
    return f"{path}[{','.join(section.model_fields)}]"


def data_of(part):
    """The dataset table of `dataset@split`."""
    return f"results/data/{dataset_of(part)}.parquet"


def activations_of(capture, part):
    """The shards of a capture on the dataset of a part."""
    dataset = dataset_of(part)
    count = config["run"]["shards"].get(dataset, 1)
    return [f"results/activations/{capture}/{dataset}/{i:03d}-of-{count:03d}.safetensors" for i in range(count)]


def gates_of(*parts):
    """The leakage gates of datasets, and between each two parts of different datasets, the earlier one first."""
    datasets = list(dict.fromkeys(map(dataset_of, parts)))
    gates = [f"results/leakage/{dataset}.json" for dataset in datasets]
    for i, part in enumerate(parts):
        gates += [
            f"results/leakage/{part}/{other}.json" for other in parts[i + 1 :] if dataset_of(other) != dataset_of(part)
        ]
    return gates


def task_id(wildcards):
    """The id of the task that a job belongs to: its own, or that of its experiment or figure."""
    if "figure" in wildcards.keys():
        figure = config["figures"][wildcards.figure]
        return figure["task"] or config["experiments"][figure["experiment"]]["task"]
    return wildcards.get("task") or config["experiments"][wildcards.experiment]["task"]


def task_of(wildcards):
    """The config of the task that a job belongs to."""
    return config["tasks"][task_id(wildcards)]


def subject_of(wildcards):
    """The subject of the task's capture."""
    return config["captures"][task_of(wildcards)["capture"]]["subject"]


def families_of(probes):
    """The modules of the probes' families."""
    return [f"candor.probes.families.{config['probes'][probe]['family']}" for probe in probes]


def origin_of(wildcards):
    """What a dataset is built from."""
    folder, id = config["datasets"][wildcards.dataset]["origin"].split("/")
    return f"results/{'data' if folder == 'datasets' else folder}/{id}.parquet"


def transform_of(wildcards):
    """The module of a dataset's transform."""
    return f"candor.data.transforms.{config['datasets'][wildcards.dataset]['transform']}"


def model_apart_from_use(wildcards):
    """A model's config less where and in which format it computes, which says nothing about its weights."""
    keys = [key for key in config["models"][wildcards.model] if key not in ("device", "dtype")]
    return f"models/{wildcards.model}[{','.join(keys)}]"


def model_files(wildcards):
    """The files of a model that lies in a local folder; none for other models, which are pinned by what they are."""
    model = config["models"][wildcards.model]
    folder = Path(model["path"]).expanduser() if model["source"] == "folder" else None
    return sorted(str(path) for path in folder.glob("[!.]*") if path.is_file()) if folder else []


def captured_model(wildcards):
    """The subject of a capture."""
    return config["captures"][wildcards.capture]["subject"]


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
    experiment = config["experiments"][wildcards.experiment]
    return [f"candor.experiments.{experiment['kind']}", *families_of([experiment["probe"]])]


def score_files(task, part):
    """The scores of all monitors of a task on one part."""
    return collect(
        "results/scores/{task}/{part}/{monitors}.parquet",
        task=task,
        part=part,
        monitors=["probes", *config["tasks"][task]["baselines"]],
    )


def figure_config(wildcards):
    """What a figure is told beside its own entry: its task, or which layers its experiment's capture stores."""
    if config["figures"][wildcards.figure]["task"]:
        return f"tasks/{task_id(wildcards)}"
    return f"captures/{task_of(wildcards)['capture']}[subject,layers]"


def figure_input(kind):
    """The files of one kind that a figure's plot reads; none where it reads no such files."""

    def files(wildcards):
        figure, task = config["figures"][wildcards.figure], task_of(wildcards)
        if kind not in READS[figure["plot"]]:
            return []
        parts = task["evaluation"]
        return {
            "metrics": [f"results/metrics/{task_id(wildcards)}.parquet"],
            "selection": [f"results/selections/{task_id(wildcards)}.json"],
            "model": [f"results/models/{subject_of(wildcards)}.json"],
            "scores": [file for part in parts for file in score_files(task_id(wildcards), part)],
            "datasets": list(dict.fromkeys(map(data_of, [task["train"], task["control"], *parts]))),
            "experiment": [f"results/experiments/{figure['experiment']}.parquet"],
        }[kind]

    return files
