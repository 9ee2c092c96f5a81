from snakemake.utils import min_version

min_version("9.27")


if workflow.is_main_process:

    configfile: "config.yaml"


report: "report/workflow.rst"


# used with --sdm apptainer alone; docs/cluster.md says how it is built
container: "envs/candor.sif"


include: "rules/common.smk"
include: "rules/inputs/resources.smk"
include: "rules/inputs/storage.smk"
include: "rules/inputs/data.smk"
include: "rules/inputs/subjects.smk"
include: "rules/inputs/judges.smk"
include: "rules/inputs/verbalisations.smk"
include: "rules/inputs/monitors.smk"
include: "rules/inputs/experiments.smk"
include: "rules/inputs/figures.smk"
include: "rules/inputs/monitor.smk"
include: "rules/models.smk"
include: "rules/sources.smk"
include: "rules/data.smk"
include: "rules/adapters.smk"
include: "rules/generations.smk"
include: "rules/verdicts.smk"
include: "rules/activations.smk"
include: "rules/verbalisations.smk"
include: "rules/probes.smk"
include: "rules/baselines.smk"
include: "rules/scores.smk"
include: "rules/experiments.smk"
include: "rules/metrics.smk"
include: "rules/figures.smk"
include: "rules/monitor.smk"


rule all:
    default_target: True
    input:
        FIGURES,
        PAGES,
        MANIFEST,
