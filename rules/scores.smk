"""scores: one schema for every monitor. Makes results/scores/{task}/{part}/probes.parquet and {baseline}.parquet.

An evaluation set is scored only once the selection exists.
"""


rule score_probes:
    input:
        data=lambda wildcards: data_of(wildcards.part),
        activations=lambda wildcards: activations_of(task_of(wildcards)["capture"], wildcards.part),
        model=lambda wildcards: f"results/models/{subject_of(wildcards)}.json",
        selection="results/selections/{task}.json",
        probes=lambda wildcards: collect(
            "results/probes/{task}/{probe}.safetensors", task=wildcards.task, probe=task_of(wildcards)["probes"]
        ),
        gates=ancient(evaluation_gates),
    output:
        scores="results/scores/{task}/{part}/probes.parquet",
    log:
        "results/logs/scores/{task}/{part}/probes.log",
    benchmark:
        "results/benchmarks/scores/{task}/{part}/probes.tsv"
    conda:
        "../envs/cpu.yaml"
    threads: 1
    resources:
        mem="4GB",
        runtime="1h",
    params:
        spec=spec(only("tasks/{task}", Contest)),
        script=script("score_probes.py", lambda wildcards: families_of(task_of(wildcards)["probes"])),
        probes=lambda wildcards: task_of(wildcards)["probes"],
    shell:
        r"""
        python {params.script:q} \
            --spec {params.spec:q} \
            --code {params.script.code} \
            --part {wildcards.part:q} \
            --data {input.data:q} \
            --activations {input.activations:q} \
            --model {input.model:q} \
            --selection {input.selection:q} \
            --monitors {params.probes} \
            --probes {input.probes:q} \
            --threads {threads} \
            --output {output.scores:q} \
            &>{log:q}
        """


rule score_text:
    input:
        data=lambda wildcards: data_of(wildcards.part),
        model="results/baselines/{task}/{baseline}.safetensors",
        selection="results/selections/{task}.json",
        gates=ancient(evaluation_gates),
    output:
        scores="results/scores/{task}/{part}/{baseline}.parquet",
    log:
        "results/logs/scores/{task}/{part}/{baseline}.log",
    benchmark:
        "results/benchmarks/scores/{task}/{part}/{baseline}.tsv"
    conda:
        "../envs/cpu.yaml"
    resources:
        mem="4GB",
        runtime="30m",
    params:
        spec=spec(only("tasks/{task}", Learning), "baselines/{baseline}"),
        script=script("score_text.py"),
    shell:
        r"""
        python {params.script:q} \
            --spec {params.spec:q} \
            --code {params.script.code} \
            --monitor {wildcards.baseline} \
            --part {wildcards.part:q} \
            --data {input.data:q} \
            --model {input.model:q} \
            --selection {input.selection:q} \
            --output {output.scores:q} \
            &>{log:q}
        """
