"""models: fetch subject models. Makes results/models/{model}.json; the weights stay in a cache."""


rule fetch_model:
    input:
        model_files,
    output:
        facts="results/models/{model}.json",
    log:
        "results/logs/models/{model}.log",
    benchmark:
        "results/benchmarks/models/{model}.tsv"
    priority: FIRST
    conda:
        "../envs/cpu.yaml"
    # a job of two threads would wait, whatever its priority, until two cores are free at the same moment
    threads: 1
    resources:
        mem=more(4),
        runtime="2h",
    params:
        spec=spec(model_apart_from_use),
        script=script("fetch_model.py"),
    shell:
        r"""
        python {params.script:q} \
            --spec {params.spec:q} \
            --code {params.script.code} \
            --output {output.facts:q} \
            &>{log:q}
        """
