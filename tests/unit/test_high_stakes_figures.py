"""The figures of the high-stakes study: from made-up tables of the right form, and what each must say."""

import csv
import json
import sys
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import draw_figure
import pytest
from pydantic import ValidationError

from candor import tables
from candor.config.figures import Figure
from candor.config.tasks import Task
from candor.figures import published
from candor.figures.inputs import FigureError
from candor.figures.measured import Measured
from candor.schemas.base import TableSchema
from candor.schemas.curve import CURVE
from candor.schemas.metric import METRIC
from candor.schemas.score import SCORE
from candor.schemas.token import TOKEN
from tests import high_stakes_tables as made
from tests.drawn_texts import Texts, recorded, spoilt, words
from tests.high_stakes_tables import BASELINES, CONTROLS, HEADLINE, PROBES, SETS, Row

STYLE = Path(__file__).parents[2] / "resources" / "figures" / "style.mplstyle"
ONE, FEW, SOME, MANY = SETS[:1], SETS[:2], SETS[:3], SETS
MEASURED = ["method_comparison", "probes_vs_baselines", "realised_fpr"]
MONITORS = [*PROBES, *CONTROLS, *BASELINES]


class Studio:
    """Made-up tables on disk, and the script run on them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @property
    def outputs(self) -> list[Path]:
        return [self.folder / f"figure.{kind}" for kind in ("pdf", "png", "csv", "json")]

    def draw(
        self,
        figure: Row,
        files: Mapping[str, tuple[TableSchema, Sequence[list[Row]]]],
        spec: Row | None = None,
        facts: Row | None = None,
    ) -> list[dict[str, str]]:
        """The rows of the figure's CSV."""
        model = self.folder / "model.json"
        tables.write_json(model, {"name": "HuggingFaceTB/SmolLM2-135M-Instruct"}, {})
        command = ["draw_figure.py", "--style", str(STYLE), "--models", str(model), "--selection", str(model)]
        for flag, (schema, given) in files.items():
            command.append(f"--{flag}")
            for number, rows in enumerate(given):
                path = self.folder / f"{flag}-{number}.parquet"
                tables.write(path, rows, schema, facts or {})
                command.append(str(path))
        command += ["--spec", json.dumps({"figures": {"title": "A title", **figure}, **(spec or {})})]
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(sys, "argv", [*command, *(f"--{path.suffix[1:]}={path}" for path in self.outputs)])
            draw_figure.main()
        with self.outputs[2].open(newline="") as file:
            return list(csv.DictReader(file))

    def measured(
        self, plot: str, sets: Sequence[str], change: Callable[[list[Row]], None] = lambda rows: None, **figure: Any
    ) -> list[dict[str, str]]:
        """A plot of a task's metrics; `change` edits their rows in place."""
        rows = made.metric_rows(sets)
        change(rows)
        files = {"metrics": (METRIC, [rows])}
        if plot == "method_comparison":
            files["scores"] = (SCORE, [made.score_rows(sets)])
        return self.draw({"plot": plot, "task": "stakes", **figure}, files, {"tasks": made.task(sets)})

    def curves(self, plot: str, *given: list[Row]) -> list[dict[str, str]]:
        """A plot of the curves of experiments."""
        ids = [rows[0]["experiment"] for rows in given]
        return self.draw({"plot": plot, "experiments": ids}, {"curves": (CURVE, given)})

    def tokens(self, rows: list[Row]) -> list[dict[str, str]]:
        return self.draw({"plot": "token_scores", "experiment": "tokens"}, {"tokens": (TOKEN, [rows])})


@pytest.fixture
def studio(tmp_path: Path) -> Studio:
    return Studio(tmp_path)


@pytest.fixture
def written(monkeypatch: pytest.MonkeyPatch) -> Texts:
    """Every text that is drawn, where it was drawn last."""
    return recorded(monkeypatch)


@pytest.mark.parametrize("sets", [ONE, MANY], ids=["one", "six"])
@pytest.mark.parametrize("plot", MEASURED)
def test_a_plot_of_monitors_fits_any_number_of_sets(plot: str, sets: list[str], studio: Studio, written: Texts) -> None:
    rows = studio.measured(plot, sets)
    assert spoilt(written) == []
    assert "Intervals: 95 %" in words(written) and "SmolLM2" in words(written) and "skipped" in words(written)
    assert all(set(row) >= {"mark", "value", "low", "high", "n", "n_groups", "n_skipped"} for row in rows)
    # nothing says that one of these sets is a published one
    assert "ublished" not in words(written) and not [row for row in rows if row["mark"].startswith("published")]


@pytest.mark.parametrize(
    ("plot", "monitors"),
    [
        ("probe_comparison", MONITORS),
        ("realised_fpr", MONITORS),
        ("method_comparison", MONITORS),
        ("probes_vs_baselines", [HEADLINE, *CONTROLS, *BASELINES]),
    ],
)
def test_every_monitor_is_drawn_as_what_it_is(plot: str, monitors: list[str], studio: Studio, written: Texts) -> None:
    rows = studio.measured(plot, ONE)
    assert {row["monitor"] for row in rows} == set(monitors)
    kinds = {"selected probe", "controls", "text", "prompted", "finetuned", "judge"}
    assert kinds <= {text.words for text in written.values()}


def test_the_kind_of_a_monitor_follows_from_task_and_family() -> None:
    found = Measured(made.metric_rows(FEW), Task.model_validate(made.task(FEW)))
    kinds = {monitor: found.kind(monitor) for monitor in found.monitors}
    assert Counter(kinds.values())["other probes"] == len(PROBES) - 1
    assert kinds[HEADLINE] == "selected probe" and kinds["layer-0"] == kinds["length"] == "controls"
    assert kinds["tfidf"] == kinds["bag-of-words"] == "text" and kinds["judge-api"] == "judge"
    assert found.text_baseline() == "tfidf"


def test_costs_are_those_of_the_layer_and_stand_in_the_table(studio: Studio, written: Texts) -> None:
    rows = {row["monitor"]: row for row in studio.measured("method_comparison", ONE) if row["mark"] == "auroc"}
    probe, prompted = rows[HEADLINE], rows["prompted-8b"]
    assert float(probe["flops_added"]) < 1e7 < float(probe["flops"]) < float(prompted["flops"])
    assert rows["judge-api"]["flops"] == "" and rows["length"]["flops"] == "0"
    assert "cost not recorded: judge-api" in words(written) and "without cost: length" in words(written)


def test_the_paper_s_axis_gives_way_to_values_below_it(studio: Studio, written: Texts) -> None:
    def raise_all(rows: list[Row]) -> None:
        for row in rows:
            if row["metric"] == "auroc" and row["versus"] is None:
                row.update(value=0.8, low=0.7, high=0.9)

    studio.measured("probes_vs_baselines", ONE)
    assert "chance" in words(written)
    written.clear()
    studio.measured("probes_vs_baselines", ONE, raise_all)
    assert "chance" not in words(written)


def test_the_target_is_named_and_rates_have_rows(studio: Studio, written: Texts) -> None:
    rows = studio.measured("realised_fpr", SOME)
    assert "target: 1 %" in words(written)
    assert Counter(row["mark"] for row in rows) == dict.fromkeys(
        ["fpr_at_control", "tpr_at_control"], len(MONITORS) * (len(SOME) + 1)
    )


@pytest.mark.parametrize("plot", ["method_comparison", "probes_vs_baselines", "probe_comparison"])
def test_published_values_of_the_same_set_are_drawn_and_named(plot: str, studio: Studio, written: Texts) -> None:
    same = {"mean": "six_test_sets", "anthropic-hh@test": "anthropic_hh"}
    rows = [row for row in studio.measured(plot, SOME, published=same) if row["mark"] == "published_auroc"]
    mean = [row for row in rows if row["dataset"] == "mean"]
    assert {float(row["value"]) for row in mean} == {0.916, 0.887, 0.913, 0.929, 0.877}
    assert {row["dataset"] for row in rows} == ({"mean"} if plot == "method_comparison" else set(same))
    assert "0.916 attention probe, Llama-3.3-70B (arXiv 2506.10805)" in words(written)
    assert spoilt(written) == []


def test_published_values_are_of_one_set_and_quantity() -> None:
    assert published.matching({}, "mean", "auroc") == []
    assert published.matching({"mean": "six_test_sets"}, "mean", "tpr_at_fpr") == []
    assert all(0 < one.value < 1 and one.source for one in published.VALUES)
    with pytest.raises(ValidationError, match="published"):
        Figure.model_validate({"plot": "roc", "title": "x", "task": "t", "published": {"mean": "some_set"}})


@pytest.mark.parametrize("plot", ["method_comparison", "probes_vs_baselines", "realised_fpr"])
def test_an_undefined_value_of_a_monitor_is_drawn_as_such(plot: str, studio: Studio, written: Texts) -> None:
    def undefine(rows: list[Row]) -> None:
        for row in rows:
            if row["monitor"] == "prompted-1b":
                row.update(value=None, low=None, high=None)

    rows = studio.measured(plot, ONE, undefine)
    assert "n/a" in words(written) and spoilt(written) == []
    assert any(row["monitor"] == "prompted-1b" and row["value"] == "" for row in rows)


@pytest.mark.parametrize("sets", [ONE, SOME], ids=["one", "three"])
def test_data_efficiency_draws_several_experiments(sets: list[str], studio: Studio, written: Texts) -> None:
    probes, tuned = made.efficiency(sets, PROBES), made.efficiency(sets, ["finetuned-1b"], "finetuned")
    rows = studio.curves("data_efficiency", probes, tuned)
    assert spoilt(written) == []
    assert {row["experiment"] for row in rows} == {"efficiency", "finetuned"}
    shown = [row for row in [*probes, *tuned] if row["dataset"] != "mean" or len(sets) > 1]
    assert len(rows) == len(shown)
    assert "undefined (one class only)" in words(written) and "630" in words(written)


def test_the_mean_of_a_single_set_is_not_drawn_again(studio: Studio, written: Texts) -> None:
    rows = studio.curves("data_efficiency", made.efficiency(ONE, ["attention"]))
    assert {row["dataset"] for row in rows} == set(ONE)
    assert "mean over sets" not in words(written)


@pytest.mark.parametrize("sets", [ONE, SOME], ids=["one", "three"])
def test_dev_split_starts_from_the_unchanged_probe(sets: list[str], studio: Studio, written: Texts) -> None:
    table = made.development(sets)
    rows = studio.curves("dev_split", table)
    assert spoilt(written) == []
    assert len(rows) == len(table)
    said = words(written)
    assert all(name in said for name in ("fine-tune", "only", "combine", "probe as it was", "tfidf", "256"))
    assert {row["x"] for row in rows if row["curve"] == "tfidf"} == {""}


def test_a_cascade_of_one_way_is_one_panel_of_the_mean(studio: Studio, written: Texts) -> None:
    rows = studio.curves("cascade", made.cascades(MANY, ["median"], ["mean"]))
    assert spoilt(written) == []
    assert Counter(row["mark"] for row in rows) == {"cascade": 6, "alone": 3}
    assert {row["dataset"] for row in rows} == {"mean"} and {row["metric"] for row in rows} == {"auroc"}
    assert "cost not recorded: judge-api" in words(written)


def test_a_full_cascade_has_a_panel_for_every_way(studio: Studio, written: Texts) -> None:
    rows = studio.curves("cascade", made.cascades(FEW, ["median", "top", "bottom"], ["mean", "max", "replace"]))
    assert spoilt(written) == []
    assert len({row["panel"] for row in rows}) == 9
    assert "top routed, replaced" in words(written)


@pytest.mark.parametrize(("sets", "rated"), [(ONE, False), (ONE, True), (SOME, True)])
def test_calibration_states_ece_and_brier(sets: list[str], rated: bool, studio: Studio, written: Texts) -> None:
    table = made.reliability(sets, ["attention", "tfidf"], rated=rated)
    rows = studio.curves("calibration", table)
    assert spoilt(written) == []
    assert len(rows) == len(table)
    said = words(written)
    assert "raw: .21 [.15, .27], .31" in said and "raw: undefined" in said
    assert ("mean rating" in said) == rated and ("no ratings" in said) == (rated and len(sets) > 1)


@pytest.mark.parametrize("sets", [ONE, SOME], ids=["one", "three"])
def test_length_bins_say_what_they_hold(sets: list[str], studio: Studio, written: Texts) -> None:
    rows = studio.curves("length_bins", made.lengths(sets, ["attention", "tfidf"]))
    assert spoilt(written) == []
    said = [text.words for text in written.values()]
    panels = len(sets) + 1
    assert said.count("undefined") == said.count("no text") == panels
    assert said.count("90") == said.count("50\N{EN DASH}199") == panels and said.count("≥ 1000") == panels
    assert len(rows) == 2 * 5 * panels


def test_the_chosen_template_is_marked(studio: Studio, written: Texts) -> None:
    tables_ = [made.templates("prompted-1b"), made.templates("prompted-8b")]
    figure, spec = {"plot": "prompt_templates", "task": "stakes"}, {"tasks": made.task(FEW)}
    rows = studio.draw(figure, {"templates": (CURVE, tables_)}, spec, {"wording": {"default": "reworded"}})
    assert spoilt(written) == []
    assert [row["template"] for row in rows if row["chosen"] == "true"] == ["single_letter"] * 2
    assert "Wording: reworded" in words(written) and "n/a" in words(written)
    rows = studio.draw(figure, {"templates": (CURVE, tables_)}, spec, {"template": "default"})
    assert {row["template"] for row in rows if row["chosen"] == "true"} == {"default"}


def test_every_token_has_a_row_and_the_highest_text_is_first(studio: Studio, written: Texts) -> None:
    texts = [["Can", " you", " name", " a", " rabbit", "?"], ["My", " father", " has", "\n", "chest pain", ""]]
    rows = studio.tokens(made.token_rows(texts, unread=1))
    assert [row["example_id"] for row in rows[:1]] == ["dialogue-1"]
    assert sorted(row["token"] for row in rows) == sorted(token for text in texts for token in text)
    assert "tokens that the probe does not read" in words(written) and "a line break" in words(written)


@pytest.mark.filterwarnings("error")
def test_any_script_can_be_drawn(studio: Studio, written: Texts) -> None:
    text = [
        "اتصل",
        " بالطبيب",
        " שלום",
        "救急車",
        "\U0001f691",
        "नमस्ते",
        " $x_1$",
        "\x07",
        "\u200b",
        "\ufffd",
        "\r\n",
        "\t",
    ]
    rows = studio.tokens(made.token_rows([text]))
    assert len(rows) == len(text)
    assert "lacks" in words(written) and "right to left" in words(written)


def test_texts_that_do_not_fit_a_page_are_counted(studio: Studio, written: Texts) -> None:
    rows = studio.tokens(made.token_rows([["word "] * 190 for _ in range(12)]))
    shown = len({row["example_id"] for row in rows})
    assert 1 < shown < 12 and {"dialogue-0", "dialogue-11"} <= {row["example_id"] for row in rows}
    assert f"{shown} of them are shown" in words(written)
    assert all(text.page[1] <= 10 * 200 for text in written.values())


def test_tables_in_another_order_are_refused(studio: Studio) -> None:
    probes, tuned = made.efficiency(ONE, ["attention"]), made.efficiency(ONE, ["tuned"], "finetuned")
    figure = {"plot": "data_efficiency", "experiments": ["finetuned", "efficiency"]}
    with pytest.raises(FigureError, match="not of the experiment finetuned"):
        studio.draw(figure, {"curves": (CURVE, [probes, tuned])})
    with pytest.raises(FigureError, match="names 2 experiments, but 1 tables"):
        studio.draw(figure, {"curves": (CURVE, [probes])})
    with pytest.raises(FigureError, match="no rows of auroc"):
        studio.curves("length_bins", [row | {"metric": "ece"} for row in probes])


def test_an_absent_table_is_named(studio: Studio) -> None:
    with pytest.raises(FigureError, match="not given: tokens"):
        studio.draw({"plot": "token_scores", "experiment": "tokens"}, {"tokens": (TOKEN, [])})


@pytest.mark.parametrize("plot", ["cascade", "token_scores", "realised_fpr"])
def test_the_same_tables_give_the_same_bytes(plot: str, studio: Studio) -> None:
    def draw() -> list[bytes]:
        if plot == "token_scores":
            studio.tokens(made.token_rows([["one", " two"], ["three"]]))
        elif plot == "cascade":
            studio.curves(plot, made.cascades(FEW, ["median"], ["max"]))
        else:
            studio.measured(plot, ONE)
        return [path.read_bytes() for path in studio.outputs]

    assert draw() == draw()
