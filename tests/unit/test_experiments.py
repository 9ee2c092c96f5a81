"""Experiments on planted activations: what was planted is found, and no group is on both sides of a fit."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
from pydantic import TypeAdapter
from sklearn.metrics import roc_auc_score
from torch import Tensor

from candor import tables
from candor.config.experiments import LayerSweep, VariationTransfer
from candor.config.probes import Probe
from candor.config.tasks import Bootstrapped
from candor.errors import CandorError
from candor.experiments import layer_sweep, variation_transfer
from candor.experiments.context import Context, Examples, measured, out_of_fold
from candor.experiments.permuting import permuted_by_group
from candor.probes.features import Part
from candor.probes.problems import make_problems
from candor.schemas.experiment import EXPERIMENT, SHUFFLED_FAMILY
from candor.scores import score_table
from tests.small_parts import CLASSES, pair_rows, planted, row, write_part

WIDTH, PAIRS, DRAWS = 6, 50, 200
TASK = Bootstrapped(classes=CLASSES, train="pairs@train", control="calm@test", folds=4, bootstrap=DRAWS)
LOGISTIC = {"family": "logistic", "c": 0.1}


@dataclass
class Quiet:
    """A progress that nobody reads."""

    total: int
    done: int = 0

    def update(self, done: int, note: str = "") -> None:
        self.done = done


def context_of(
    train: Part,
    probe: dict[str, Any] = LOGISTIC,
    attributes: list[str] | None = None,
    layer: int = 2,
    text: pa.Table | None = None,
) -> Context:
    if attributes is None:
        experiment: Any = LayerSweep(kind="layer_sweep", task="stakes", probe="probe")
    else:
        experiment = VariationTransfer(kind="variation_transfer", task="stakes", probe="probe", attributes=attributes)
    return Context(
        id="experiment",
        experiment=experiment,
        task=TASK,
        probe=TypeAdapter(Probe).validate_python(probe),
        train=train,
        selection={"probes": {"probe": {"layer": layer}}},
        text=text,
        progress=lambda name, total, unit: Quiet(total),
    )


def swept(folder: Path) -> Part:
    """Pairs whose label is planted from layer 2 on: faint at layer 1, clear at 2, as clear at 3 (means only)."""
    rows = pair_rows(PAIRS)
    layers = {k: planted(rows, WIDTH, strength, k) for k, strength in ((0, 0.0), (1, 0.4), (2, 4.0))}
    deep = torch.stack([x.mean(0) for x in planted(rows, WIDTH, 4.0, 3)])
    return write_part(folder, "pairs@train", rows, layers, {3: deep})


def by(rows: list[dict[str, Any]], **wanted: Any) -> list[dict[str, Any]]:
    return [each for each in rows if all(each[key] == value for key, value in wanted.items())]


def check(folder: Path, rows: list[dict[str, Any]]) -> None:
    """Write and read the table, which refuses what breaks the contract."""
    tables.write(folder / "experiment.parquet", rows, EXPERIMENT, {})
    assert tables.read(folder / "experiment.parquet", EXPERIMENT).num_rows == len(rows)


@pytest.mark.parametrize(
    "probe",
    [
        LOGISTIC,
        {"family": "difference_of_means"},
        {"family": "mean", "epochs": 60, "learning_rate": 0.02},
    ],
)
def test_a_layer_sweep_finds_the_planted_layer(tmp_path: Path, probe: dict[str, Any]) -> None:
    rows = layer_sweep.run(context_of(swept(tmp_path), probe))
    check(tmp_path, rows)
    family = probe["family"]
    auroc = [row["value"] for row in by(rows, family=family, metric="auroc")]
    assert [row["layer"] for row in by(rows, family=family, metric="auroc")] == [0, 1, 2, 3]
    assert max(auroc[:2]) < 0.85 and min(auroc[2:]) > 0.97
    assert {row["layer"] for row in rows if row["chosen"]} == {2}
    assert {row["family"] for row in rows if row["chosen"]} == {family}


def test_a_layer_sweep_counts_examples_groups_and_the_skipped(tmp_path: Path) -> None:
    rows = [*pair_rows(PAIRS), row("odd", "odd", "ambiguous"), row("mute", "mute", "high")]
    layer = planted(rows, WIDTH, 1.0, 0)
    layer[-1] = layer[-1][:0]
    found = layer_sweep.run(context_of(write_part(tmp_path, "pairs@train", rows, {0: layer})))
    assert {(r["n"], r["n_groups"], r["n_skipped"]) for r in found} == {(2 * PAIRS, PAIRS, 2)}


def test_shuffled_labels_are_near_one_half_at_every_layer_and_never_chosen(tmp_path: Path) -> None:
    context = context_of(swept(tmp_path))
    rows, examples = layer_sweep.run(context), Examples(context)
    y = permuted_by_group(examples.y, examples.groups, TASK.seed)
    chance = ((2 * PAIRS + 1) / (12 * PAIRS**2)) ** 0.5  # standard error of the AUROC of noise
    for each in by(rows, family=SHUFFLED_FAMILY, metric="auroc"):
        scores = out_of_fold(examples.means(each["layer"]), y, examples.groups, examples.folds, context, TASK.seed)
        assert each["value"] == pytest.approx(roc_auc_score(y, scores))
        assert abs(each["value"] - 0.5) < 4 * chance
    assert not any(each["chosen"] for each in by(rows, family=SHUFFLED_FAMILY))


def test_the_shuffled_control_is_centred_on_one_half(tmp_path: Path) -> None:
    rows = pair_rows(PAIRS)
    context = context_of(write_part(tmp_path, "pairs@train", rows, {0: planted(rows, WIDTH, 0.0, 0)}))
    examples, found = Examples(context), []
    for seed in range(40):
        y = permuted_by_group(examples.y, examples.groups, seed)
        scores = out_of_fold(examples.means(0), y, examples.groups, examples.folds, context, seed)
        found.append(roc_auc_score(y, scores))
    assert abs(np.mean(found) - 0.5) < 4 * np.std(found) / len(found) ** 0.5


def test_permuted_labels_keep_each_groups_make_up() -> None:
    groups = [f"{name}{i // size}" for name, size in (("pair", 2), ("one", 1), ("same", 2)) for i in range(40)]
    labels = np.array([0, 1] * 20 + [0] * 20 + [1] * 20 + [0, 0] * 10 + [1, 1] * 10)
    found = permuted_by_group(labels, groups, 0)
    assert (found[:40] != labels[:40]).any() and (found[40:80] != labels[40:80]).any()
    assert found[40:80].sum() == 20
    of_two = [*range(0, 40, 2), *range(80, 120, 2)]
    assert sorted(found[i] + found[i + 1] for i in of_two) == [0] * 10 + [1] * 20 + [2] * 10
    assert (permuted_by_group(labels, groups, 0) == found).all()
    assert (permuted_by_group(labels, groups, 1) != found).any()


def test_the_text_baselines_out_of_fold_scores_stand_beside_the_layers(tmp_path: Path) -> None:
    part = swept(tmp_path)
    rows = part.rows[::-1]  # in another order than the activations
    truth = np.array([each["label"] == "high" for each in rows])
    scores = truth + np.random.default_rng(0).normal(size=len(rows))
    own = score_table(rows, "pairs@train", CLASSES, "words", scores[:, None], folds=np.arange(len(rows)) % 4)
    control = score_table(rows, "calm@test", CLASSES, "words", -scores[:, None])
    found = layer_sweep.run(context_of(part, text=pa.concat_tables([own, control])))
    check(tmp_path, found)
    [text] = by(found, family="words", metric="auroc")
    assert text["value"] == pytest.approx(roc_auc_score(truth, scores))
    assert text["layer"] is None and not text["chosen"] and text["low"] < text["value"] < text["high"]


def test_the_same_sweep_gives_the_same_rows(tmp_path: Path) -> None:
    part = swept(tmp_path)
    assert layer_sweep.run(context_of(part)) == layer_sweep.run(context_of(part))


def varied(folder: Path, values: list[str], found_in: list[str], **others: list[Any]) -> Part:
    """Pairs of the tones `values` in turn; at layer 2 the label is planted in feature 0 for the tones `found_in`."""
    rows = pair_rows(PAIRS, tone=values, **others)
    clear, blank = planted(rows, WIDTH, 4.0, 2), planted(rows, WIDTH, 0.0, 2)
    shown = [json.loads(each["attributes"])["tone"] in found_in for each in rows]
    layer = [a if planted_here else b for a, b, planted_here in zip(clear, blank, shown, strict=True)]
    return write_part(folder, "pairs@train", rows, {2: layer})


def cells(rows: list[dict[str, Any]]) -> dict[tuple[str, str], float | None]:
    return {(each["train_value"], each["test_value"]): each["value"] for each in rows}


def test_a_cell_says_how_training_on_one_value_does_on_another(tmp_path: Path) -> None:
    rows = variation_transfer.run(context_of(varied(tmp_path, ["angry", "calm"], ["angry"]), attributes=["tone"]))
    check(tmp_path, rows)
    found = cells(rows)
    assert set(found) == {(a, b) for a in ("angry", "calm") for b in ("angry", "calm")}
    assert found["angry", "angry"] > 0.95
    assert abs(found["angry", "calm"] - 0.5) < 0.3 and abs(found["calm", "calm"] - 0.5) < 0.3
    for each in rows:
        assert (each["n"], each["n_groups"], each["n_train_groups"]) == (PAIRS, PAIRS // 2, PAIRS // 2)
        assert each["layer"] == 2
        assert each["low"] <= each["value"] <= each["high"] and each["remark"] is None


def test_each_attribute_has_a_heatmap_and_examples_without_a_value_are_in_none(tmp_path: Path) -> None:
    part = varied(tmp_path, ["angry", "calm"], ["angry"], words=[20, 50, None])
    rows = variation_transfer.run(context_of(part, attributes=["tone", "words"]))
    check(tmp_path, rows)
    assert {each["train_value"] for each in by(rows, attribute="words")} == {"20", "50"}
    assert sum(each["n"] for each in by(rows, attribute="words", train_value="20")) < 2 * PAIRS


def test_no_cell_trains_on_a_group_that_it_tests(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each pair has a direction of its own: only a fit that saw the pair's other half could tell its examples apart."""
    rows = pair_rows(20, tone=["angry", "calm"])
    eye = torch.eye(20).repeat_interleave(2, 0) * torch.tensor([-1.0, 1.0]).repeat(20)[:, None]
    part = write_part(tmp_path, "pairs@train", rows, {2: [x[None] for x in eye * 100]})
    seen = []

    def spied(groups: Any, labels: Any, assigned: Any, *others: Any, **named: Any) -> Any:
        problems = make_problems(groups, labels, assigned, *others, **named)
        seen.append((list(groups), list(assigned), problems))
        return problems

    monkeypatch.setattr(variation_transfer, "make_problems", spied)
    probe = {"family": "logistic", "c": 1e-2}
    found = cells(variation_transfer.run(context_of(part, probe, attributes=["tone"])))
    assert all(value == 0.5 for value in found.values())  # ties everywhere: nothing of a tested pair was seen
    assert len(seen) == 2
    for groups, assigned, problems in seen:
        for p, fold in enumerate(problems.folds):
            inside = {group for group, used in zip(groups, problems.train[:, p].tolist(), strict=True) if used}
            assert not inside & {group for group, of in zip(groups, assigned, strict=True) if of == fold}


def test_a_value_of_one_class_cannot_be_trained_on_and_one_tested_of_one_class_has_no_auroc(tmp_path: Path) -> None:
    rows = [row(f"{i}-{label}", f"{i}", label, tone="angry") for i in range(20) for label in CLASSES]
    rows += [row(f"calm{i}", f"calm{i}", "low", tone="calm") for i in range(20)]
    part = write_part(tmp_path, "pairs@train", rows, {2: planted(rows, WIDTH, 4.0, 2)})
    found = variation_transfer.run(context_of(part, attributes=["tone"]))
    check(tmp_path, found)
    remarks = {(each["train_value"], each["test_value"]): (each["value"], each["remark"]) for each in found}
    too_few = "too few training groups for a fit in every fold"
    assert remarks["calm", "angry"] == remarks["calm", "calm"] == (None, too_few)
    assert remarks["angry", "calm"] == (None, "one class only")
    assert remarks["angry", "angry"][0] > 0.9 and remarks["angry", "angry"][1] is None


def test_too_few_groups_for_early_stopping_leave_a_cell_empty_too(tmp_path: Path) -> None:
    rows = [row(f"{i}-{label}", f"{i}", label, tone="angry") for i in range(20) for label in CLASSES]
    rows += [row(f"calm{i}", f"calm{i}", CLASSES[i % 2], tone="calm") for i in range(10)]  # one group is watched
    part = write_part(tmp_path, "pairs@train", rows, {2: planted(rows, WIDTH, 4.0, 2)})
    found = variation_transfer.run(context_of(part, {"family": "mean", "epochs": 2}, attributes=["tone"]))
    assert {each["remark"] for each in by(found, train_value="calm")} == {
        "too few training groups for a fit in every fold"
    }
    assert all(each["value"] is not None for each in by(found, train_value="angry"))


def test_a_fold_without_examples_of_the_training_value_is_still_tested(tmp_path: Path) -> None:
    rows = pair_rows(40, tone=["angry"] * 37 + ["rare"] * 3)  # three pairs in four folds
    part = write_part(tmp_path, "pairs@train", rows, {2: planted(rows, WIDTH, 6.0, 2)})
    found = variation_transfer.run(context_of(part, attributes=["tone"]))
    [cell] = by(found, train_value="rare", test_value="angry")
    assert (cell["n"], cell["n_skipped"], cell["n_train_groups"]) == (74, 0, 3)


def test_an_attribute_that_no_example_has_is_a_sentence(tmp_path: Path) -> None:
    part = varied(tmp_path, ["angry", "calm"], ["angry"])
    with pytest.raises(CandorError, match=r"experiments.experiment.attributes: no example of pairs@train has .*'mood'"):
        variation_transfer.run(context_of(part, attributes=["mood"]))


def test_the_same_transfer_gives_the_same_rows(tmp_path: Path) -> None:
    part = varied(tmp_path, ["angry", "calm"], ["angry"])
    first, second = (variation_transfer.run(context_of(part, attributes=["tone"])) for _ in range(2))
    assert first == second


def test_accuracy_is_that_of_the_scores_sign() -> None:
    scores, positive = np.array([2.0, -1.0, 3.0, -0.5]), np.array([True, False, False, True])
    found = measured(scores, positive, ["a", "a", "b", "b"], ["auroc", "accuracy"], DRAWS, 0)
    assert found["accuracy"]["value"] == 0.5 and found["auroc"]["value"] == 0.5


def test_one_class_or_one_group_has_no_value_or_no_interval() -> None:
    scores = np.array([1.0, 2.0])
    nothing = {"auroc": {"value": None, "low": None, "high": None}}
    assert measured(scores, np.array([True, True]), ["a", "b"], ["auroc"], DRAWS, 0) == nothing
    assert measured(scores[:0], np.array([], dtype=bool), [], ["auroc"], DRAWS, 0) == nothing
    found = measured(scores, np.array([False, True]), ["a", "a"], ["auroc"], DRAWS, 0)["auroc"]
    assert found == {"value": 1.0, "low": None, "high": None}


def test_nothing_of_a_left_out_fold_changes_its_fit(tmp_path: Path) -> None:
    rows = pair_rows(PAIRS)
    context = context_of(write_part(tmp_path, "pairs@train", rows, {0: planted(rows, WIDTH, 1.0, 0)}))
    examples = Examples(context)
    x, of_fold = examples.means(0), examples.folds == 0

    def scores_of(x: Tensor, y: np.ndarray) -> np.ndarray:
        return out_of_fold(x, y, examples.groups, examples.folds, context, 0)

    before = scores_of(x, examples.y)
    after = scores_of(x, np.where(of_fold, 1 - examples.y, examples.y))
    np.testing.assert_allclose(after[of_fold], before[of_fold])
    assert not np.allclose(after[~of_fold], before[~of_fold])
    moved = x.clone()
    moved[torch.from_numpy(of_fold)] += 5.0
    shift = scores_of(moved, examples.y)[of_fold] - before[of_fold]
    np.testing.assert_allclose(shift, shift[0], rtol=1e-4)  # the same weights: every score moves by the same
