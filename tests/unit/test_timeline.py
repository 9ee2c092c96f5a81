"""Class probability by position: one value of a text at each x, and intervals over prompts."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import TypeAdapter

from candor import tables
from candor.activations.files import ActivationsError
from candor.config.probes import Probe
from candor.errors import CandorError
from candor.experiments import timeline
from candor.experiments.evaluation_context import EvaluationContext
from candor.metrics.intervals import wilson
from candor.probes.features import Part
from candor.schemas.curve import CURVE
from tests.evaluation_contexts import Quiet
from tests.triples import STATES, WIDTH, K, states, task_of, trained_on, triple_part, triples


def context_of(folder: Path, test: Part, family: str = "mean_then_linear", **options: Any) -> EvaluationContext:
    rows = triples(12)
    train = triple_part(folder / "train", "triples@train", rows, {2: states(rows)})
    probe: Any = TypeAdapter(Probe).validate_python({"family": family})
    task = task_of(seeds=[0, 1])
    return EvaluationContext(
        id="line",
        experiment=timeline.Timeline(kind="timeline", task="inner-state", part="triples@test", **options),
        task=task,
        probes={"probe": probe},
        saved={"probe": trained_on(folder, train, probe, task)},
        selection={"monitor": "probe", "probes": {"probe": {"layer": 2}}},
        train=train,
        evaluation={"triples@test": test},
        development={},
        progress=lambda name, total, unit: Quiet(),
    )


def part_of(folder: Path, layer: Any = states, n: int = 9, **header: Any) -> Part:
    rows = triples(n, "test", "t")
    return triple_part(folder / "test", "triples@test", rows, {2: layer(rows)}, **header)


def at(rows: list[dict[str, Any]], true: str, shown: str) -> dict[float | None, dict[str, Any]]:
    return {row["x"]: row for row in rows if row["curve"] == f"probe/{true}/{shown}"}


def test_a_line_shows_where_a_state_appears(tmp_path: Path) -> None:
    def late(rows: Any) -> Any:
        layer = states(rows, 0.0)
        for row, x in zip(rows, layer, strict=True):
            x[-1, STATES.index(row["label"])] += 8.0  # at the last position only
        return layer

    found = timeline.run(context_of(tmp_path, part_of(tmp_path, late)))
    tables.write(tmp_path / "curve.parquet", found, CURVE, {})
    line = at(found, "deceptive", "deceptive")
    assert set(line) == {None, 0.0, 1.0, 2.0}
    assert line[2.0]["value"] > 0.7 and max(line[0.0]["value"], line[1.0]["value"]) < 0.5
    assert all(point["low"] <= point["value"] <= point["high"] for point in line.values())
    assert all((point["n"], point["n_groups"], point["n_runs"]) == (9, 9, 2) for point in line.values())


def test_the_classes_of_a_text_have_probabilities_that_sum_to_one_at_each_position(tmp_path: Path) -> None:
    found = timeline.run(context_of(tmp_path, part_of(tmp_path)))
    for true in STATES:
        lines = [at(found, true, shown) for shown in STATES]
        for x in (None, 0.0, 1.0, 2.0):
            assert sum(line[x]["value"] for line in lines) == pytest.approx(1)


def test_tokens_of_one_prompt_are_no_independent_observations(tmp_path: Path) -> None:
    widths = []
    for number, k in enumerate((1, 25)):

        def repeated(rows: Any, k: int = k) -> Any:
            return [x[:1].expand(k, WIDTH).contiguous() for x in states(rows, 1.0)]

        folder = tmp_path / str(number)
        [point] = [
            row
            for row in timeline.run(context_of(folder, part_of(folder, repeated), bins=1))
            if row["curve"] == "probe/deceptive/deceptive" and row["x"] == 0
        ]
        widths.append(point["high"] - point["low"])
    assert widths[1] == pytest.approx(widths[0], rel=1e-4)
    # the original counted each token row: 25 rows of each of 9 prompts
    low, high = wilson(round(9 * 25 * point["value"]), 9 * 25)
    assert widths[1] > 1.5 * (high - low)


def test_texts_of_different_lengths_count_where_they_have_a_position(tmp_path: Path) -> None:
    def ragged(rows: Any) -> Any:
        return [x[: 1 + int(row["group_id"][1:]) % K] for row, x in zip(rows, states(rows), strict=True)]

    found = timeline.run(context_of(tmp_path, part_of(tmp_path, ragged)))
    line = at(found, "normal", "normal")
    assert [line[x]["n"] for x in (0.0, 1.0, 2.0)] == [9, 6, 3]


def test_parts_of_a_text_are_averages_of_its_positions() -> None:
    rows = np.arange(7.0)[None, :, None]  # a text of 5 rows and one of 2
    found = timeline.along(rows, [5, 2], 2)[0, :, :, 0]
    np.testing.assert_allclose(found, [[1.0, 3.5], [5.0, 6.0]])
    assert np.isnan(timeline.along(rows, [5, 2], None)[0, 1, 2:, 0]).all()


def test_a_mean_over_positions_cannot_be_shown_by_position(tmp_path: Path) -> None:
    part = part_of(tmp_path, lambda rows: [x[:1] for x in states(rows)], store="mean")
    with pytest.raises(ActivationsError, match=r"experiments.line: layer 2 of triples@test is not stored position by"):
        timeline.run(context_of(tmp_path, part))


def test_a_probe_that_gives_margins_is_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(CandorError, match=r"probe gives margins and no probabilities"):
        timeline.run(context_of(tmp_path, part_of(tmp_path), family="difference_of_means"))


def test_a_network_has_a_line_too(tmp_path: Path) -> None:
    torch.manual_seed(0)
    found = timeline.run(context_of(tmp_path, part_of(tmp_path), family="mlp"))
    by_class = {shown: at(found, "deceptive", shown)[1.0]["value"] for shown in STATES}
    assert max(by_class, key=by_class.__getitem__) == "deceptive"
