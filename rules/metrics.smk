"""metrics: measure monitors on evaluation sets, compare the arms of an experiment, and judges; with intervals.

Makes results/metrics/{task}.parquet, results/metrics/{comparison}.parquet and results/metrics/{panel}.parquet.
"""


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
        mem=more(4),
        runtime="1h",
    params:
        spec=spec(only("tasks/{task}", Measurement)),
        families=lambda wildcards: json.dumps(
            {probe: config["probes"][probe]["family"] for probe in trained_of(task_of(wildcards))}
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


rule compare_arms:
    input:
        data=compared("data"),
        generations=compared("generations"),
        verdicts=compared("verdicts"),
        swapped_data=compared("swapped_data"),
        swapped_generations=compared("swapped_generations"),
        swapped_verdicts=compared("swapped_verdicts"),
        training_data=compared("training_data"),
        training_labels=compared("training_labels"),
        gold_data=compared("gold_data"),
        gold_labels=compared("gold_labels"),
        gates=ancient(comparison_gates),
    output:
        metrics="results/metrics/{comparison}.parquet",
    log:
        "results/logs/metrics/{comparison}.log",
    benchmark:
        "results/benchmarks/metrics/{comparison}.tsv"
    conda:
        "../envs/cpu.yaml"
    resources:
        mem=more(2),
        runtime="1h",
    params:
        spec=spec("comparisons/{comparison}"),
        script=script(
            "compare_arms.py",
            lambda wildcards: f"candor.comparisons.{config['comparisons'][wildcards.comparison]['kind']}",
        ),
    shell:
        r"""
        python {params.script:q} \
            --spec {params.spec:q} \
            --code {params.script.code} \
            --comparison {wildcards.comparison} \
            --data {input.data:q} \
            --generations {input.generations:q} \
            --verdicts {input.verdicts:q} \
            --swapped-data {input.swapped_data:q} \
            --swapped-generations {input.swapped_generations:q} \
            --swapped-verdicts {input.swapped_verdicts:q} \
            --training-data {input.training_data:q} \
            --training-labels {input.training_labels:q} \
            --gold-data {input.gold_data:q} \
            --gold-labels {input.gold_labels:q} \
            --output {output.metrics:q} \
            &>{log:q}
        """


rule compare_judges:
    input:
        data=lambda wildcards: table_of(judged_by(wildcards)["dataset"]),
        generations=lambda wildcards: judged_by(wildcards)["generations"],
        verdicts=lambda wildcards: judged_by(wildcards)["verdicts"],
    output:
        metrics="results/metrics/{panel}.parquet",
    log:
        "results/logs/metrics/{panel}.log",
    benchmark:
        "results/benchmarks/metrics/{panel}.tsv"
    conda:
        "../envs/cpu.yaml"
    resources:
        mem=more(2),
        runtime="1h",
    params:
        spec=spec("panels/{panel}"),
        script=script("compare_judges.py"),
    shell:
        r"""
        python {params.script:q} \
            --spec {params.spec:q} \
            --code {params.script.code} \
            --panel {wildcards.panel} \
            --data {input.data:q} \
            --generations {input.generations:q} \
            --verdicts {input.verdicts:q} \
            --output {output.metrics:q} \
            &>{log:q}
        """
