"""Figures: every plot from made-up tables, the same bytes twice, and a CSV row for every drawn mark."""

import csv
import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import draw_figure
import numpy as np
import pytest

from candor import provenance, tables
from candor.config.tasks import Task
from candor.figures import style
from candor.figures.curves import GRID, SeedScores, mean_curve
from candor.figures.inputs import FigureError
from candor.figures.measured import Measured
from candor.schemas.base import TableSchema
from candor.schemas.dataset import DATASET, SPLITS
from candor.schemas.experiment import EXPERIMENT
from candor.schemas.metric import METRIC
from candor.schemas.score import SCORE
from tests.drawn_texts import Texts, recorded, spoilt, words

Row = dict[str, Any]
EXPERIMENT_PLOTS = ["layer_sweep", "variation_heatmaps"]
TASK_PLOTS = ["label_distribution", "probe_comparison", "roc", "text_vs_probe"]
ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "scripts" / "draw_figure.py"
STYLE = ROOT / "resources" / "figures" / "style.mplstyle"
PROBES = ["mean", "max", "last", "rolling_mean_max", "softmax", "attention", "mean_then_linear", "difference_of_means"]
HEADLINE, LAYER, TEXT = "attention", 16, "tfidf"
SETS = [
    "stakes-pairs@test",
    "dialogues@test",
    "anthropic-hh@test",
    "toolace@test",
    "mts-dialog@test",
    "aya-redteaming@test",
]
LONG = "a-rather-long-name.of_an-evaluation-set-in-another-language@validation"
NEGATIVES = {"dialogues@test": 84, "mts-dialog@test": 43}


def task(sets: list[str], bootstrap: int = 20) -> dict[str, Any]:
    return {
        "title": "High stakes",
        "classes": ["low-stakes", "high-stakes"],
        "capture": "stakes",
        "train": "stakes-pairs@train",
        "control": "stakes-pairs@validation",
        "evaluation": sets,
        "in_distribution": ["stakes-pairs@test"] if len(sets) > 1 else [],
        "probes": PROBES,
        "baselines": [TEXT],
        "bootstrap": bootstrap,
    }


def metric_rows(sets: list[str]) -> list[Row]:
    """The text baseline is weaker than the probes; `mean_then_linear` separates the first set perfectly."""
    rng = np.random.default_rng(0)
    rows = []
    for i, monitor in enumerate([*PROBES, TEXT]):
        for dataset in [*sets, "mean"] if len(sets) > 1 else sets:
            negatives = NEGATIVES.get(dataset, 367)
            auroc = 0.72 if monitor == TEXT else 0.84 + 0.012 * i
            auroc += 0.05 * rng.standard_normal() - 0.04 * (dataset == "mts-dialog@test")
            if monitor == "mean_then_linear" and dataset == sets[0]:
                auroc = 1.0
            auroc = min(auroc, 1.0)
            tpr = max(0.0, 1.6 * auroc - 1.15)
            values: dict[tuple[str, str | None], float] = {
                ("auroc", None): auroc,
                ("accuracy", None): auroc - 0.08,
                ("tpr_at_fpr", None): tpr,
                ("tpr_at_fpr_nearest", None): min(1.0, tpr + 0.03),
                ("tpr_at_5_fpr", None): min(1.0, tpr + 0.2),
                ("realised_fpr", None): 0.0,
                ("tpr_at_control", None): min(1.0, tpr + 0.05),
                ("fpr_at_control", None): 0.0 if monitor == TEXT else 0.02,
            }
            if monitor != TEXT:
                values["auroc", TEXT] = auroc - 0.72
            for (metric, versus), value in values.items():
                width = 0.03 * (400 / negatives) ** 0.5
                rows.append(
                    {
                        "task": "stakes",
                        "monitor": monitor,
                        "family": monitor,
                        "layer": None if monitor == TEXT else LAYER,
                        "selected": monitor == HEADLINE,
                        "dataset": dataset,
                        "class": "high-stakes",
                        "metric": metric,
                        "versus": versus,
                        "value": value,
                        "low": value - width,
                        "high": value + width if versus else min(1.0, value + width),
                        "p_value": 0.01 if versus else None,
                        "p_holm": (0.0004, 0.04)[i % 2] if versus else None,
                        "n": 2 * negatives,
                        "n_positive": negatives,
                        "n_negative": negatives,
                        "n_groups": negatives,
                        "n_seeds": 1 if monitor == TEXT else 3,
                        "n_skipped": 2 if monitor == TEXT else 0,
                        "n_truncated": 0,
                        "remark": None,
                    }
                )
    return rows


def score_rows(sets: list[str]) -> list[Row]:
    rng = np.random.default_rng(1)
    rows = []
    for part in sets:
        dataset, split = part.split("@")
        for monitor, layer, seeds, gap in (
            (HEADLINE, LAYER, [0, 1, 2], 2.0),
            (HEADLINE, 3, [0], 0.0),
            (TEXT, None, [None], 0.8),
        ):
            for seed in seeds:
                for i in range(2 * min(120, NEGATIVES.get(part, 120))):
                    high = i % 2 == 1
                    unreadable = i == 5
                    rows.append(
                        {
                            "example_id": f"{dataset}-{i}",
                            "sample_index": 0,
                            "token_index": None,
                            "group_id": f"{dataset}-{i // 2}",
                            "dataset": dataset,
                            "split": split,
                            "monitor": monitor,
                            "layer": layer,
                            "seed": seed,
                            "fold": None,
                            "class": "high-stakes",
                            "label": None if i == 7 else high,
                            "score": None if unreadable else float(rng.standard_normal() + gap * high),
                            "probability": None,
                            "flops_monitor": None,
                            "flops_total": None,
                            "status": "error" if unreadable else "ok",
                            "n_tokens": 30,
                        }
                    )
    return rows


def dataset_rows(n: int) -> list[Row]:
    """Every split has two ambiguous rows and one without a label; high stakes are told at greater length."""
    rng = np.random.default_rng(2)
    rows = []
    for split in SPLITS:
        for i in range(n):
            label = ["low-stakes", "high-stakes"][i % 2] if i > 2 else ["ambiguous", "ambiguous", None][i]
            length = int(rng.integers(10, 40)) + 8 * (label == "high-stakes")
            rows.append(
                {
                    "example_id": f"{split}-{i}",
                    "group_id": f"{split}-{i // 2}",
                    "split": split,
                    "messages": [{"role": "user", "content": "word " * length}],
                    "label": label,
                    "rating": None,
                    "attributes": "{}",
                    "truncated": False,
                }
            )
    return rows


def experiment_row(**given: Any) -> Row:
    row = {
        "experiment": "e",
        "attribute": None,
        "train_value": None,
        "test_value": None,
        "family": "logistic",
        "layer": None,
        "metric": "auroc",
        "value": None,
        "low": None,
        "high": None,
        "n": 336,
        "n_groups": 168,
        "n_skipped": 0,
        "n_train_groups": None,
        "chosen": False,
        "remark": None,
    } | given
    if row["value"] is not None and row["low"] is None:
        row |= {"low": row["value"] - 0.03, "high": min(1.0, row["value"] + 0.03)}
    return row


def sweep_rows(layers: int = 24) -> list[Row]:
    rng = np.random.default_rng(3)
    rows = []
    for metric, top in (("auroc", 0.95), ("accuracy", 0.88)):
        for layer in range(layers):
            value = top - 0.35 * np.exp(-layer / 4) + 0.005 * rng.standard_normal()
            rows.append(experiment_row(metric=metric, layer=layer, value=value, chosen=layer == 14))
            control = 0.5 + 0.02 * rng.standard_normal()
            rows.append(experiment_row(metric=metric, layer=layer, family="shuffled", value=control))
        rows.append(experiment_row(metric=metric, family="tfidf", value=top - 0.03))
    return rows


VALUES = {
    "language": ["English", "French", "German", "Spanish"],
    "tone": ["angry", "vulnerable", "overly polite", "casual"],
    "prompt_style": ["question", "response to situation", "third person", "character perspective", "prompt to LLM"],
    "length": ["very short", "short", "medium", "long"],
}


def variation_rows() -> list[Row]:
    rng = np.random.default_rng(4)
    rows = []
    for attribute, values in VALUES.items():
        for i, train in enumerate(values):
            for j, test in enumerate(values):
                value = 0.95 - 0.07 * abs(i - j) + 0.03 * rng.standard_normal()
                groups = 12 if test == "Spanish" else 48
                names = {"attribute": attribute, "train_value": train, "test_value": test, "layer": LAYER}
                counts = {"n": 2 * groups, "n_groups": groups, "n_train_groups": 40}
                rows.append(experiment_row(value=min(1.0, value), **names, **counts))
    return rows


class Studio:
    """Made-up inputs on disk, and the script run on them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def table(self, name: str, rows: list[Row], schema: TableSchema) -> Path:
        path = self.folder / f"{name}.parquet"
        tables.write(path, rows, schema, {"repeats_dropped": 3})
        return path

    def flags(
        self, plot: str, sets: list[str] = SETS[:2], change: Callable[[list[Row]], None] | None = None
    ) -> list[str]:
        """The flags of a plot over these evaluation sets; `change` edits the rows of its first table in place."""
        figure = {"plot": plot, "title": f"A title for {plot.replace('_', ' ')}"}
        model = self.folder / "model.json"
        tables.write_json(model, {"name": "Qwen/Qwen2.5-1.5B-Instruct"}, {})
        flags = ["--models", str(model), "--selection", str(model)]
        if plot in ("layer_sweep", "variation_heatmaps"):
            spec = {
                "figures": {**figure, "experiment": "e"},
                "captures": {"subject": "m", "layers": [6, 14, 20], "store": "tokens"},
            }
            rows = sweep_rows() if plot == "layer_sweep" else variation_rows()
            table, schema = "experiment", EXPERIMENT
        else:
            spec = {"figures": {**figure, "task": "stakes"}, "tasks": task(sets)}
            rows, table, schema = metric_rows(sets), "metrics", METRIC
        if plot == "label_distribution":
            names = dict.fromkeys(["stakes-pairs", *(part.split("@")[0] for part in sets)])
            paths = [self.table(name, dataset_rows(300 if i == 0 else 80 * i), DATASET) for i, name in enumerate(names)]
            return [*flags, "--datasets", *map(str, paths), "--spec", json.dumps(spec)]
        if change:
            change(rows)
        flags += [f"--{table}", str(self.table(table, rows, schema))]
        if plot == "roc":
            flags += ["--scores", str(self.table("scores", score_rows(sets), SCORE))]
        return [*flags, "--spec", json.dumps(spec)]

    @property
    def outputs(self) -> list[Path]:
        return [self.folder / f"figure.{kind}" for kind in ("pdf", "png", "csv", "json")]

    def command(self, flags: list[str]) -> list[str]:
        outputs = [f"--{path.suffix[1:]}={path}" for path in self.outputs]
        return [str(SCRIPT), "--style", str(STYLE), *flags, *outputs]

    def draw(self, flags: list[str]) -> list[dict[str, str]]:
        """Run the script in this process; the rows of its CSV."""
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(sys, "argv", self.command(flags))
            draw_figure.main()
        with self.outputs[2].open(newline="") as file:
            return list(csv.DictReader(file))


@pytest.fixture
def studio(tmp_path: Path) -> Studio:
    return Studio(tmp_path)


@pytest.fixture
def written(monkeypatch: pytest.MonkeyPatch) -> Texts:
    """Every text that is drawn, where it was drawn last."""
    return recorded(monkeypatch)


@pytest.mark.parametrize("sets", [[LONG], SETS], ids=["one", "six"])
@pytest.mark.parametrize("plot", TASK_PLOTS)
def test_a_plot_of_a_task_fits_any_number_of_evaluation_sets(
    plot: str, sets: list[str], studio: Studio, written: Texts
) -> None:
    rows = studio.draw(studio.flags(plot, sets))
    assert spoilt(written) == []
    assert {row["dataset"] for row in rows} >= set(sets)
    assert "Qwen/Qwen2.5-1.5B-Instruct" in words(written)
    assert "skipped" in words(written) and "groups" in words(written)


@pytest.mark.parametrize("plot", EXPERIMENT_PLOTS)
def test_a_plot_of_an_experiment_says_what_it_rests_on(plot: str, studio: Studio, written: Texts) -> None:
    studio.draw(studio.flags(plot))
    assert spoilt(written) == []
    assert "skipped" in words(written) and "groups" in words(written) and "Intervals: 95 %" in words(written)


@pytest.mark.parametrize("plot", [*TASK_PLOTS, *EXPERIMENT_PLOTS])
def test_the_same_inputs_give_the_same_bytes(plot: str, studio: Studio, written: Texts) -> None:
    flags = studio.flags(plot)
    rows = studio.draw(flags)
    assert spoilt(written) == []
    first = [path.read_bytes() for path in studio.outputs]
    studio.draw(flags)
    assert [path.read_bytes() for path in studio.outputs] == first
    assert set(rows[0]) >= {"mark", "value", "low", "high", "n", "n_groups", "n_skipped"}
    assert b"Date" not in first[0] and b"/Type3" not in first[0]
    recorded = json.loads(first[3])
    assert recorded["sha256"] == {path.name: provenance.sha256(path) for path in studio.outputs[:3]}
    assert str(STYLE) in recorded["provenance"]["inputs"]


def test_another_process_gives_the_same_bytes(studio: Studio) -> None:
    flags = studio.flags("probe_comparison")
    studio.draw(flags)
    first = [path.read_bytes() for path in studio.outputs]
    environment = {**os.environ, "PYTHONHASHSEED": "7", "TZ": "Asia/Tokyo"}
    subprocess.run([sys.executable, *studio.command(flags)], check=True, env=environment)
    assert [path.read_bytes() for path in studio.outputs] == first


def test_every_mark_of_the_comparison_has_a_row(studio: Studio) -> None:
    rows = studio.draw(studio.flags("probe_comparison", SETS))
    marks = Counter((row["mark"], row["dataset"]) for row in rows)
    monitors = len(PROBES) + 1
    for column in [*SETS, "mean"]:
        assert marks["auroc", column] == marks["tpr_at_fpr", column] == marks["tpr_at_fpr_nearest", column] == monitors
        few = column in NEGATIVES or column == "mean"  # the mean has sets with few negatives under it
        assert marks["tpr_at_5_fpr", column] == (monitors if few else 0)


def test_every_cell_and_layer_has_a_row(studio: Studio) -> None:
    cells = studio.draw(studio.flags("variation_heatmaps"))
    assert len(cells) == sum(len(values) ** 2 for values in VALUES.values())
    assert {row["test_value"] for row in cells if row["hatched"] == "true"} == {"Spanish"}
    layers = studio.draw(studio.flags("layer_sweep"))
    assert Counter(row["family"] for row in layers) == {"logistic": 48, "shuffled": 48, "tfidf": 2}


def test_counts_of_labels_name_what_monitors_skip(studio: Studio) -> None:
    rows = studio.draw(studio.flags("label_distribution"))
    train = {row["label"]: row for row in rows if row["role"] == "train"}
    assert list(train) == ["low-stakes", "high-stakes", "ambiguous", "no label"]
    assert sum(int(row["value"]) for row in train.values()) == 300
    assert {(row["n_skipped"], row["repeats_dropped"]) for row in train.values()} == {("3", "3")}
    assert float(train["high-stakes"]["mean_words"]) > float(train["low-stakes"]["mean_words"])


@pytest.mark.parametrize("plot", ["probe_comparison", "text_vs_probe", "roc", "layer_sweep", "variation_heatmaps"])
def test_a_value_that_is_undefined_is_drawn_as_such(plot: str, studio: Studio, written: Texts) -> None:
    def undefine(rows: list[Row]) -> None:
        for row in rows:
            if row.get("dataset") == SETS[1] or row["layer"] == 3 or row.get("test_value") == "casual":
                row.update(value=None, low=None, high=None)

    rows = studio.draw(studio.flags(plot, SETS[:2], undefine))
    assert "n/a" in words(written)
    assert spoilt(written) == []
    assert any(row["value"] == row["low"] == "" for row in rows)


def test_only_an_auroc_of_exactly_one_has_a_ring(studio: Studio, written: Texts) -> None:
    def imperfect(rows: list[Row]) -> None:
        for row in rows:
            row["value"] = min(row["value"], 0.9999)

    studio.draw(studio.flags("probe_comparison"))
    assert "Ring: AUROC of exactly 1" in words(written)
    written.clear()
    studio.draw(studio.flags("probe_comparison", change=imperfect))
    assert "Ring" not in words(written)


def test_an_absent_input_is_named(studio: Studio) -> None:
    flags = studio.flags("roc")
    del flags[flags.index("--scores") + 1]  # as the workflow writes a flag that has no files
    with pytest.raises(FigureError, match="plot roc reads metrics, scores, selection, model; not given: scores"):
        studio.draw(flags)


def test_a_table_without_a_selected_monitor_is_refused(studio: Studio) -> None:
    def deselect(rows: list[Row]) -> None:
        for row in rows:
            row["selected"] = False

    with pytest.raises(FigureError, match="marks no monitor as selected"):
        studio.draw(studio.flags("text_vs_probe", change=deselect))


def test_three_classes_draw_the_mean_auroc_and_the_rates_of_the_second() -> None:
    states = Task.model_validate({**task(SETS[:1]), "classes": ["normal", "aware", "deceptive"]})
    rows = [{**row, "class": name} for row in metric_rows(SETS[:1]) for name in ("aware", "macro")]
    found = Measured(rows, states)
    assert found.row(HEADLINE, SETS[0], "auroc")["class"] == "macro"
    assert found.row(HEADLINE, SETS[0], "tpr_at_fpr")["class"] == "aware"
    assert found.auroc_of_rated_class(HEADLINE, SETS[0])["class"] == "aware"
    assert found.class_notes() == ["AUROC: mean over classes, each against the rest. Rates: aware against the rest."]


def test_a_curve_never_exceeds_the_rate_it_is_taken_at() -> None:
    score = np.array([3.0, 2.0, 2.0, 1.0])
    label = np.array([True, False, True, False])  # the equal scores cannot be parted
    curve = mean_curve([SeedScores(score, label, np.arange(4))], groups=4, draws=20, seed=0)
    at = dict(zip(GRID, curve.tpr, strict=True))
    assert at[0.0] == 0.5 and at[0.49] == 0.5 and at[0.5] == 1.0


def test_a_curve_is_the_mean_over_seeds_inside_its_band() -> None:
    label, group = np.array([True, False] * 20), np.arange(40) // 2
    good = SeedScores(np.where(label, 1.0, 0.0), label, group)
    useless = SeedScores(np.zeros(40), label, group)
    curve = mean_curve([good, useless], groups=20, draws=200, seed=0)
    assert curve.tpr[0] == 0.5 and curve.tpr[-1] == 1.0
    assert curve.low[0] == 0.0 and curve.high[0] == 1.0  # a draw may hold one seed twice


def test_long_names_break_at_their_separators() -> None:
    assert style.wrap_name("stakes-pairs@test", 0.8) == "stakes-pairs\n@test"
    assert style.wrap_name("stakes-pairs@test", 3.0) == "stakes-pairs@test"
    lines = style.wrap_name("x" * 60, 1.0).split("\n")
    assert "".join(lines) == "x" * 60 and all(style.text_width(line, 8) <= 1.0 for line in lines)
