"""Every family trains and scores with three classes on captures of a few positions of each text."""

from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
import torch
from pydantic import TypeAdapter
from sklearn.metrics import roc_auc_score

from candor import tables
from candor.activations.files import ActivationsError
from candor.config.probes import Probe, Trained
from candor.probes.features import read_features
from candor.probes.files import SavedProbe
from candor.probes.scoring import UNCALIBRATED, score_part
from candor.schemas.score import SCORE
from tests.small_parts import SUBJECT, row
from tests.triples import STATES, K, states, task_of, trained_on, triple_part, triples

CONTROLS = ("random_direction", "pca")
KINDS = {get_args(kind.model_fields["family"].annotation)[0]: kind for kind in get_args(get_args(Probe)[0])}
FAMILIES = [name for name in KINDS if name != "perplexity"]  # which reads no activations


@pytest.mark.parametrize("family", FAMILIES)
def test_a_family_tells_three_states_apart_from_a_few_positions(tmp_path: Path, family: str) -> None:
    rows = triples(15)
    train = triple_part(tmp_path, "triples@train", rows, {2: states(rows)})
    options = {"epochs": 40, "batch_size": 16, "learning_rate": 0.02} if issubclass(KINDS[family], Trained) else {}
    probe: Any = TypeAdapter(Probe).validate_python({"family": family, **options})
    saved = trained_on(tmp_path, train, probe, task_of())
    saved.save(tmp_path / "probe.safetensors", {})
    table = score_part(train, SavedProbe.load(tmp_path / "probe.safetensors"), "probe", SUBJECT)
    tables.write(tmp_path / "scores.parquet", table, SCORE, {})
    found = table.to_pandas()
    assert found["class"].tolist() == STATES * len(rows) and found["score"].notna().all()
    if family not in UNCALIBRATED:
        assert found["probability"].to_numpy().reshape(-1, 3).sum(1) == pytest.approx(1)
    for name in STATES if family not in CONTROLS else []:
        own = found[found["class"] == name]
        assert roc_auc_score(own["label"].astype(bool), own["score"]) > 0.85
    assert set(saved.header.thresholds["2"]["0"]) == set(STATES)
    assert (found["n_tokens"] == K).all()


def test_the_mean_of_positions_is_that_of_their_rows_whatever_their_number(tmp_path: Path) -> None:
    rows = triples(2)
    layer = [x[: 1 + i % K] for i, x in enumerate(states(rows))]
    part = triple_part(tmp_path, "triples@train", rows, {2: layer})
    found = read_features(part, 2, "mean", [5, 0, 4])
    expected = torch.stack([layer[i].mean(0) for i in (5, 0, 4)])
    torch.testing.assert_close(found.x, expected)
    assert found.lengths.tolist() == [1, 1, 1]


def test_a_probe_of_one_roles_tokens_reads_the_positions_of_that_role(tmp_path: Path) -> None:
    rows = triples(2)
    layer = states(rows)
    roles = [[2, 3, 3] for _ in rows[:-1]] + [[2, 2, 2]]  # user, assistant; the last text has no answer
    part = triple_part(tmp_path, "triples@train", rows, {2: layer}, roles=roles).of_roles(["assistant"])
    assert part.statuses[-1] == "empty" and part.statuses[0] == "ok"
    torch.testing.assert_close(read_features(part, 2, "mean", [0]).x[0], layer[0][1:].mean(0))


def test_roles_of_stored_means_are_still_refused(tmp_path: Path) -> None:
    rows = triples(2)
    part = triple_part(tmp_path, "triples@train", rows, {2: [x[:1] for x in states(rows)]}, store="mean")
    with pytest.raises(ActivationsError, match=r"needs `store: tokens` or `store: positions`"):
        part.of_roles(["assistant"])


def test_a_part_in_which_some_texts_have_no_position_is_scored_and_marked(tmp_path: Path) -> None:
    rows = [*triples(12), row("mute", "mute", "normal", "train", family="travel")]
    layer = states(rows)
    layer[-1] = layer[-1][:0]
    train = triple_part(tmp_path, "triples@train", rows, {2: layer})
    probe: Any = TypeAdapter(Probe).validate_python({"family": "logistic"})
    found = score_part(train, trained_on(tmp_path, train, probe), "probe", SUBJECT).to_pandas()
    mute = found[found["example_id"] == "mute"]
    assert mute["score"].isna().all() and set(mute["status"]) == {"empty"}
    assert np.isfinite(found[found["example_id"] != "mute"]["score"]).all()
