"""data: build datasets and check them for leakage.

Makes results/data/{dataset}.parquet, and the gates results/leakage/{dataset}.json and
results/leakage/{part}/{other}.json, which consumers take as ancient(): they stop a build and rerun nothing.
"""


rule build_dataset:
    input:
        origin=origin_of,
        examples=answered_by,
        also=lambda wildcards: datasets_of(config["datasets"][wildcards.dataset]["also"]),
        exclude=lambda wildcards: datasets_of(config["datasets"][wildcards.dataset]["exclude"]),
    output:
        data=kept("results/data/{dataset}.parquet"),
    log:
        "results/logs/data/{dataset}.log",
    benchmark:
        "results/benchmarks/data/{dataset}.tsv"
    priority: FIRST
    conda:
        "../envs/cpu.yaml"
    resources:
        mem=more(4),
        runtime="30m",
    params:
        spec=spec(only("datasets/{dataset}", Recipe)),
        script=script("build_dataset.py", transforms_of),
    shell:
        r"""
        python {params.script:q} \
            --spec {params.spec:q} \
            --code {params.script.code} \
            --origin {input.origin:q} \
            --examples {input.examples:q} \
            --also {input.also:q} \
            --exclude {input.exclude:q} \
            --output {output.data:q} \
            &>{log:q}
        """


rule check_dataset:
    input:
        data=kept("results/data/{dataset}.parquet"),
    output:
        gate="results/leakage/{dataset}.json",
    log:
        "results/logs/leakage/{dataset}.log",
    benchmark:
        "results/benchmarks/leakage/{dataset}.tsv"
    conda:
        "../envs/cpu.yaml"
    resources:
        mem=more(4),
        runtime="30m",
    params:
        spec=spec("datasets/{dataset}[allow_near,similarity]"),
        script=script("check_leakage.py"),
    shell:
        r"""
        python {params.script:q} \
            --spec {params.spec:q} \
            --code {params.script.code} \
            --data {input.data:q} \
            --output {output.gate:q} \
            &>{log:q}
        """


rule check_parts:
    input:
        train=lambda wildcards: data_of(wildcards.part),
        evaluation=lambda wildcards: data_of(wildcards.other),
    output:
        gate="results/leakage/{part}/{other}.json",
    log:
        "results/logs/leakage/{part}/{other}.log",
    benchmark:
        "results/benchmarks/leakage/{part}/{other}.tsv"
    conda:
        "../envs/cpu.yaml"
    resources:
        mem=more(4),
        runtime="30m",
    params:
        spec=spec(
            lambda wildcards: f"datasets/{dataset_of(wildcards.part)}[allow_near,similarity]",
            lambda wildcards: f"datasets/{dataset_of(wildcards.other)}[allow_near,similarity]",
        ),
        script=script("check_leakage.py"),
    shell:
        r"""
        python {params.script:q} \
            --spec {params.spec:q} \
            --code {params.script.code} \
            --train {input.train:q} \
            --train-part {wildcards.part:q} \
            --evaluation {input.evaluation:q} \
            --evaluation-part {wildcards.other:q} \
            --output {output.gate:q} \
            &>{log:q}
        """
