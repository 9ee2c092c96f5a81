"""scores: one schema for every monitor. Makes results/scores/{task}/{part}/probes.parquet and {baseline}.parquet.

An evaluation set is scored only once the selection exists.
"""


rule score_probes:
    input:
        data=lambda wildcards: data_of(wildcards.part),
        activations=lambda wildcards: activations_of(task_of(wildcards)["capture"], wildcards.part),
        model=lambda wildcards: f"results/models/{subject_of(wildcards)}.json",
        selection="results/selections/{task}.json",
        probes=lambda wildcards: collect(
            "results/probes/{task}/{probe}.safetensors", task=wildcards.task, probe=trained_of(task_of(wildcards))
        ),
        gates=ancient(evaluation_gates),
    output:
        scores="results/scores/{task}/{part}/probes.parquet",
    log:
        "results/logs/scores/{task}/{part}/probes.log",
    benchmark:
        "results/benchmarks/scores/{task}/{part}/probes.tsv"
    conda:
        "../envs/cpu.yaml"
    threads: 1
    resources:
        **probe_job(1),
    params:
        spec=spec(only("tasks/{task}", Contest)),
        script=script("score_probes.py", lambda wildcards: families_of(trained_of(task_of(wildcards)))),
        probes=lambda wildcards: trained_of(task_of(wildcards)),
    shell:
        r"""
        python {params.script:q} \
            --spec {params.spec:q} \
            --code {params.script.code} \
            --part {wildcards.part:q} \
            --data {input.data:q} \
            --activations {input.activations:q} \
            --model {input.model:q} \
            --selection {input.selection:q} \
            --monitors {params.probes} \
            --probes {input.probes:q} \
            --threads {threads} \
            --output {output.scores:q} \
            &>{log:q}
        """


rule score_text:
    input:
        data=lambda wildcards: data_of(wildcards.part),
        responses=lambda wildcards: responses_read(wildcards, wildcards.part),
        model="results/baselines/{task}/{baseline}.safetensors",
        selection="results/selections/{task}.json",
        gates=ancient(evaluation_gates),
    output:
        scores="results/scores/{task}/{part}/{baseline}.parquet",
    log:
        "results/logs/scores/{task}/{part}/{baseline}.log",
    benchmark:
        "results/benchmarks/scores/{task}/{part}/{baseline}.tsv"
    wildcard_constraints:
        baseline=one_of(baselines_of(*TEXT_KINDS)),
    conda:
        "../envs/cpu.yaml"
    resources:
        mem=more(4),
        runtime="30m",
    params:
        spec=spec(only("tasks/{task}", Learning), "baselines/{baseline}"),
        script=script("score_text.py", baseline_module),
    shell:
        r"""
        python {params.script:q} \
            --spec {params.spec:q} \
            --code {params.script.code} \
            --monitor {wildcards.baseline} \
            --part {wildcards.part:q} \
            --data {input.data:q} \
            --responses {input.responses:q} \
            --model {input.model:q} \
            --selection {input.selection:q} \
            --output {output.scores:q} \
            &>{log:q}
        """


rule score_prompted:
    input:
        data=lambda wildcards: data_of(wildcards.part),
        model=baseline_model,
        choice="results/baselines/{task}/{baseline}.json",
        templates=prompt_files,
        selection="results/selections/{task}.json",
        gates=ancient(evaluation_gates),
    output:
        scores="results/scores/{task}/{part}/{baseline}.parquet",
    log:
        "results/logs/scores/{task}/{part}/{baseline}.log",
    benchmark:
        "results/benchmarks/scores/{task}/{part}/{baseline}.tsv"
    wildcard_constraints:
        baseline=one_of(baselines_of("prompted")),
    conda:
        "../envs/gpu.yaml"
    threads: 1
    resources:
        **model_job("score_prompted"),
    params:
        spec=spec(only("tasks/{task}", Learning), "baselines/{baseline}", baseline_model_config),
        script=script("score_prompted.py"),
    shell:
        r"""
        python {params.script:q} \
            --spec {params.spec:q} \
            --code {params.script.code} \
            --monitor {wildcards.baseline} \
            --part {wildcards.part:q} \
            --data {input.data:q} \
            --model {input.model:q} \
            --choice {input.choice:q} \
            --template-files {input.templates:q} \
            --selection {input.selection:q} \
            --threads {threads} \
            --output {output.scores:q} \
            --progress 3 \
            3>&2 &>{log:q}
        """


rule score_finetuned:
    input:
        data=lambda wildcards: data_of(wildcards.part),
        model=baseline_model,
        weights="results/baselines/{task}/{baseline}.safetensors",
        selection="results/selections/{task}.json",
        gates=ancient(evaluation_gates),
    output:
        scores="results/scores/{task}/{part}/{baseline}.parquet",
    log:
        "results/logs/scores/{task}/{part}/{baseline}.log",
    benchmark:
        "results/benchmarks/scores/{task}/{part}/{baseline}.tsv"
    wildcard_constraints:
        baseline=one_of(baselines_of("finetuned")),
    conda:
        "../envs/gpu.yaml"
    threads: 1
    resources:
        **model_job("score_finetuned"),
    params:
        spec=spec(only("tasks/{task}", Learning), "baselines/{baseline}", baseline_model_config),
        script=script("score_finetuned.py"),
    shell:
        r"""
        python {params.script:q} \
            --spec {params.spec:q} \
            --code {params.script.code} \
            --monitor {wildcards.baseline} \
            --part {wildcards.part:q} \
            --data {input.data:q} \
            --model {input.model:q} \
            --weights {input.weights:q} \
            --selection {input.selection:q} \
            --threads {threads} \
            --output {output.scores:q} \
            --progress 3 \
            3>&2 &>{log:q}
        """


rule score_judge:
    input:
        data=lambda wildcards: data_of(wildcards.part),
        labels=judged_part,
        selection="results/selections/{task}.json",
        gates=ancient(evaluation_gates),
    output:
        scores="results/scores/{task}/{part}/{baseline}.parquet",
    log:
        "results/logs/scores/{task}/{part}/{baseline}.log",
    benchmark:
        "results/benchmarks/scores/{task}/{part}/{baseline}.tsv"
    wildcard_constraints:
        baseline=one_of(baselines_of("judge")),
    conda:
        "../envs/cpu.yaml"
    resources:
        mem=more(2),
        runtime="10m",
    params:
        spec=spec(only("tasks/{task}", Learning), "baselines/{baseline}"),
        script=script("score_judge.py"),
    shell:
        r"""
        python {params.script:q} \
            --spec {params.spec:q} \
            --code {params.script.code} \
            --monitor {wildcards.baseline} \
            --part {wildcards.part:q} \
            --data {input.data:q} \
            --labels {input.labels:q} \
            --selection {input.selection:q} \
            --output {output.scores:q} \
            &>{log:q}
        """
