"""sources: fetch raw rows. Makes results/sources/{source}.parquet."""


rule fetch_source:
    input:
        lambda wildcards: local_files(config["sources"][wildcards.source]),
    output:
        rows="results/sources/{source}.parquet",
    log:
        "results/logs/sources/{source}.log",
    benchmark:
        "results/benchmarks/sources/{source}.tsv"
    priority: FIRST
    localrule: True
    conda:
        "../envs/cpu.yaml"
    resources:
        mem=more(4),
        runtime="1h",
    params:
        spec=spec("sources/{source}"),
        script=script("fetch_source.py"),
    shell:
        r"""
        python {params.script:q} \
            --spec {params.spec:q} \
            --code {params.script.code} \
            --output {output.rows:q} \
            &>{log:q}
        """
