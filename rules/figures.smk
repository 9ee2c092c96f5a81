"""figures: draw. Makes results/figures/{figure}.pdf, .png, .csv (the numbers drawn) and .json (their digests and
provenance), and results/figures/SHA256SUMS, which collects the digests that the figures' own jobs wrote."""

KINDS = ["pdf", "png", "csv", "json"]
FIGURES = collect("results/figures/{figure}.{kind}", figure=config["run"]["figures"], kind=KINDS)
QUICK = collect("results/figures/{figure}.{kind}", figure=config["run"]["quick"], kind=KINDS)
MANIFEST = "results/figures/SHA256SUMS"
# figures that are pages too
PAGES = collect(
    "results/figures/{figure}.html",
    figure=[id for id in config["run"]["figures"] if "tokens" in READS[config["figures"][id]["plot"]]],
)


rule draw_figure:
    input:
        metrics=figure_input("metrics"),
        scores=figure_input("scores"),
        datasets=figure_input("datasets"),
        experiment=figure_input("experiment"),
        cells=figure_input("cells"),
        places=figure_input("places"),
        curves=figure_input("curves"),
        templates=figure_input("templates"),
        tokens=figure_input("tokens"),
        comparisons=figure_input("comparisons"),
        panels=figure_input("panels"),
        histories=figure_input("histories"),
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
    localrule: True
    conda:
        "../envs/cpu.yaml"
    resources:
        mem=more(2),
        runtime="10m",
    params:
        spec=spec(
            "figures/{figure}[plot,title,task,experiment,experiments,comparisons,panels,adapters,published]",
            figure_config,
        ),
        script=script(
            "draw_figure.py", lambda wildcards: f"candor.figures.plots.{config['figures'][wildcards.figure]['plot']}"
        ),
    shell:
        r"""
        python {params.script:q} \
            --spec {params.spec:q} \
            --code {params.script.code} \
            --metrics {input.metrics:q} \
            --scores {input.scores:q} \
            --datasets {input.datasets:q} \
            --experiment {input.experiment:q} \
            --cells {input.cells:q} \
            --places {input.places:q} \
            --curves {input.curves:q} \
            --templates {input.templates:q} \
            --tokens {input.tokens:q} \
            --comparisons {input.comparisons:q} \
            --panels {input.panels:q} \
            --histories {input.histories:q} \
            --selection {input.selection:q} \
            --models {input.model:q} \
            --style {input.style:q} \
            --pdf {output.pdf:q} \
            --png {output.png:q} \
            --csv {output.csv:q} \
            --json {output.json:q} \
            &>{log:q}
        """


rule write_page:
    input:
        tokens=figure_input("tokens"),
    output:
        page="results/figures/{figure}.html",
    log:
        "results/logs/figures/{figure}.html.log",
    benchmark:
        "results/benchmarks/figures/{figure}.html.tsv"
    localrule: True
    conda:
        "../envs/cpu.yaml"
    resources:
        mem=more(2),
        runtime="10m",
    params:
        spec=spec("figures/{figure}[plot,title,experiment]"),
        script=script(
            "write_page.py", lambda wildcards: f"candor.figures.pages.{config['figures'][wildcards.figure]['plot']}"
        ),
    shell:
        r"""
        python {params.script:q} \
            --spec {params.spec:q} \
            --code {params.script.code} \
            --tokens {input.tokens:q} \
            --output {output.page:q} \
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
    localrule: True
    conda:
        "../envs/cpu.yaml"
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
        PAGES,
        MANIFEST,


rule:
    name:
        "results/figures/quick"
    input:
        QUICK,
