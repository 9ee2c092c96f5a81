"""figures: draw. Makes results/figures/{figure}.pdf, .png, .csv (the numbers drawn) and .json (their digests and
provenance), and results/figures/SHA256SUMS, which collects the digests that the figures' own jobs wrote."""

from candor.config.figures import READS

KINDS = ["pdf", "png", "csv", "json"]
FIGURES = collect("results/figures/{figure}.{kind}", figure=config["run"]["figures"], kind=KINDS)
QUICK = collect("results/figures/{figure}.{kind}", figure=config["run"]["quick"], kind=KINDS)
MANIFEST = "results/figures/SHA256SUMS"


def drawn_task(wildcards):
    """The task that a figure, or the experiment it draws, belongs to."""
    figure = config["figures"][wildcards.figure]
    return figure["task"] or config["experiments"][figure["experiment"]]["task"]


def figure_input(kind):
    """The files of one kind that a figure's plot reads; none where it reads no such files."""

    def files(wildcards):
        figure, task = config["figures"][wildcards.figure], drawn_task(wildcards)
        if kind not in READS[figure["plot"]]:
            return []
        of_task = config["tasks"][task]
        parts = of_task["evaluation"]
        return {
            "metrics": [f"results/metrics/{task}.parquet"],
            "selection": [f"results/selections/{task}.json"],
            "model": [f"results/models/{config['captures'][of_task['capture']]['subject']}.json"],
            "scores": [file for part in parts for file in score_files(task, part)],
            "datasets": list(dict.fromkeys(map(data_of, [of_task["train"], of_task["control"], *parts]))),
            "experiment": [f"results/experiments/{figure['experiment']}.parquet"],
        }[kind]

    return files


rule draw_figure:
    input:
        metrics=figure_input("metrics"),
        scores=figure_input("scores"),
        datasets=figure_input("datasets"),
        experiment=figure_input("experiment"),
        selection=figure_input("selection"),
        model=figure_input("model"),
        style="resources/figures/style.mplstyle",
    output:
        pdf="results/figures/{figure}.pdf",
        png=report(
            "results/figures/{figure}.png",
            caption="../report/figure.rst",
            category="Figures",
            labels={"figure": "{figure}"},
        ),
        csv="results/figures/{figure}.csv",
        json="results/figures/{figure}.json",
    log:
        "results/logs/figures/{figure}.log",
    benchmark:
        "results/benchmarks/figures/{figure}.tsv"
    conda:
        "../envs/cpu.yaml"
    localrule: True
    resources:
        mem="2GB",
        runtime="10m",
    params:
        spec=spec(
            "figures/{figure}",
            lambda wildcards: f"tasks/{drawn_task(wildcards)}",
            lambda wildcards: f"captures/{config['tasks'][drawn_task(wildcards)]['capture']}",
        ),
        script=script("draw_figure.py", lambda wildcards: f"candor.figures.plots.{config['figures'][wildcards.figure]['plot']}"),
    shell:
        r"""
        python {params.script:q} \
            --spec {params.spec:q} \
            --code {params.script.code} \
            --metrics {input.metrics:q} \
            --scores {input.scores:q} \
            --datasets {input.datasets:q} \
            --experiment {input.experiment:q} \
            --selection {input.selection:q} \
            --models {input.model:q} \
            --style {input.style:q} \
            --pdf {output.pdf:q} \
            --png {output.png:q} \
            --csv {output.csv:q} \
            --json {output.json:q} \
            &>{log:q}
        """


rule manifest:
    input:
        collect("results/figures/{figure}.json", figure=config["run"]["figures"]),
    output:
        MANIFEST,
    log:
        "results/logs/figures/manifest.log",
    benchmark:
        "results/benchmarks/figures/manifest.tsv"
    conda:
        "../envs/cpu.yaml"
    localrule: True
    params:
        script=script("write_manifest.py"),
    shell:
        r"""
        python {params.script:q} --code {params.script.code} --figures {input:q} --output {output:q} &>{log:q}
        """


rule:
    name:
        "results/figures/all"
    input:
        FIGURES,
        MANIFEST,


rule:
    name:
        "results/figures/quick"
    input:
        QUICK,
