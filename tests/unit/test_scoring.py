"""Scores of a saved probe on a part: a row for every example, whatever became of it, and what it costs."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from candor import tables
from candor.activations.files import ActivationsError
from candor.probes.features import Part
from candor.probes.files import Header, ProbeError, SavedProbe
from candor.probes.scoring import class_scores, score_part
from candor.schemas.score import SCORE
from tests.small_parts import BLOCKS, CLASSES, SUBJECT, planted, row, write_part

WIDTH = 5
ROWS = [
    row("whole", "a", "high", "test"),
    row("cut", "a", "low", "test"),
    row("empty", "b", "high", "test"),
    row("broken", "c", "low", "test"),
    row("odd", "d", "ambiguous", "test"),
    row("unlabelled", "e", None, "test"),
    row("elsewhere", "f", "low", "train"),
]
STATUSES = ["ok", "truncated", "empty", "not_finite", "ok", "ok", "ok"]


def part_of(folder: Path, **header: Any) -> Part:
    layers = {k: planted(ROWS, WIDTH, 1.0, k) for k in (0, 2)}
    for values in layers.values():
        values[2] = values[2][:0]
        values[3] = torch.full_like(values[0], torch.nan)
    return write_part(folder, "set@test", ROWS, layers, statuses=STATUSES, **header)


def probe_of(family: str, projections: int = 1, classes: list[str] = CLASSES, **header: Any) -> SavedProbe:
    """Random weights at layers 0 and 2 and seeds 0 and 7."""
    outputs = 1 if len(classes) == 2 else len(classes)
    generator = torch.Generator().manual_seed(0)
    weight = torch.randn(2, 2, projections, WIDTH, outputs, generator=generator)
    bias = torch.randn(2, 2, outputs, generator=generator)
    facts = Header(
        family=family,
        probe={"family": family},
        task="stakes",
        classes=classes,
        layers=[0, 2],
        seeds=[0, 7],
        subject="tiny",
        revision="a" * 40,
        hook="residual",
        width=WIDTH,
        standardisation="",
        train="other@train",
        train_sha256="",
        n_train=1,
        control="calm@test",
        target_fpr=0.01,
        thresholds={},
        metrics={},
        best_epochs={},
    )
    return SavedProbe(weight, bias, replace(facts, **header))


def scored(part: Part, probe: SavedProbe) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = score_part(part, probe, "monitor", SUBJECT).to_pylist()
    return rows


def test_the_table_keeps_its_contract_and_has_every_example_at_every_layer_and_seed(tmp_path: Path) -> None:
    table = score_part(part_of(tmp_path), probe_of("mean"), "monitor", SUBJECT)
    tables.write(tmp_path / "scores.parquet", table, SCORE, {})
    found = tables.read(tmp_path / "scores.parquet", SCORE).to_pylist()
    keys = {(r["layer"], r["seed"], r["example_id"]) for r in found}
    assert keys == {(layer, seed, r["example_id"]) for layer in (0, 2) for seed in (0, 7) for r in ROWS[:-1]}
    assert len(found) == len(keys)
    assert {(r["dataset"], r["split"], r["monitor"], r["class"], r["fold"]) for r in found} == {
        ("set", "test", "monitor", "high", None)
    }


def test_what_has_no_activations_has_a_status_and_no_score(tmp_path: Path) -> None:
    found = scored(part_of(tmp_path), probe_of("max"))[: len(ROWS) - 1]
    assert [r["status"] for r in found] == STATUSES[:-1]
    assert [r["score"] is not None for r in found] == [True, True, False, False, True, True]
    assert [r["probability"] is not None for r in found] == [True, True, False, False, True, True]
    assert [r["label"] for r in found] == [True, False, True, False, None, None]


@pytest.mark.parametrize("family", ["max", "mean", "last", "mean_then_linear"])
def test_a_score_is_the_familys_pooling_of_the_examples_own_rows(tmp_path: Path, family: str) -> None:
    part, probe = part_of(tmp_path), probe_of(family)
    weight, bias = probe.at(2, 7)
    found = [r for r in scored(part, probe) if (r["layer"], r["seed"]) == (2, 7)]
    examples = part.activations.layer(2).split(part.activations.lengths().tolist())
    for i in (0, 1, 4, 5):
        z = examples[i] @ weight[0, :, 0] + bias[0]
        expected = {"max": z.max(), "last": z[-1]}.get(family, z.mean())
        assert found[i]["score"] == pytest.approx(expected.item(), abs=1e-5)
        assert found[i]["probability"] == pytest.approx(1 / (1 + np.exp(-found[i]["score"])))
        assert found[i]["n_tokens"] == len(examples[i])


@pytest.mark.parametrize(("family", "projections"), [("mean", 1), ("max", 1), ("softmax", 1), ("attention", 2)])
def test_flops_are_two_per_multiply_add(tmp_path: Path, family: str, projections: int) -> None:
    part = part_of(tmp_path)
    for found in scored(part, probe_of(family, projections)):
        tokens = found["n_tokens"]
        # the probe: a multiply-add per token, feature and projection
        assert found["flops_monitor"] == 2 * tokens * WIDTH * projections
        # the subject: two FLOPs per weight and token, of the blocks that the layer needs
        blocks = found["layer"] + 1
        assert found["flops_total"] - found["flops_monitor"] == 2 * 1000 * blocks / BLOCKS * tokens


def test_a_pass_reads_up_to_the_last_position_that_is_stored(tmp_path: Path) -> None:
    rows = ROWS[:2]
    part = write_part(
        tmp_path, "set@test", rows, {k: planted(rows, WIDTH, 1.0, k) for k in (0, 2)}, store="positions", first=40
    )
    for found in scored(part, probe_of("mean")):
        read, blocks = found["n_tokens"] + 40, found["layer"] + 1
        assert found["flops_total"] - found["flops_monitor"] == 2 * 1000 * blocks / BLOCKS * read


def test_a_part_without_a_whole_example_is_all_nulls(tmp_path: Path) -> None:
    rows = ROWS[2:4]
    layers = {k: planted(rows, WIDTH, 0.0, k) for k in (0, 2)}
    part = write_part(tmp_path, "set@test", rows, layers, statuses=["empty", "error"])
    assert [r["score"] for r in scored(part, probe_of("last"))] == [None] * 8


def test_several_classes_have_log_odds_against_the_others(tmp_path: Path) -> None:
    classes = ["low", "high", "ambiguous"]
    found = scored(part_of(tmp_path), probe_of("mean", classes=classes))[:3]
    assert [r["class"] for r in found] == classes
    assert [r["label"] for r in found] == [False, True, False]
    assert sum(r["probability"] for r in found) == pytest.approx(1)
    for r in found:
        assert r["score"] == pytest.approx(np.log(r["probability"] / (1 - r["probability"])))


def test_a_margin_that_is_no_log_odds_gives_no_probability() -> None:
    logits = np.array([[2.0], [-1.0]])
    scores, probabilities = class_scores(logits, "difference_of_means")
    assert (scores == logits).all() and probabilities is None


def test_extreme_logits_are_probabilities_of_zero_and_one() -> None:
    with np.errstate(all="raise"):
        _, probabilities = class_scores(np.array([[1e5], [-1e5], [np.nan]]), "mean")
    assert probabilities is not None and probabilities[:2, 0].tolist() == pytest.approx([1, 0])
    assert np.isnan(probabilities[2, 0])


@pytest.mark.parametrize(("name", "value"), [("subject", "other"), ("revision", "b" * 40), ("hook", "input_layernorm")])
def test_activations_of_another_model_are_refused(tmp_path: Path, name: str, value: str) -> None:
    with pytest.raises(ProbeError, match=rf"set.safetensors: was read from another {name}"):
        score_part(part_of(tmp_path, **{name: value}), probe_of("mean"), "monitor", SUBJECT)


def test_activations_without_the_probes_layer_are_refused(tmp_path: Path) -> None:
    with pytest.raises(
        ActivationsError, match=r"set.safetensors: holds the tokens of layers \[0, 2\], not \[3\]; add them"
    ):
        score_part(part_of(tmp_path), probe_of("mean", layers=[0, 3]), "monitor", SUBJECT)


def test_damaged_rows_of_an_example_marked_as_whole_stop_the_job(tmp_path: Path) -> None:
    layers = {k: planted(ROWS, WIDTH, 0.0, k) for k in (0, 2)}
    layers[2][0][1, 1] = torch.inf
    part = write_part(tmp_path, "set@test", ROWS, layers)
    with pytest.raises(ActivationsError, match=r"layer 2 holds values that are not finite in examples marked as whole"):
        score_part(part, probe_of("max"), "monitor", SUBJECT)
