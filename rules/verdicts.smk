"""verdicts and labels: judge what a subject said, and what a dataset says.

Makes results/verdicts/{judge}/{sampling}/{subject}/{dataset}.parquet and results/labels/{judge}/{dataset}.parquet.
"""


rule judge:
    input:
        data="results/data/{dataset}.parquet",
        generations=lambda wildcards: generations_of(wildcards.sampling, wildcards.subject, wildcards.dataset),
    output:
        verdicts="results/verdicts/{judge}/{sampling}/{subject}/{dataset}.parquet",
    log:
        "results/logs/verdicts/{judge}/{sampling}/{subject}/{dataset}.log",
    benchmark:
        "results/benchmarks/verdicts/{judge}/{sampling}/{subject}/{dataset}.tsv"
    conda:
        "../envs/cpu.yaml"
    resources:
        mem="2GB",
        runtime="1h",
    params:
        spec=spec("judges/{judge}"),
        script=script("judge.py", judge_module),
    shell:
        r"""
        python {params.script:q} \
            --spec {params.spec:q} \
            --code {params.script.code} \
            --judge {wildcards.judge} \
            --data {input.data:q} \
            --generations {input.generations:q} \
            --output {output.verdicts:q} \
            &>{log:q}
        """


rule label:
    input:
        data="results/data/{dataset}.parquet",
    output:
        labels="results/labels/{judge}/{dataset}.parquet",
    log:
        "results/logs/labels/{judge}/{dataset}.log",
    benchmark:
        "results/benchmarks/labels/{judge}/{dataset}.tsv"
    conda:
        "../envs/cpu.yaml"
    resources:
        mem="2GB",
        runtime="1h",
    params:
        spec=spec("judges/{judge}"),
        script=script("label.py", judge_module),
    shell:
        r"""
        python {params.script:q} \
            --spec {params.spec:q} \
            --code {params.script.code} \
            --judge {wildcards.judge} \
            --data {input.data:q} \
            --output {output.labels:q} \
            &>{log:q}
        """
