"""activations: read a subject model. Makes results/activations/{capture}/{dataset}/{shard}.safetensors."""


rule extract_activations:
    input:
        model=base_model,
        adapter=adapter_files,
        data=kept("results/data/{dataset}.parquet"),
    output:
        activations=kept("results/activations/{capture}/{dataset}/{shard}.safetensors"),
    log:
        "results/logs/activations/{capture}/{dataset}/{shard}.log",
    benchmark:
        "results/benchmarks/activations/{capture}/{dataset}/{shard}.tsv"
    wildcard_constraints:
        # the others are made while their subject answers, in generations.smk
        capture=one_of(id for id in config["captures"] if id not in ANSWERING),
    priority: SOON
    conda:
        "../envs/gpu.yaml"
    # two jobs of one thread do more than one of two, above all on a machine that does other work; --set-threads for more
    threads: 1
    resources:
        **model_job("extract_activations"),
    params:
        spec=spec("captures/{capture}", base_config),
        script=script("extract_activations.py"),
        adapter=adapter_folder,
    shell:
        r"""
        python {params.script:q} \
            --spec {params.spec:q} \
            --code {params.script.code} \
            --model {input.model:q} \
            --adapter {params.adapter:q} \
            --data {input.data:q} \
            --shard {wildcards.shard} \
            --threads {threads} \
            --output {output.activations:q} \
            --progress 3 \
            3>&2 &>{log:q}
        """
