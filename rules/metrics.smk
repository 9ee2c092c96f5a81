"""metrics: measure monitors on evaluation sets, with intervals. Makes results/metrics/{task}.parquet."""


rule measure:
    input:
        scores=lambda wildcards: [
            file for part in task_of(wildcards)["evaluation"] for file in score_files(wildcards.task, part)
        ],
        selection="results/selections/{task}.json",
    output:
        metrics="results/metrics/{task}.parquet",
    log:
        "results/logs/metrics/{task}.log",
    benchmark:
        "results/benchmarks/metrics/{task}.tsv"
    conda:
        "../envs/cpu.yaml"
    resources:
        mem="4GB",
        runtime="1h",
    params:
        spec=spec(only("tasks/{task}", Measurement)),
        families=lambda wildcards: json.dumps(
            {probe: config["probes"][probe]["family"] for probe in task_of(wildcards)["probes"]}
            | {baseline: config["baselines"][baseline]["kind"] for baseline in task_of(wildcards)["baselines"]},
            sort_keys=True,
        ),
        script=script("measure.py"),
    shell:
        r"""
        python {params.script:q} \
            --spec {params.spec:q} \
            --code {params.script.code} \
            --task {wildcards.task} \
            --families {params.families:q} \
            --scores {input.scores:q} \
            --selection {input.selection:q} \
            --output {output.metrics:q} \
            &>{log:q}
        """
