"""Training on development examples: nothing measured was trained on, and every run starts from the same probe."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch

from candor import tables
from candor.errors import CandorError
from candor.experiments import dev_split, refitting
from candor.experiments.dev_split import halves_of
from candor.experiments.evaluation_context import EvaluationContext
from candor.probes.features import Part
from candor.schemas.curve import CURVE
from candor.schemas.metric import MEAN_DATASET
from candor.scores import score_table
from tests.evaluation_contexts import LAYER, context_of, folder
from tests.small_parts import CLASSES, pair_rows, planted, write_part

WIDTH = 6
EXPERIMENT = {"kind": "dev_split", "task": "stakes", "probe": "probe", "sizes": [2, 8, 32, 256], "runs": 3}
MEAN = {"family": "mean", "epochs": 20, "learning_rate": 0.02}


def shifted(folder: Path, name: str, pairs: int, prefix: str, seed: int, feature: int = 1) -> Part:
    """A set whose label is planted in another feature than the training set's."""
    rows = pair_rows(pairs, name.split("@")[1], prefix)
    layer = planted(rows, WIDTH, 0.0, seed)
    for row, x in zip(rows, layer, strict=True):
        x[:, feature] += 2.0 * (row["label"] == "high")
    return write_part(folder, name, rows, {LAYER: layer})


def context(root: Path, config: dict[str, Any] = MEAN, **changes: Any) -> EvaluationContext:
    rows = pair_rows(50)
    train = write_part(folder(root, "train"), "pairs@train", rows, {LAYER: planted(rows, WIDTH, 2.0, 0)})
    sets = {
        "letters@test": shifted(folder(root, "letters"), "letters@test", 40, "l", 1),
        "dialogues@test": shifted(folder(root, "dialogues"), "dialogues@test", 40, "d", 2),
    }
    development = {"more@validation": shifted(folder(root, "more"), "more@validation", 40, "m", 3)}
    experiment = {**EXPERIMENT, "development": {"letters@test": None, "dialogues@test": "more@validation"}, **changes}
    weight = torch.zeros(1, WIDTH)
    weight[0, 0] = 1.0
    return context_of(experiment, train, sets, config, weight, development=development)


def values(rows: list[dict[str, Any]], dataset: str = MEAN_DATASET) -> dict[tuple[str, float | None], float | None]:
    return {(each["curve"], each["x"]): each["value"] for each in rows if each["dataset"] == dataset}


def test_every_usage_learns_what_the_training_set_does_not_show(tmp_path: Path) -> None:
    rows = dev_split.run(context(tmp_path))
    tables.write(tmp_path / "curve.parquet", rows, CURVE, {})
    found = values(rows)
    unchanged = found["probe/fine-tune", 0]
    assert unchanged is not None and unchanged == found["probe/combine", 0] and abs(unchanged - 0.5) < 0.15
    assert ("probe/only", 0) not in found
    for usage in ("fine-tune", "only", "combine"):
        after = found[f"probe/{usage}", 32]
        assert after is not None and after > unchanged + 0.1


def test_runs_do_not_accumulate(tmp_path: Path) -> None:
    """The original went on from the last run's probe: what a size gave depended on the sizes and sets before it."""
    found = context(tmp_path, usages=["fine-tune"])
    before = found.saved["probe"].weight.clone()
    everything = values(dev_split.run(found), "dialogues@test")
    assert torch.equal(found.saved["probe"].weight, before)
    alone = context(tmp_path, usages=["fine-tune"], sizes=[32], development={"dialogues@test": "more@validation"})
    assert values(dev_split.run(alone), "dialogues@test")["probe/fine-tune", 32] == everything["probe/fine-tune", 32]


def test_two_examples_change_the_probe_however_large_a_batch_is(tmp_path: Path) -> None:
    found = context(tmp_path, {**MEAN, "batch_size": 4096}, sizes=[2])
    rows = values(dev_split.run(found))
    for usage in ("fine-tune", "only", "combine"):
        assert rows[f"probe/{usage}", 2] != rows["probe/fine-tune", 0]


def test_a_set_without_a_development_part_is_halved_by_group_the_same_for_all(tmp_path: Path) -> None:
    found = context(tmp_path)
    probe = found.probes["probe"]
    halves = halves_of(found, probe, "letters@test", None)
    assert not set(halves.pool.groups) & set(halves.test.groups)
    assert len(halves.pool.groups) == len(halves.test.groups) == 40
    assert halves.pool.y.sum() == halves.test.y.sum() == 20
    assert halves_of(found, probe, "letters@test", None).test.at == halves.test.at
    rows = dev_split.run(found)
    of_letters = [each for each in rows if each["dataset"] == "letters@test"]
    assert {(each["n"], each["n_groups"]) for each in of_letters} == {(40, 20)}
    of_dialogues = [each for each in rows if each["dataset"] == "dialogues@test"]
    assert {(each["n"], each["n_groups"]) for each in of_dialogues} == {(80, 40)}


def test_no_test_example_is_trained_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = context(tmp_path, development={"letters@test": None})
    test = halves_of(found, found.probes["probe"], "letters@test", None).test
    part = found.evaluation["letters@test"]
    lengths = part.activations.lengths().tolist()
    starts = np.cumsum([0, *lengths])
    tested = {tuple(part.activations.layer(LAYER)[int(starts[part.positions[i]])].tolist()) for i in test.at}
    seen: list[torch.Tensor] = []
    for name in ("refit", "go_on"):
        own = getattr(refitting, name)

        def spied(features: Any, *others: Any, own: Any = own, **named: Any) -> Any:
            seen.append(features.x)
            return own(features, *others, **named)

        monkeypatch.setattr(dev_split, name, spied)
    dev_split.run(found)
    assert len(seen) == 3 + 3 + 1  # fine-tune and only by size, combine at once
    trained = {tuple(row.tolist()) for x in seen for row in x}
    assert not tested & trained


def test_combine_repeats_the_development_examples_and_watches_none_of_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []

    def spied(features: Any, y: Any, groups: Any, draws: Any, seeds: Any, probe: Any, seed: int, may_watch: Any) -> Any:
        seen.append((features, draws, may_watch))
        return refitting.refit(features, y, groups, draws, seeds, probe, seed, may_watch)

    monkeypatch.setattr(dev_split, "refit", spied)
    dev_split.run(context(tmp_path, usages=["combine"], sizes=[8], repeat=5, development={"letters@test": None}))
    [(features, draws, may_watch)] = seen
    assert may_watch[:100].all() and not may_watch[100:].any()
    assert [len(draw) for draw in draws] == [100 + 5 * 8] * 3
    assert len(features.lengths) == len(may_watch)


def test_sizes_beyond_the_development_set_are_rows_without_a_value(tmp_path: Path) -> None:
    rows = dev_split.run(context(tmp_path))
    large = [each for each in rows if each["x"] == 256 and each["dataset"] == "letters@test"]
    assert len(large) == 3
    for each in large:
        assert each["value"] is None and each["remark"] == "40 examples are all there are"
    [mean] = [each for each in rows if each["x"] == 256 and each["dataset"] == MEAN_DATASET][:1]
    assert mean["value"] is None and "letters@test" in mean["remark"]


def test_a_closed_form_cannot_go_on_but_learns_anew(tmp_path: Path) -> None:
    rows = dev_split.run(context(tmp_path, {"family": "logistic", "c": 0.1}, sizes=[32]))
    found = {(each["curve"], each["x"]): each for each in rows if each["dataset"] == "letters@test"}
    assert found["probe/fine-tune", 32]["value"] is None
    assert found["probe/fine-tune", 32]["remark"] == dev_split.CLOSED_FORM
    assert found["probe/only", 32]["value"] > 0.7 and found["probe/combine", 32]["value"] > 0.7


def test_a_baseline_is_a_line_without_x_on_the_same_examples(tmp_path: Path) -> None:
    found = context(tmp_path, sizes=[2])
    tests = {}
    for name, part in found.evaluation.items():
        truth = np.array([row["label"] == "high" for row in part.rows])
        tests[name] = score_table(part.rows, name, CLASSES, "tfidf", (truth * 2.0 - 1)[:, None])
    found.baselines = {"tfidf": pa.concat_tables(tests.values())}
    lines = [each for each in dev_split.run(found) if each["curve"] == "tfidf"]
    assert {(each["dataset"], each["x"], each["value"], each["n"]) for each in lines} == {
        ("letters@test", None, 1.0, 40),
        ("dialogues@test", None, 1.0, 80),
        (MEAN_DATASET, None, 1.0, 120),
    }


def test_a_development_part_that_holds_the_test_set_is_refused(tmp_path: Path) -> None:
    found = context(tmp_path)
    found.development = {"letters@validation": found.evaluation["letters@test"]}
    with pytest.raises(CandorError, match="must not be measured on"):
        halves_of(found, found.probes["probe"], "letters@test", "letters@validation")
