"""verbalisations: put what a subject holds inside into words, from its activations or from what it read.

Makes results/verbalisations/{verbaliser}/{capture}/{dataset}/{shard}.parquet.
"""


rule verbalise:
    input:
        data=kept("results/data/{dataset}.parquet"),
        activations=verbalised_activations,
        generations=verbalised_generations,
        template=verbaliser_template,
        model=verbaliser_model,
        reconstructor=reconstructor_model,
        adapter=adapter_files,
        directions=directions_of,
    output:
        verbalisations="results/verbalisations/{verbaliser}/{capture}/{dataset}/{shard}.parquet",
    log:
        "results/logs/verbalisations/{verbaliser}/{capture}/{dataset}/{shard}.log",
    benchmark:
        "results/benchmarks/verbalisations/{verbaliser}/{capture}/{dataset}/{shard}.tsv"
    conda:
        "../envs/gpu.yaml"
    threads: 1
    resources:
        **model_job("verbalise"),
        api_calls=api_calls,
    params:
        spec=spec(verbaliser_config, base_config, ablation_config),
        script=script("verbalise.py", verbaliser_module),
        adapter=adapter_folder,
        pace=pace,
    shell:
        r"""
        python {params.script:q} \
            --spec {params.spec:q} \
            --code {params.script.code} \
            --verbaliser {wildcards.verbaliser} \
            --data {input.data:q} \
            --activations {input.activations:q} \
            --generations {input.generations:q} \
            --shard {wildcards.shard} \
            --template {input.template:q} \
            --pace {params.pace:q} \
            --model {input.model:q} \
            --reconstructor {input.reconstructor:q} \
            --adapter {params.adapter:q} \
            --directions {input.directions:q} \
            --threads {threads} \
            --output {output.verbalisations:q} \
            --progress 3 \
            3>&2 &>{log:q}
        """
