"""verdicts and labels: judge what a subject or a verbaliser wrote, and what a dataset says, by rule, analyser or client.

Makes results/verdicts/{judge}/{sampling}/{subject}/{dataset}/{shard}.parquet, results/labels/{judge}/{dataset}/{shard}.parquet
and results/labels/{judge}/verbalisations/{verbaliser}/{capture}/{dataset}/{shard}.parquet.
"""


rule judge:
    input:
        data=kept("results/data/{dataset}.parquet"),
        generations=judged_generations,
        votes=voters_of,
        template=judge_template,
        model=base_model,
        adapter=adapter_files,
        directions=directions_of,
    output:
        verdicts="results/verdicts/{judge}/{sampling}/{subject}/{dataset}/{shard}.parquet",
    log:
        "results/logs/verdicts/{judge}/{sampling}/{subject}/{dataset}/{shard}.log",
    benchmark:
        "results/benchmarks/verdicts/{judge}/{sampling}/{subject}/{dataset}/{shard}.tsv"
    conda:
        "../envs/gpu.yaml"
    threads: 1
    resources:
        **model_job("judge"),
        api_calls=api_calls,
    params:
        spec=spec(judge_config, base_config, ablation_config),
        script=script("judge.py", judge_module),
        adapter=adapter_folder,
        pace=pace,
    shell:
        r"""
        python {params.script:q} \
            --spec {params.spec:q} \
            --code {params.script.code} \
            --judge {wildcards.judge} \
            --data {input.data:q} \
            --generations {input.generations:q} \
            --shard {wildcards.shard} \
            --votes {input.votes:q} \
            --template {input.template:q} \
            --pace {params.pace:q} \
            --model {input.model:q} \
            --adapter {params.adapter:q} \
            --directions {input.directions:q} \
            --threads {threads} \
            --output {output.verdicts:q} \
            --progress 3 \
            3>&2 &>{log:q}
        """


rule label:
    input:
        data=kept("results/data/{dataset}.parquet"),
        votes=voters_of,
        template=judge_template,
        model=base_model,
        adapter=adapter_files,
        directions=directions_of,
    output:
        labels="results/labels/{judge}/{dataset}/{shard}.parquet",
    log:
        "results/logs/labels/{judge}/{dataset}/{shard}.log",
    benchmark:
        "results/benchmarks/labels/{judge}/{dataset}/{shard}.tsv"
    conda:
        "../envs/gpu.yaml"
    threads: 1
    resources:
        **model_job("label"),
        api_calls=api_calls,
    params:
        spec=spec(judge_config, base_config, ablation_config),
        script=script("label.py", judge_module),
        adapter=adapter_folder,
        pace=pace,
    shell:
        r"""
        python {params.script:q} \
            --spec {params.spec:q} \
            --code {params.script.code} \
            --judge {wildcards.judge} \
            --data {input.data:q} \
            --shard {wildcards.shard} \
            --votes {input.votes:q} \
            --template {input.template:q} \
            --pace {params.pace:q} \
            --model {input.model:q} \
            --adapter {params.adapter:q} \
            --directions {input.directions:q} \
            --threads {threads} \
            --output {output.labels:q} \
            --progress 3 \
            3>&2 &>{log:q}
        """


rule grade:
    input:
        data=kept("results/data/{dataset}.parquet"),
        verbalisations=graded_verbalisations,
        votes=voters_of,
        template=judge_template,
        model=base_model,
        adapter=adapter_files,
        directions=directions_of,
    output:
        labels="results/labels/{judge}/verbalisations/{verbaliser}/{capture}/{dataset}/{shard}.parquet",
    log:
        "results/logs/labels/{judge}/verbalisations/{verbaliser}/{capture}/{dataset}/{shard}.log",
    benchmark:
        "results/benchmarks/labels/{judge}/verbalisations/{verbaliser}/{capture}/{dataset}/{shard}.tsv"
    conda:
        "../envs/gpu.yaml"
    threads: 1
    resources:
        **model_job("grade"),
        api_calls=api_calls,
    params:
        spec=spec(judge_config, base_config, ablation_config),
        script=script("grade.py", judge_module),
        adapter=adapter_folder,
        pace=pace,
    shell:
        r"""
        python {params.script:q} \
            --spec {params.spec:q} \
            --code {params.script.code} \
            --judge {wildcards.judge} \
            --data {input.data:q} \
            --verbalisations {input.verbalisations:q} \
            --shard {wildcards.shard} \
            --votes {input.votes:q} \
            --template {input.template:q} \
            --pace {params.pace:q} \
            --model {input.model:q} \
            --adapter {params.adapter:q} \
            --directions {input.directions:q} \
            --threads {threads} \
            --output {output.labels:q} \
            --progress 3 \
            3>&2 &>{log:q}
        """
