"""A probe on rounded weights: the rounding itself, the controls, what moves, and the original's spot checks."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import TypeAdapter
from torch import Tensor

from candor import tables
from candor.activations.files import ActivationsError
from candor.config.captures import Capture
from candor.config.experiments import Quantisation
from candor.config.probes import Probe
from candor.config.samplings import Sampling
from candor.experiments import quantisation
from candor.experiments.cells import Drawn
from candor.experiments.quantisation import QuantisationContext, Text, correlation, ids_of
from candor.models import Subject
from candor.probes.features import Part
from candor.probes.files import SavedProbe
from candor.probes.training_job import train_probe
from candor.rounding import matrices, randomise_weights, round_weights, rounded
from candor.schemas.cell import CELL
from tests.evaluation_contexts import Quiet
from tests.small_models import small_subject, small_tokenizer
from tests.triples import STATES, task_of, triple_part, triples

LAYER = 2
WORDS = {"normal": "briefly", "eval_aware": "assistant", "deceptive": "pressure"}


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    return small_tokenizer()


def rows_of(n: int, split: str) -> list[dict[str, Any]]:
    """Triples whose words tell the states apart, as a model's activations then do."""
    rows = triples(n, split, split)
    for row in rows:
        row["messages"][0]["content"] = f"number {row['group_id']}: " + f"{WORDS[row['label']]} " * 4
    return rows


def read(rows: Sequence[Mapping[str, Any]], subject: Subject, capture: Capture) -> tuple[list[Text], list[Tensor]]:
    """The last three tokens of each text, and the subject's activations there."""
    ids = ids_of(rows, subject.tokenizer, capture, None, {})
    texts = [Text(each, list(range(len(each) - 3, len(each)))) for each in ids]
    return texts, quantisation.states(subject, "residual", LAYER, texts, 256)


def part_of(folder: Path, name: str, rows: list[dict[str, Any]], subject: Subject, capture: Capture) -> Part:
    texts, layer = read(rows, subject, capture)
    part = triple_part(folder, name, rows, {LAYER: layer})
    places = [text.positions for text in texts]
    index = {
        "positions": torch.tensor([p for own in places for p in own]),
        "token_ids": torch.tensor([text.ids[p] for text, own in zip(texts, places, strict=True) for p in own]),
    }
    held = part.activations.index
    part.activations.index = lambda name: index.get(name, held(name)) if name in index else held(name)  # type: ignore
    return part


@pytest.fixture(scope="module")
def context(tokenizer: Any, tmp_path_factory: pytest.TempPathFactory) -> QuantisationContext:
    """A probe of the small model's own activations, on texts it tells apart."""
    folder = tmp_path_factory.mktemp("quantisation")
    capture = Capture(subject="tiny", layers=[LAYER], store="positions", positions=[-3, -2, -1])
    subject = small_subject(tokenizer)
    train = part_of(folder / "train", "triples@train", rows_of(12, "train"), subject, capture)
    test = part_of(folder / "test", "triples@test", rows_of(6, "test"), subject, capture)
    probe: Any = TypeAdapter(Probe).validate_python({"family": "logistic", "c": 1.0, "intercept": True})
    saved = trained_on_model(folder, train, subject, capture, probe)
    return QuantisationContext(
        id="four-bits",
        experiment=Quantisation(kind="quantisation", task="inner-state", part="triples@test", group=32),
        task=task_of(),
        monitor="probe",
        layer=LAYER,
        saved=saved,
        part=test,
        texts=lambda rows: ids_of(rows, tokenizer, capture, None, {}),
        load=lambda: small_subject(tokenizer),
        batch_tokens=256,
        progress=lambda name, total, unit: Quiet(),
        control_labels={"normal"},
    )


def trained_on_model(folder: Path, train: Part, subject: Subject, capture: Capture, probe: Any) -> Any:
    benign = [row for row in rows_of(20, "validation") if row["label"] == "normal"]
    control = part_of(folder / "control", "calm@validation", benign, subject, capture)
    return train_probe(train, control, task_of(), "inner-state", "probe", probe, descriptor=-1).probe


def cells(rows: list[dict[str, Any]], **wanted: Any) -> list[dict[str, Any]]:
    return [row for row in rows if all(row[key] == value for key, value in wanted.items())]


def test_rounding_leaves_sixteen_values_a_group_and_moves_none_by_more_than_half_a_step() -> None:
    weight = torch.randn(6, 96, generator=torch.Generator().manual_seed(0))
    found = rounded(weight, 4, 32)
    for before, after in zip(weight.view(-1, 32), found.view(-1, 32), strict=True):
        step = (before.max() - before.min()) / 15
        assert len(after.unique()) <= 16 and (after - before).abs().max() <= step / 2 + 1e-6
        assert after.max() == pytest.approx(before.max().item()) and after.min() == pytest.approx(before.min().item())


def test_a_moved_grid_moves_none_by_more_than_half_a_step_and_all_of_them_by_nothing_on_average() -> None:
    weight = torch.randn(256, 576, generator=torch.Generator().manual_seed(0))
    found = rounded(weight, 4, 64, torch.Generator().manual_seed(1))
    groups = weight.view(-1, 64)
    step = (groups.amax(1, keepdim=True) - groups.amin(1, keepdim=True)) / 15
    error = found.view(-1, 64) - groups
    assert (error.abs() / step).max() <= 0.5 + 1e-4
    # 147,456 errors of about a third of a step; a grid that is only ever moved up shifts the mean by .0028
    assert abs(float(error.mean())) < 0.001


def test_what_was_rounded_before_does_not_move_unless_its_grid_does() -> None:
    weight = rounded(torch.randn(8, 64, generator=torch.Generator().manual_seed(0)), 4, 32)
    again = rounded(weight, 4, 32)
    moved = rounded(weight, 4, 32, torch.Generator().manual_seed(1))
    torch.testing.assert_close(again, weight, rtol=0, atol=1e-6)
    assert (moved - weight).abs().mean() > 100 * (again - weight).abs().mean()


def test_rows_that_are_no_multiple_of_a_group_and_constant_groups_are_rounded() -> None:
    weight = torch.cat([torch.randn(3, 40, generator=torch.Generator().manual_seed(0)), torch.full((1, 40), 0.3)])
    found = rounded(weight, 4, 32)
    assert found.shape == weight.shape and (found - weight).abs().max() < 0.3
    torch.testing.assert_close(found[3], weight[3])


def test_a_model_is_rounded_in_its_matrices_alone_and_the_same_each_time(tokenizer: Any) -> None:
    models = [small_subject(tokenizer).model for _ in range(3)]
    for model, seed in zip(models[1:], (3, 3), strict=True):
        assert round_weights(model, 4, 32, seed) == sum(weight.numel() for _, weight in matrices(model))
    before, first, second = (dict(model.named_parameters()) for model in models)
    changed = {name for name, value in before.items() if not torch.equal(value, first[name])}
    assert changed and all("norm" not in name for name in changed)
    assert all(torch.equal(first[name], second[name]) for name in before)


def test_blocks_above_what_is_read_stay_as_they_are(tokenizer: Any) -> None:
    subject, other = small_subject(tokenizer), small_subject(tokenizer)
    round_weights(other.model, 4, 32, without=list(other.model.model.layers)[3:])
    changed = [
        not torch.equal(a, b) for (_, a), (_, b) in zip(matrices(subject.model), matrices(other.model), strict=True)
    ]
    top = [".3." in name for name, _ in matrices(subject.model)]
    assert any(changed) and not any(c for c, above in zip(changed, top, strict=True) if above)


def test_random_weights_keep_their_spread(tokenizer: Any) -> None:
    subject, other = small_subject(tokenizer), small_subject(tokenizer)
    randomise_weights(other.model, 0)
    for (_, one), (_, another) in zip(matrices(subject.model), matrices(other.model), strict=True):
        assert not torch.equal(one, another)
        assert another.std().item() == pytest.approx(one.std().item(), rel=0.1)


def test_the_table_says_how_far_scores_and_decisions_move_with_each_set_of_weights(
    context: QuantisationContext, tmp_path: Path
) -> None:
    found = quantisation.run(context)
    tables.write(tmp_path / "cells.parquet", found, CELL, {})
    for source, versus in (("rounded", "full"), ("rerounded", "full"), ("random_rounded", "random")):
        for name in STATES:
            [row] = cells(found, source=source, versus=versus, metric="correlation", **{"class": name})
            assert row["low"] <= row["value"] <= row["high"] <= 1 and row["n_groups"] == 6 and row["n"] == 18
        [row] = cells(found, source=source, versus=versus, metric="changed", **{"class": None})
        assert 0 <= row["low"] <= row["value"] <= row["high"] <= 1
    assert cells(found, source="full", metric="auroc", **{"class": "macro"})[0]["value"] > 0.95
    assert len(cells(found, source="rounded", versus="full", metric="auroc", **{"class": "macro"})) == 1
    # a probe means nothing on random weights, nor do its thresholds
    assert not cells(found, source="random_rounded", metric="auroc")
    changed = {(row["source"], row["class"]) for row in cells(found, metric="changed")}
    assert changed == {
        *((source, name) for source in ("rounded", "rerounded") for name in ("eval_aware", "deceptive", None)),
        ("random_rounded", None),
    }


def test_changed_decisions_say_how_many_texts_are_flagged(context: QuantisationContext) -> None:
    """A share of changes near 0 says little where hardly a text is above the threshold."""
    found = quantisation.run(context)
    [limits] = context.saved.header.thresholds[str(LAYER)].values()
    for row in (row for row in cells(found, metric="changed") if row["class"]):
        scored = {
            source: [each["value"] for each in cells(found, metric="score", source=source, **{"class": row["class"]})]
            for source in ("full", row["source"])
        }
        flagged = {source: [value > limits[row["class"]] for value in values] for source, values in scored.items()}
        before, after = flagged["full"], flagged[row["source"]]
        assert row["remark"] == f"{sum(before)} flagged before, {sum(after)} after"
        assert row["value"] == pytest.approx(np.mean(np.array(before) != np.array(after)))


def test_a_probe_without_probabilities_says_why_there_are_no_spot_checks(context: QuantisationContext) -> None:
    saved = context.saved
    header = replace(saved.header, probe={"family": "difference_of_means"}, family="difference_of_means")
    experiment = context.experiment.model_copy(update={"controls": []})
    own = SavedProbe(saved.weight, saved.bias, header)
    [row] = cells(quantisation.run(replaced(context, saved=own, experiment=experiment)), metric="probability")
    assert row["value"] is None and row["remark"] == "no probabilities: no spot checks"


def test_more_bits_move_scores_less(context: QuantisationContext) -> None:
    found = {}
    for bits in (2, 8):
        experiment = context.experiment.model_copy(update={"bits": bits, "controls": []})
        own = quantisation.run(replaced(context, experiment=experiment))
        found[bits] = cells(own, source="rounded", metric="correlation", **{"class": "deceptive"})[0]["value"]
    assert found[8] > 0.999 and found[8] > found[2]


def test_spot_checks_of_the_original_three_examples_keep_their_probability_on_four_bit_weights(
    context: QuantisationContext,
) -> None:
    """The original looked at three examples: probability .98 to 1.00 on 4-bit weights, beside those on full ones.

    Here one of each state, on a random model of width 32, which is moved more than a large one.
    """
    found = cells(quantisation.run(context), metric="probability")
    assert [(row["source"], row["class"]) for row in found] == [
        (source, name) for name in STATES for source in ("full", "rounded")
    ]
    for full, rounded_ in zip(found[::2], found[1::2], strict=True):
        assert full["target"] == rounded_["target"]
        assert full["value"] > 0.9 and rounded_["value"] == pytest.approx(full["value"], abs=0.2)


def test_a_limit_takes_whole_groups_and_skips_none(context: QuantisationContext) -> None:
    experiment = context.experiment.model_copy(update={"limit": 7, "controls": []})
    found = quantisation.run(replaced(context, experiment=experiment))
    measured = {(row["n"], row["n_groups"], row["n_skipped"]) for row in cells(found, source="full", metric="auroc")}
    assert measured == {(6, 2, 0)}


def test_a_limit_hangs_on_the_seed_and_not_on_the_order_of_the_file(tmp_path: Path) -> None:
    """Files are written family by family: the first groups would be of one or two."""
    rows = sorted(triples(30, "test"), key=lambda row: row["attributes"])
    part = triple_part(tmp_path, "triples@test", rows, {LAYER: [torch.zeros(1, 4) for _ in rows]})
    chosen = [quantisation._chosen(part, range(90), seed, 30) for seed in (0, 0, 1)]
    assert chosen[0] == chosen[1] != chosen[2]
    for at in chosen:
        assert len({rows[i]["group_id"] for i in at}) == 10 and len({str(rows[i]["attributes"]) for i in at}) == 3


def test_texts_without_a_label_of_the_task_are_skipped(context: QuantisationContext) -> None:
    part = context.part
    labels = ["another" if row["group_id"] == part.rows[0]["group_id"] else row["label"] for row in part.rows]
    rows = [{**row, "label": label} for row, label in zip(part.rows, labels, strict=True)]
    experiment = context.experiment.model_copy(update={"limit": 7, "controls": []})
    found = quantisation.run(replaced(context, part=part._replace(rows=rows), experiment=experiment))
    assert {row["n_skipped"] for row in cells(found, source="full", metric="auroc")} == {3}


def test_other_tokens_than_those_that_were_read_are_refused(context: QuantisationContext) -> None:
    with pytest.raises(ActivationsError, match=r"test0-normal of triples@test has other tokens than those that its"):
        quantisation.run(replaced(context, texts=lambda rows: [[5] * 200 for _ in rows]))


def test_a_response_stands_after_the_prompt_as_the_model_has_read_it(tokenizer: Any) -> None:
    rows = rows_of(1, "test")[:1]
    capture = Capture(subject="tiny", layers=[LAYER], store="positions", positions="last_prompt", sampling="answers")
    [found] = ids_of(rows, tokenizer, capture, Sampling(), {rows[0]["example_id"]: [7, 8, 9]})
    text = tokenizer.decode(found[:-3])
    assert found[-3:] == [7, 8, 9] and text.endswith("<|im_start|>assistant\n")


def test_a_correlation_is_resampled_by_group() -> None:
    rng = np.random.default_rng(0)
    one, noise = rng.normal(size=30), rng.normal(size=30)
    y = np.arange(30) % 3
    groups = [str(i // 3) for i in range(30)]
    once = correlation(one[None], (one + noise)[None], Drawn(y, groups, 0, 400, 0, "part"))
    assert once["value"] == pytest.approx(np.corrcoef(one, one + noise)[0, 1])
    before, after = (np.tile(each, 2)[None] for each in (one, one + noise))
    again = correlation(before, after, Drawn(np.tile(y, 2), groups * 2, 0, 400, 0, "part"))
    assert again["value"] == pytest.approx(once["value"])
    assert again["high"] - again["low"] == pytest.approx(once["high"] - once["low"], rel=1e-6)


def replaced(context: QuantisationContext, **changes: Any) -> QuantisationContext:
    return replace(context, **changes)
