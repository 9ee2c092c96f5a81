"""Leave one value out: what is learnt knows nothing of the value that it is measured on, layers and texts included."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import TypeAdapter
from scipy.special import logit
from scipy.stats import t as student_t

from candor import tables
from candor.config.probes import Probe
from candor.errors import CandorError
from candor.experiments import leave_one_out
from candor.experiments.evaluation_context import EvaluationContext
from candor.probes.features import Part
from candor.probes.training_job import train_probe
from candor.schemas.cell import CELL
from tests.evaluation_contexts import Quiet
from tests.triples import FAMILIES, STATES, WIDTH, states, task_of, triple_part, triples

LAYERS = (1, 2)


def context_of(
    train: Part, test: Part | None = None, probes: dict[str, Any] | None = None, **options: Any
) -> EvaluationContext:
    configs = probes or {"probe": {"family": "logistic", "c": 0.1}}
    experiment = {"kind": "leave_one_out", "task": "inner-state", "probes": list(configs), **options}
    experiment["text"] = {"kind": "tfidf", "min_df": 1}
    task = task_of(evaluation=["triples@test"])
    return EvaluationContext(
        id="families",
        experiment=leave_one_out.LeaveOneOut.model_validate(experiment),
        task=task,
        probes={id: TypeAdapter(Probe).validate_python(config) for id, config in configs.items()},
        saved={},
        selection={},
        train=train,
        evaluation={"triples@test": test} if test else {},
        development={},
        progress=lambda name, total, unit: Quiet(),
    )


def value(rows: list[dict[str, Any]], monitor: str, target: str | None, cls: str | None = "macro", **more: Any) -> Any:
    wanted = {"monitor": monitor, "target": target, "class": cls, "metric": "auroc", "versus": None, **more}
    [found] = [row for row in rows if all(row[key] == each for key, each in wanted.items())]
    return found


def test_a_probe_that_learnt_families_and_not_states_fails_where_a_split_by_prompt_would_praise_it(
    tmp_path: Path,
) -> None:
    # each family has its states in another order: families share nothing, but a split by prompt has each on both sides
    rows = triples(30)
    families = [FAMILIES.index(FAMILIES[int(row["group_id"]) % 3]) for row in rows]
    layer = states(rows, feature=lambda row: (STATES.index(row["label"]) + int(row["group_id"]) % 3) % 3, strength=6.0)
    for x, family in zip(layer, families, strict=True):
        x[:, 3 + family] += 6.0  # and the family itself can be read
    train = triple_part(tmp_path, "triples@train", rows, {2: layer})
    mlp = {"family": "mlp", "hidden": 32, "epochs": 60, "learning_rate": 0.01, "batch_size": 32}
    found = leave_one_out.run(context_of(train, probes={"probe": mlp}))
    held_out = value(found, "probe", None)["value"]

    probe: Any = TypeAdapter(Probe).validate_python(mlp)
    split_by_prompt = train_probe(train, train, task_of(), "t", "probe", probe, descriptor=-1)
    assert split_by_prompt.probe.header.metrics["2"]["cross_validated_auroc"] > 0.9  # as the original measured
    assert held_out < 0.6


def test_states_that_families_share_are_found_in_a_family_that_was_never_met(tmp_path: Path) -> None:
    rows = triples(30)
    train = triple_part(tmp_path / "train", "triples@train", rows, {2: states(rows)})
    others = triples(9, "test", "t")
    test = triple_part(tmp_path / "test", "triples@test", others, {2: states(others, seed=1)})
    found = leave_one_out.run(context_of(train, test))
    tables.write(tmp_path / "cells.parquet", found, CELL, {})
    for family in FAMILIES:
        row = value(found, "probe", family)
        assert row["value"] > 0.95 and row["low"] <= row["value"] <= row["high"]
        # a third of both parts is measured; two thirds of the training part alone are learnt from
        assert (row["n"], row["n_groups"], row["n_source_groups"]) == (39, 13, 20)
    accuracy = value(found, "probe", None, None, metric="accuracy")
    assert accuracy["value"] > 0.9 and accuracy["n"] == 117
    assert {row["class"] for row in found if row["metric"] == "auroc"} == {*STATES, "macro"}


def test_every_row_of_a_probe_has_the_text_baseline_beside_it_on_the_same_examples(tmp_path: Path) -> None:
    rows = triples(18)
    for each in rows:  # the words give the class away
        each["messages"][0]["content"] += f" {each['label']} {each['label']}"
    train = triple_part(tmp_path, "triples@train", rows, {2: states(rows, 0.0)})
    found = leave_one_out.run(context_of(train))
    keys = ("target", "class", "metric")
    mine = [tuple(r[k] for k in keys) for r in found if r["monitor"] == "probe" and r["versus"] is None]
    text = [tuple(r[k] for k in keys) for r in found if r["monitor"] == "tfidf"]
    beside = [tuple(r[k] for k in keys) for r in found if r["monitor"] == "probe" and r["versus"] == "tfidf"]
    assert mine == text == beside
    assert value(found, "tfidf", None)["value"] == 1.0
    gap = value(found, "probe", None, versus="tfidf")
    assert gap["value"] < 0 and gap["high"] < 0  # a probe of noise is worse than the words, and the interval says so


def test_words_that_tell_the_held_out_family_apart_are_not_learnt(tmp_path: Path) -> None:
    rows = triples(18)
    for each in rows:  # a word for each state, but another one in each family
        each["messages"][0]["content"] += f" {each['label']}in{FAMILIES[int(each['group_id']) % 3]}"
    train = triple_part(tmp_path, "triples@train", rows, {2: states(rows)})
    found = leave_one_out.run(context_of(train))
    assert value(found, "tfidf", None)["value"] == pytest.approx(0.5, abs=0.1)


def test_the_layer_is_chosen_without_the_held_out_value(tmp_path: Path) -> None:
    rows = triples(30)
    weak = states(rows, 1.0, seed=1)

    # layer 2 tells the states of tutoring apart, and of no other family
    def only_tutoring(row: Any) -> float:
        return 9.0 if int(row["group_id"]) % 3 == 0 else 0.0

    layers = {1: weak, 2: states(rows, only_tutoring, seed=2)}
    train = triple_part(tmp_path, "triples@train", rows, layers)
    found = leave_one_out.run(context_of(train))
    assert value(found, "probe", "tutoring")["layer"] == 1


def test_nothing_of_the_held_out_value_enters_its_fit(tmp_path: Path) -> None:
    rows = triples(18)
    others = triples(9, "test", "t")
    test = triple_part(tmp_path / "test", "triples@test", others, {2: states(others, 1.0, seed=1)})
    found = []
    for number, factor in enumerate((1.0, -7.0)):
        layer = [x * (factor if int(r["group_id"]) % 3 == 1 else 1.0) for r, x in zip(rows, states(rows), strict=True)]
        train = triple_part(tmp_path / str(number), "triples@train", rows, {2: layer})
        for probe in ({"family": "logistic"}, {"family": "mean", "epochs": 3}):
            context = context_of(train, test, {"probe": probe})
            examples = leave_one_out._examples(context)
            splits = leave_one_out._splits(context, examples)
            [cooking] = [at for at, split in enumerate(splits) if split.value == "cooking"]
            scored = leave_one_out._by_probe(context, examples, splits, "probe")[cooking]
            evaluated = ~examples.train[splits[cooking].out]
            found.append((scored.auroc, scored.scores[:, evaluated]))
    for one, other in zip(found[:2], found[2:], strict=True):
        assert one[0] == other[0]
        np.testing.assert_allclose(one[1], other[1], rtol=1e-3, atol=1e-4)


def test_the_best_probe_is_chosen_without_the_held_out_value_and_named(tmp_path: Path) -> None:
    rows = triples(30)
    train = triple_part(tmp_path, "triples@train", rows, {2: states(rows)})
    probes = {"chance": {"family": "random_direction"}, "good": {"family": "logistic"}}
    found = leave_one_out.run(context_of(train, probes=probes))
    for family in FAMILIES:
        selected, good = (value(found, monitor, family) for monitor in ("selected", "good"))
        assert selected["remark"] == "the probe is good" and selected["value"] == good["value"]


def test_intervals_rest_on_prompts_and_not_on_rows(tmp_path: Path) -> None:
    found = []
    for number, k in enumerate((1, 20)):
        rows = triples(18)
        # the same activation at each of k positions: no more is known of a prompt
        layer = [x[:1].expand(k, WIDTH).contiguous() for x in states(rows, 1.5)]
        train = triple_part(tmp_path / str(number), "triples@train", rows, {2: layer})
        found.append(value(leave_one_out.run(context_of(train)), "probe", "tutoring"))
    one, many = found
    assert one["n"] == many["n"] == 18
    assert many["high"] - many["low"] == pytest.approx(one["high"] - one["low"], abs=1e-6)


def test_over_all_values_the_interval_is_for_a_value_that_was_never_met(tmp_path: Path) -> None:
    rows = triples(30)
    # of many prompts each family is known well, and families differ: in one of them the states cannot be read
    layer = states(rows, lambda row: 0.0 if int(row["group_id"]) % 3 == 0 else 1.5)
    train = triple_part(tmp_path, "triples@train", rows, {2: layer})
    found = leave_one_out.run(context_of(train))
    whole = value(found, "probe", None)
    own = np.array([value(found, "probe", family)["value"] for family in FAMILIES])
    reach = student_t.ppf(0.975, len(own) - 1) * own.std(ddof=1) / len(own) ** 0.5
    middle = whole["value"]
    assert middle == pytest.approx(own.mean())
    assert logit(middle) - logit(whole["low"]) == pytest.approx(reach / (middle * (1 - middle)), rel=1e-6)
    gap = value(found, "probe", None, versus="tfidf")
    gaps = np.array([value(found, "probe", family, versus="tfidf")["value"] for family in FAMILIES])
    reach = student_t.ppf(0.975, len(own) - 1) * gaps.std(ddof=1) / len(own) ** 0.5
    assert gap["value"] - gap["low"] == pytest.approx(reach)


def test_what_is_skipped_counts_for_its_own_value(tmp_path: Path) -> None:
    rows = triples(18)
    for each in rows[3:5]:  # of the second triple, which is of cooking
        each["label"] = None
    layer = states(rows, feature=lambda row: STATES.index(row["label"]) if row["label"] else 0)
    statuses = ["empty" if i == 6 else "ok" for i in range(len(rows))]  # of travel
    layer = [x[:0] if status == "empty" else x for x, status in zip(layer, statuses, strict=True)]
    train = triple_part(tmp_path, "triples@train", rows, {2: layer}, statuses=statuses)
    found = leave_one_out.run(context_of(train))
    for monitor in ("probe", "tfidf"):
        skipped = {family: value(found, monitor, family)["n_skipped"] for family in [*FAMILIES, None]}
        assert skipped == {"tutoring": 0, "cooking": 2, "travel": 1, None: 3}


def test_an_attribute_that_cannot_be_held_out_is_a_sentence(tmp_path: Path) -> None:
    rows = triples(9)
    train = triple_part(tmp_path, "triples@train", rows, {2: states(rows)})
    with pytest.raises(CandorError, match=r"experiments.families.attribute: 27 of 27 examples .* have no 'mood'"):
        leave_one_out.run(context_of(train, attribute="mood"))
    for each in rows:
        each["attributes"] = json.dumps({"family": each["label"]})
    train = triple_part(tmp_path / "torn", "triples@train", rows, {2: states(rows)})
    with pytest.raises(CandorError, match=r"group '0' has family 'normal' and 'eval_aware'"):
        leave_one_out.run(context_of(train))


def test_the_same_job_gives_the_same_rows(tmp_path: Path) -> None:
    rows = triples(12)
    train = triple_part(tmp_path, "triples@train", rows, {2: states(rows)})
    torch.manual_seed(1)
    first = leave_one_out.run(context_of(train))
    torch.manual_seed(2)
    assert leave_one_out.run(context_of(train)) == first
