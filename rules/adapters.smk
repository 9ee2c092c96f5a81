"""adapters: finetune a subject model. Makes results/adapters/{adapter}/adapter_model.safetensors, adapter_config.json and
history.parquet."""


rule finetune:
    input:
        model=lambda wildcards: f"results/models/{config['adapters'][wildcards.adapter]['subject']}.json",
        data=lambda wildcards: data_of(config["adapters"][wildcards.adapter]["train"]),
        validation=lambda wildcards: data_of(config["adapters"][wildcards.adapter]["validation"]),
        gates=ancient(adapter_gates),
    output:
        weights="results/adapters/{adapter}/adapter_model.safetensors",
        config="results/adapters/{adapter}/adapter_config.json",
        history="results/adapters/{adapter}/history.parquet",
    log:
        "results/logs/adapters/{adapter}.log",
    benchmark:
        "results/benchmarks/adapters/{adapter}.tsv"
    priority: EARLY
    conda:
        "../envs/gpu.yaml"
    # two jobs of one thread do more than one of two, above all on a machine that does other work; --set-threads for more
    threads: 1
    resources:
        **model_job("finetune"),
    params:
        spec=spec("adapters/{adapter}", lambda wildcards: f"models/{config['adapters'][wildcards.adapter]['subject']}"),
        script=script("finetune.py"),
        launched=processes("finetune"),
    shell:
        r"""
        python {params.launched} {params.script:q} \
            --spec {params.spec:q} \
            --code {params.script.code} \
            --model {input.model:q} \
            --data {input.data:q} \
            --validation-data {input.validation:q} \
            --threads {threads} \
            --adapter {output.weights:q} \
            --config {output.config:q} \
            --history {output.history:q} \
            --progress 3 \
            3>&2 &>{log:q}
        """
