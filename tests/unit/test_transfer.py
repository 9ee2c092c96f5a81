"""A task's probe on other tasks: which class counts as what, what is refused, and the text baseline beside it."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import TypeAdapter, ValidationError

from candor import tables
from candor.baselines import text
from candor.config.baselines import Tfidf
from candor.config.experiments import Transfer
from candor.config.probes import Probe
from candor.errors import CandorError
from candor.experiments import transfer
from candor.experiments.transfer import Source, TransferContext, log_odds, margin_of
from candor.metrics.points import auroc
from candor.schemas.cell import CELL
from tests.evaluation_contexts import Quiet
from tests.small_parts import CLASSES, pair_rows
from tests.triples import STATES, states, task_of, trained_on, triple_part, triples

FEATURE_OF_HIGH = 2
"""Where high stakes stand out in the activations: where deceptive texts do, too."""


def context_of(folder: Path, stakes: dict[str, Any] | None = None, **options: Any) -> TransferContext:
    """Two tasks: `states` of three classes, `stakes` of two; `stakes` replaces facts of the second one's captures."""
    probe: Any = TypeAdapter(Probe).validate_python({"family": "logistic", "c": 1.0})
    tasks = {
        "states": task_of(evaluation=["triples@test"]),
        "stakes": task_of(classes=CLASSES, train="pairs@train", evaluation=["pairs@test"]),
    }
    sources, parts = {}, {}
    for id, task in tasks.items():
        name = task.train.split("@")[0]
        both = {}
        for number, split in enumerate(("train", "test")):
            rows = (triples if id == "states" else pair_rows)(12, split, f"{id}-{split}-")
            layer = states(
                rows,
                lambda row: 0.0 if row["label"] == CLASSES[0] else 5.0,
                seed=number,
                feature=lambda row: STATES.index(row["label"]) if row["label"] in STATES else FEATURE_OF_HIGH,
            )
            own = stakes or {}
            layers = {own.get("layer", 2) if id == "stakes" else 2: layer}
            header = {key: value for key, value in own.items() if key != "layer"} if id == "stakes" else {}
            both[split] = triple_part(folder / f"{id}-{split}", f"{name}@{split}", rows, layers, **header)
        saved = trained_on(folder / id, both["train"], probe, task)
        rows = both["train"].rows
        read = text.conversations(rows, None, "left").texts
        model = text.train(
            read, [r["label"] for r in rows], [r["group_id"] for r in rows], task.classes,
            Tfidf(kind="tfidf", min_df=1), 3, 0,
        ).model  # fmt: skip
        sources[id] = Source("probe", saved.header.layers[0], saved, ("tfidf", model))
        parts[id] = {f"{name}@test": both["test"]}
    experiment = Transfer.model_validate({"kind": "transfer", "tasks": list(tasks), **options})
    return TransferContext("matrix", experiment, tasks, sources, parts, lambda name, total, unit: Quiet())


def cell_of(rows: list[dict[str, Any]], source: str, target: str, **more: Any) -> dict[str, Any]:
    wanted = {"monitor": "probe", "source": source, "target": target, "dataset": "mean", "versus": None, **more}
    [found] = [row for row in rows if all(row[key] == value for key, value in wanted.items())]
    return found


def test_a_matrix_has_a_cell_for_each_two_tasks_with_the_text_baseline_beside_each(tmp_path: Path) -> None:
    found = transfer.run(context_of(tmp_path, positive={"states": ["deceptive"]}))
    tables.write(tmp_path / "cells.parquet", found, CELL, {})
    for source in ("states", "stakes"):
        for target in ("states", "stakes"):
            row = cell_of(found, source, target)
            assert row["value"] > 0.9 and row["low"] <= row["value"] <= row["high"] and row["layer"] == 2
            beside = cell_of(found, source, target, monitor="tfidf")
            gap = cell_of(found, source, target, versus="tfidf")
            assert gap["value"] == pytest.approx(row["value"] - beside["value"])
            assert beside["layer"] is None and beside["n"] == row["n"]
    assert cell_of(found, "states", "states")["n_groups"] == 12


def test_the_mapping_says_which_class_counts_as_positive(tmp_path: Path) -> None:
    # as it is, either of two states counts, and one of them has nothing to do with stakes
    wrong = context_of(tmp_path, positive={"states": ["deceptive"]}, counts_as={"states": {"stakes": ["normal"]}})
    found = transfer.run(wrong)
    assert cell_of(found, "states", "stakes", **{"class": "normal"})["value"] < 0.5
    assert cell_of(found, "states", "states", **{"class": "deceptive"})["value"] > 0.9


def test_log_odds_of_several_classes_are_those_of_their_sum() -> None:
    logits = np.array([[[1.0, 2.0, -1.0]]])
    odds = np.exp(logits[0, 0])
    found = log_odds(logits, STATES, ["eval_aware", "deceptive"])
    assert found[0, 0] == pytest.approx(np.log((odds[1] + odds[2]) / odds[0]))
    binary = np.array([[[1.5]]])
    assert log_odds(binary, CLASSES, ["high"])[0, 0] == 1.5 and log_odds(binary, CLASSES, ["low"])[0, 0] == -1.5


def test_margins_of_a_text_baseline_are_of_a_class_against_the_rest_and_no_logits(tmp_path: Path) -> None:
    margins = np.array([[[-0.9, 0.2, -0.4], [0.5, 0.2, -3.0]]])
    assert margin_of(margins, STATES, ["eval_aware"]).tolist() == [[0.2, 0.2]]
    assert margin_of(margins, STATES, ["eval_aware", "deceptive"]).tolist() == [[0.9, -0.5]]
    several = np.array([[[1.0, 2.0, 3.0, 0.5]]])
    assert margin_of(several, ["a", "b", "c", "d"], ["a", "b"]).tolist() == [[-1.0]]
    binary = np.array([[[1.5]]])
    assert margin_of(binary, CLASSES, ["high"])[0, 0] == 1.5 and margin_of(binary, CLASSES, ["low"])[0, 0] == -1.5
    # the text baseline's cell is its AUROC of that class as metrics have it
    context = context_of(tmp_path, positive={"states": ["deceptive"]})
    [part] = context.parts["states"].values()
    text_model = context.sources["states"].text
    assert text_model is not None
    scored = text.score(text_model[1], text.conversations(part.rows, None, "left").texts).margins
    deceptive = np.array([row["label"] == "deceptive" for row in part.rows])
    row = cell_of(transfer.run(context), "states", "states", monitor="tfidf")
    assert row["value"] == pytest.approx(auroc(scored[:, 2], deceptive))


@pytest.mark.parametrize(("name", "value"), [("subject", "other"), ("hook", "input_layernorm")])
def test_tasks_on_different_models_or_hooks_are_refused(tmp_path: Path, name: str, value: str) -> None:
    with pytest.raises(CandorError, match=rf"was read from another {name} \({value}\) than the probe for inner-state"):
        transfer.run(context_of(tmp_path, {name: value}))


def test_a_layer_that_a_capture_lacks_leaves_a_cell_that_says_so(tmp_path: Path) -> None:
    found = transfer.run(context_of(tmp_path, {"layer": 3}))
    row = cell_of(found, "states", "stakes")
    assert row["value"] is None
    assert row["remark"] == "states reads layer 2, which the capture of stakes does not hold"
    assert cell_of(found, "states", "states")["value"] is not None


def test_classes_that_a_task_does_not_have_are_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(CandorError, match=r"experiments.matrix.positive.states is \['lying'\]; name some of the class"):
        transfer.run(context_of(tmp_path, positive={"states": ["lying"]}))
    with pytest.raises(ValidationError, match="has classes of 'other', which is not one of its tasks"):
        Transfer(kind="transfer", tasks=["states", "stakes"], positive={"other": ["a"]})
