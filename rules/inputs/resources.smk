"""What jobs ask of the machine that they run on: from the config, and from what the profile says of its GPUs."""

from functools import cache

from candor.resources import Planned, Site

SITE = Site.of({name: value.raw for name, value in (workflow.resource_settings.default_resources or {}).items()})
PLANNED = Planned(config, SITE)


def more(gb):
    """A job's memory: so many GB, and as much again at each further attempt."""
    return lambda wildcards, attempt: f"{gb * attempt}GB"


def model_job(rule):
    """The resources of jobs that run a model, by name of their rule; GPUs where the profile names an accelerator."""
    found = lambda wildcards: needs_of(rule, tuple(wildcards.items()))
    on_gpus = lambda wildcards, value, least=1: value if found(wildcards).gpus >= least else None
    return {
        "mem_mb": lambda wildcards, attempt: attempt * found(wildcards).mem_mb,
        # some rules keep nothing of what a job had done when its time was up
        "runtime": lambda wildcards, attempt: attempt * found(wildcards).runtime,
        "gpu": lambda wildcards: found(wildcards).gpus or None,
        "gpu_model": lambda wildcards: on_gpus(wildcards, SITE.accelerator),
        # SLURM may take GPUs from several nodes, and a job's processes are on one
        "nodes": lambda wildcards: on_gpus(wildcards, 1),
        # a core for each GPU's process; not more `threads`, which each of the processes would take
        "cpus_per_task": lambda wildcards, threads: on_gpus(wildcards, max(threads, found(wildcards).gpus), least=2),
        # for profiles that pack jobs into one, where they take turns
        "gpu_turn": lambda wildcards: on_gpus(wildcards, 1),
        # for profiles without a scheduler that hands out devices
        "shell_exec": lambda wildcards: on_gpus(wildcards, SITE.lease and f"{SITE.lease}-{found(wildcards).gpus}"),
    }


def processes(rule):
    """How Python starts a job's script where its GPUs share out the batches. Snakemake records no param of resources."""

    def launched(wildcards, resources):
        count = PLANNED.processes(rule, dict(wildcards.items()))
        return f"-m torch.distributed.run --standalone --nproc_per_node {count}" if count > 1 else ""

    return launched


def probe_job(hours):
    """The resources of jobs that read activations and run no model."""
    found = lambda wildcards: probing_of(tuple(wildcards.items()), hours)
    return {
        "mem_mb": lambda wildcards, attempt: attempt * found(wildcards).mem_mb,
        "runtime": lambda wildcards: found(wildcards).runtime,
    }


@cache
def needs_of(rule, names):
    """The needs of a job that runs a model."""
    return PLANNED.needs(rule, dict(names))


@cache
def probing_of(names, hours):
    """The needs of a job that reads activations."""
    return PLANNED.probing(dict(names), hours)
