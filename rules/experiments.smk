"""experiments: fat jobs that train many small monitors. Makes results/experiments/{experiment}.parquet."""


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
