"""probes: train them, and select before anything is evaluated.

Makes results/probes/{task}/{probe}.safetensors with results/scores/{task}/train/{probe}.parquet (out-of-fold and
control scores), and results/selections/{task}.json.
"""


rule train_probe:
    input:
        data=lambda wildcards: data_of(task_of(wildcards)["train"]),
        activations=lambda wildcards: activations_of(task_of(wildcards)["capture"], task_of(wildcards)["train"]),
        control=lambda wildcards: data_of(task_of(wildcards)["control"]),
        control_activations=lambda wildcards: activations_of(
            task_of(wildcards)["capture"], task_of(wildcards)["control"]
        ),
        gates=ancient(training_gates),
    output:
        probe="results/probes/{task}/{probe}.safetensors",
        scores="results/scores/{task}/train/{probe}.parquet",
    log:
        "results/logs/probes/{task}/{probe}.log",
    benchmark:
        "results/benchmarks/probes/{task}/{probe}.tsv"
    conda:
        "../envs/cpu.yaml"
    threads: 1
    resources:
        **probe_job(2),
    params:
        spec=spec(only("tasks/{task}", Training), "probes/{probe}"),
        script=script("train_probe.py", lambda wildcards: families_of([wildcards.probe])),
    shell:
        r"""
        python {params.script:q} \
            --spec {params.spec:q} \
            --code {params.script.code} \
            --task {wildcards.task} \
            --monitor {wildcards.probe} \
            --data {input.data:q} \
            --activations {input.activations:q} \
            --control {input.control:q} \
            --control-activations {input.control_activations:q} \
            --threads {threads} \
            --probe {output.probe:q} \
            --scores {output.scores:q} \
            --progress 3 \
            3>&2 &>{log:q}
        """


rule select_probe:
    input:
        probes=lambda wildcards: collect(
            "results/scores/{task}/train/{probe}.parquet", task=wildcards.task, probe=trained_of(task_of(wildcards))
        ),
        baselines=lambda wildcards: collect(
            "results/scores/{task}/train/{baseline}.parquet",
            task=wildcards.task,
            baseline=task_of(wildcards)["baselines"],
        ),
    output:
        selection="results/selections/{task}.json",
    log:
        "results/logs/selections/{task}.log",
    benchmark:
        "results/benchmarks/selections/{task}.tsv"
    localrule: True
    conda:
        "../envs/cpu.yaml"
    resources:
        mem=more(2),
        runtime="10m",
    params:
        spec=spec(only("tasks/{task}", Contest)),
        script=script("select_probe.py"),
    shell:
        r"""
        python {params.script:q} \
            --spec {params.spec:q} \
            --code {params.script.code} \
            --probe-scores {input.probes:q} \
            --baseline-scores {input.baselines:q} \
            --output {output.selection:q} \
            &>{log:q}
        """
