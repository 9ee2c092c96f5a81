"""monitor: held-out cases for the live monitor to replay. Makes results/monitor/{watched}.json."""


rule export_cases:
    input:
        selection=lambda wildcards: f"results/selections/{WATCHED[wildcards.watched]['task']}.json",
        probes=watched_probes,
        model=lambda wildcards: f"results/models/{base_of(watched_capture(wildcards)['subject'])}.json",
        data=lambda wildcards: datasets_of(watched_datasets(wildcards)),
        activations=watched_activations,
        scores=lambda wildcards: collect(
            "results/scores/{task}/{part}/probes.parquet",
            task=WATCHED[wildcards.watched]["task"],
            part=watched(wildcards)["evaluation"],
        ),
        generations=watched_generations,
        verbalisations=watched_verbalisations,
    output:
        cases="results/monitor/{watched}.json",
    log:
        "results/logs/monitor/{watched}.log",
    benchmark:
        "results/benchmarks/monitor/{watched}.tsv"
    wildcard_constraints:
        watched=one_of(WATCHED),
    conda:
        "../envs/cpu.yaml"
    resources:
        **probe_job(0.5),
    params:
        spec=spec(
            "monitor/replay",
            lambda wildcards: f"captures/{watched(wildcards)['capture']}",
            lambda wildcards: f"models/{base_of(watched_capture(wildcards)['subject'])}",
            lambda wildcards: [f"samplings/{id}" for id in filter(None, [watched_capture(wildcards)["sampling"]])],
        ),
        script=script("export_cases.py", lambda wildcards: families_of(trained_of(watched(wildcards)))),
        parts=lambda wildcards: watched(wildcards)["evaluation"],
        probe=lambda wildcards, input: (
            input.probes[0]
            if WATCHED[wildcards.watched]["probe"]
            else f"results/probes/{WATCHED[wildcards.watched]['task']}"
        ),
        monitor=lambda wildcards: WATCHED[wildcards.watched]["probe"] or [],
    shell:
        r"""
        python {params.script:q} \
            --spec {params.spec:q} \
            --code {params.script.code} \
            --selection {input.selection:q} \
            --monitor {params.monitor} \
            --probe {params.probe:q} \
            --model {input.model:q} \
            --parts {params.parts:q} \
            --data {input.data:q} \
            --activations {input.activations:q} \
            --scores {input.scores:q} \
            --generations {input.generations:q} \
            --verbalisations {input.verbalisations:q} \
            --output {output.cases:q} \
            &>{log:q}
        """


rule:
    name:
        "results/monitor/all"
    input:
        collect("results/monitor/{watched}.json", watched=WATCHED),
