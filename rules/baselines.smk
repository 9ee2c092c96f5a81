"""baselines: monitors that read no activations.

Makes results/baselines/{task}/{baseline}.safetensors with results/scores/{task}/train/{baseline}.parquet.
"""


rule train_text:
    input:
        data=lambda wildcards: data_of(task_of(wildcards)["train"]),
        control=lambda wildcards: data_of(task_of(wildcards)["control"]),
        gates=ancient(training_gates),
    output:
        model="results/baselines/{task}/{baseline}.safetensors",
        scores="results/scores/{task}/train/{baseline}.parquet",
    log:
        "results/logs/baselines/{task}/{baseline}.log",
    benchmark:
        "results/benchmarks/baselines/{task}/{baseline}.tsv"
    conda:
        "../envs/cpu.yaml"
    resources:
        mem="4GB",
        runtime="30m",
    params:
        spec=spec(only("tasks/{task}", Learning), "baselines/{baseline}"),
        script=script("train_text.py"),
    shell:
        r"""
        python {params.script:q} \
            --spec {params.spec:q} \
            --code {params.script.code} \
            --monitor {wildcards.baseline} \
            --data {input.data:q} \
            --control {input.control:q} \
            --model {output.model:q} \
            --scores {output.scores:q} \
            &>{log:q}
        """
