"""baselines: monitors that read no activations.

Makes results/scores/{task}/train/{baseline}.parquet (training and control examples), with what the baseline learnt:
results/baselines/{task}/{baseline}.safetensors, or for a prompted one .json (its template) and .parquet (all templates).
"""


rule train_text:
    input:
        data=lambda wildcards: data_of(task_of(wildcards)["train"]),
        control=lambda wildcards: data_of(task_of(wildcards)["control"]),
        responses=lambda wildcards: responses_read(wildcards, task_of(wildcards)["train"]),
        control_responses=lambda wildcards: responses_read(wildcards, task_of(wildcards)["control"]),
        gates=ancient(training_gates),
    output:
        model="results/baselines/{task}/{baseline}.safetensors",
        scores="results/scores/{task}/train/{baseline}.parquet",
    log:
        "results/logs/baselines/{task}/{baseline}.log",
    benchmark:
        "results/benchmarks/baselines/{task}/{baseline}.tsv"
    wildcard_constraints:
        baseline=one_of(baselines_of(*TEXT_KINDS)),
    conda:
        "../envs/cpu.yaml"
    resources:
        mem=more(4),
        runtime="30m",
    params:
        spec=spec(only("tasks/{task}", Learning), "baselines/{baseline}"),
        script=script("train_text.py", baseline_module),
    shell:
        r"""
        python {params.script:q} \
            --spec {params.spec:q} \
            --code {params.script.code} \
            --monitor {wildcards.baseline} \
            --data {input.data:q} \
            --control {input.control:q} \
            --responses {input.responses:q} \
            --control-responses {input.control_responses:q} \
            --model {output.model:q} \
            --scores {output.scores:q} \
            &>{log:q}
        """


rule choose_prompt:
    input:
        data=lambda wildcards: data_of(task_of(wildcards)["train"]),
        control=lambda wildcards: data_of(task_of(wildcards)["control"]),
        model=baseline_model,
        templates=prompt_files,
        gates=ancient(training_gates),
    output:
        choice="results/baselines/{task}/{baseline}.json",
        templates="results/baselines/{task}/{baseline}.parquet",
        scores="results/scores/{task}/train/{baseline}.parquet",
    log:
        "results/logs/baselines/{task}/{baseline}.log",
    benchmark:
        "results/benchmarks/baselines/{task}/{baseline}.tsv"
    wildcard_constraints:
        baseline=one_of(baselines_of("prompted")),
    conda:
        "../envs/gpu.yaml"
    threads: 1
    resources:
        **model_job("choose_prompt"),
    params:
        spec=spec(only("tasks/{task}", Bootstrapped), "baselines/{baseline}", baseline_model_config),
        script=script("choose_prompt.py"),
    shell:
        r"""
        python {params.script:q} \
            --spec {params.spec:q} \
            --code {params.script.code} \
            --monitor {wildcards.baseline} \
            --data {input.data:q} \
            --control {input.control:q} \
            --model {input.model:q} \
            --template-files {input.templates:q} \
            --threads {threads} \
            --choice {output.choice:q} \
            --templates {output.templates:q} \
            --scores {output.scores:q} \
            --progress 3 \
            3>&2 &>{log:q}
        """


rule finetune_classifier:
    input:
        data=lambda wildcards: data_of(task_of(wildcards)["train"]),
        control=lambda wildcards: data_of(task_of(wildcards)["control"]),
        model=baseline_model,
        gates=ancient(training_gates),
    output:
        weights="results/baselines/{task}/{baseline}.safetensors",
        history="results/baselines/{task}/{baseline}.history.parquet",
        scores="results/scores/{task}/train/{baseline}.parquet",
    log:
        "results/logs/baselines/{task}/{baseline}.log",
    benchmark:
        "results/benchmarks/baselines/{task}/{baseline}.tsv"
    wildcard_constraints:
        baseline=one_of(baselines_of("finetuned")),
    conda:
        "../envs/gpu.yaml"
    threads: 1
    resources:
        **model_job("finetune_classifier"),
    params:
        spec=spec(only("tasks/{task}", Learning), "baselines/{baseline}", baseline_model_config),
        script=script("finetune_classifier.py"),
    shell:
        r"""
        python {params.script:q} \
            --spec {params.spec:q} \
            --code {params.script.code} \
            --monitor {wildcards.baseline} \
            --data {input.data:q} \
            --control {input.control:q} \
            --model {input.model:q} \
            --threads {threads} \
            --weights {output.weights:q} \
            --history {output.history:q} \
            --scores {output.scores:q} \
            --progress 3 \
            3>&2 &>{log:q}
        """


rule score_judge_on_control:
    input:
        data=lambda wildcards: data_of(task_of(wildcards)["control"]),
        labels=lambda wildcards: labels_of(dataset_of(task_of(wildcards)["control"]), [baseline_of(wildcards)["judge"]]),
        gates=ancient(training_gates),
    output:
        scores="results/scores/{task}/train/{baseline}.parquet",
    log:
        "results/logs/baselines/{task}/{baseline}.log",
    benchmark:
        "results/benchmarks/baselines/{task}/{baseline}.tsv"
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
        part=lambda wildcards: task_of(wildcards)["control"],
    shell:
        r"""
        python {params.script:q} \
            --spec {params.spec:q} \
            --code {params.script.code} \
            --monitor {wildcards.baseline} \
            --part {params.part:q} \
            --data {input.data:q} \
            --labels {input.labels:q} \
            --output {output.scores:q} \
            &>{log:q}
        """
