"""generations: let a subject or a chat client answer.

Makes results/generations/{sampling}/{subject}/{dataset}/{shard}.parquet, and for captures with a sampling
results/activations/{capture}/{dataset}/{shard}.safetensors in the same pass.
"""

# the dash, with which no id begins, stands for none
captured = one_of(["-", *(f"{capture['sampling']}/{capture['subject']}/" for capture in ANSWERING.values())])


rule generate:
    input:
        model=base_model,
        adapter=adapter_files,
        directions=directions_of,
        data=kept("results/data/{dataset}.parquet"),
    output:
        generations="results/generations/{sampling}/{subject}/{dataset}/{shard}.parquet",
    log:
        "results/logs/generations/{sampling}/{subject}/{dataset}/{shard}.log",
    benchmark:
        "results/benchmarks/generations/{sampling}/{subject}/{dataset}/{shard}.tsv"
    wildcard_constraints:
        # what a capture's sampling and subject answer is made together with its activations, by the next rules
        sampling=rf"(?!{captured})({one_of(config['samplings'])})",
        subject=one_of([*config["models"], *config["adapters"], *config["ablations"]]),
    priority: EARLY
    conda:
        "../envs/gpu.yaml"
    # two jobs of one thread do more than one of two, above all on a machine that does other work; --set-threads for more
    threads: 1
    resources:
        **model_job("generate"),
    params:
        spec=spec("samplings/{sampling}", base_config, ablation_config),
        script=script("generate.py"),
        adapter=adapter_folder,
    shell:
        r"""
        python {params.script:q} \
            --spec {params.spec:q} \
            --code {params.script.code} \
            --model {input.model:q} \
            --adapter {params.adapter:q} \
            --directions {input.directions:q} \
            --data {input.data:q} \
            --shard {wildcards.shard} \
            --threads {threads} \
            --output {output.generations:q} \
            --progress 3 \
            3>&2 &>{log:q}
        """


# a rule for each, since its two paths have no wildcard for the other's capture, or sampling and subject
for capture_id, capture in ANSWERING.items():

    rule:
        name:
            f"generate_and_capture_{capture_id}"
        input:
            model=base_model(capture),
            adapter=adapter_files(capture),
            directions=directions_of(capture),
            data=kept("results/data/{dataset}.parquet"),
        output:
            generations=f"results/generations/{capture['sampling']}/{capture['subject']}/{{dataset}}/{{shard}}.parquet",
            activations=kept(f"results/activations/{capture_id}/{{dataset}}/{{shard}}.safetensors"),
        log:
            f"results/logs/activations/{capture_id}/{{dataset}}/{{shard}}.log",
        benchmark:
            f"results/benchmarks/activations/{capture_id}/{{dataset}}/{{shard}}.tsv"
        priority: EARLY
        conda:
            "../envs/gpu.yaml"
        threads: 1
        resources:
            **model_job(f"generate_and_capture_{capture_id}"),
        params:
            spec=spec(
                f"samplings/{capture['sampling']}",
                f"captures/{capture_id}",
                base_config(capture),
                *ablation_config(capture),
            ),
            script=script("generate_and_capture.py"),
            adapter=adapter_folder(capture),
        shell:
            r"""
            python {params.script:q} \
                --spec {params.spec:q} \
                --code {params.script.code} \
                --model {input.model:q} \
                --adapter {params.adapter:q} \
                --directions {input.directions:q} \
                --data {input.data:q} \
                --shard {wildcards.shard} \
                --threads {threads} \
                --output {output.generations:q} \
                --activations {output.activations:q} \
                --progress 3 \
                3>&2 &>{log:q}
            """


rule generate_by_client:
    input:
        data=kept("results/data/{dataset}.parquet"),
    output:
        generations="results/generations/{sampling}/{client}/{dataset}/{shard}.parquet",
    log:
        "results/logs/generations/{sampling}/{client}/{dataset}/{shard}.log",
    benchmark:
        "results/benchmarks/generations/{sampling}/{client}/{dataset}/{shard}.tsv"
    priority: EARLY
    conda:
        "../envs/cpu.yaml"
    resources:
        mem=more(2),
        runtime="12h",
        api_calls=api_calls,
    params:
        spec=spec("samplings/{sampling}", lambda wildcards: client_config(wildcards.client)),
        script=script("generate_by_client.py", lambda wildcards: client_modules(client_of(wildcards))),
        pace=pace,
    shell:
        r"""
        python {params.script:q} \
            --spec {params.spec:q} \
            --code {params.script.code} \
            --pace {params.pace:q} \
            --data {input.data:q} \
            --shard {wildcards.shard} \
            --output {output.generations:q} \
            --progress 3 \
            3>&2 &>{log:q}
        """
