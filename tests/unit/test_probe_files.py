"""A probe's file: what is saved is what is loaded, a stranger can use it, and misuse is a sentence."""

import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import TypeAdapter
from safetensors import safe_open
from safetensors.torch import save_file

from candor import provenance, tables
from candor.config.probes import Probe
from candor.config.tasks import Training
from candor.errors import CandorError
from candor.probes.features import Part
from candor.probes.files import ProbeError, SavedProbe
from candor.probes.scoring import score_part
from candor.probes.training_job import Trained, train_probe
from candor.schemas.score import SCORE
from tests.small_parts import CLASSES, pair_rows, planted, row, write_part

WIDTH = 6
LAYERS = [1, 3]
MADE = {"script": "train_probe.py", "code": "0", "spec": {}}
TASK = Training(classes=CLASSES, capture="c", train="pairs@train", control="calm@test", folds=3, seeds=[0, 4])


def parts_of(folder: Path) -> tuple[Part, Part]:
    """A training part of pairs, stronger at layer 3, and a control part of benign examples."""
    rows = pair_rows(24)
    layers = {1: planted(rows, WIDTH, 0.0, 0), 3: planted(rows, WIDTH, 4.0, 0)}
    benign = [row(f"c{i}", f"c{i}", None, "test") for i in range(50)]
    control = {layer: planted(benign, WIDTH, 0.0, layer) for layer in LAYERS}
    return write_part(folder, "pairs@train", rows, layers), write_part(folder, "calm@test", benign, control)


def trained(folder: Path, family: str = "mean", task: Training = TASK, **options: Any) -> Trained:
    probe = TypeAdapter(Probe).validate_python({"family": family, **options})
    return train_probe(*parts_of(folder), task, "stakes", "probe", probe, descriptor=-1)


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    """A trained probe's file."""
    trained(tmp_path, epochs=3).probe.save(tmp_path / "probe.safetensors", MADE)
    return tmp_path / "probe.safetensors"


def test_what_is_saved_is_loaded_bit_for_bit(tmp_path: Path) -> None:
    probe = trained(tmp_path, "attention", epochs=3).probe
    probe.save(tmp_path / "probe.safetensors", MADE)
    loaded = SavedProbe.load(tmp_path / "probe.safetensors")
    assert torch.equal(loaded.weight, probe.weight) and torch.equal(loaded.bias, probe.bias)
    assert loaded.weight.shape == (2, 2, 2, WIDTH, 1) and loaded.bias.shape == (2, 2, 1)
    assert loaded.weight.dtype == loaded.bias.dtype == torch.float32
    assert loaded.header == probe.header


def test_the_same_training_gives_the_same_bytes(tmp_path: Path, saved: Path) -> None:
    (tmp_path / "again").mkdir()
    trained(tmp_path / "again", epochs=3).probe.save(tmp_path / "again.safetensors", MADE)
    assert (tmp_path / "again.safetensors").read_bytes() == saved.read_bytes()


def test_the_header_says_what_the_probe_is_and_where_it_may_be_used(tmp_path: Path) -> None:
    found = trained(tmp_path, epochs=150)
    header = found.probe.header
    assert (header.family, header.task, header.classes) == ("mean", "stakes", CLASSES)
    assert (header.layers, header.seeds) == (LAYERS, [0, 4])
    assert (header.subject, header.revision, header.hook, header.width) == ("tiny", "a" * 40, "residual", WIDTH)
    assert header.probe["epochs"] == 150 and header.probe["learning_rate"] == 5e-3
    assert (header.train, header.control, header.n_train) == ("pairs@train", "calm@test", 48)
    assert header.train_sha256 == provenance.sha256(tmp_path / "pairs.parquet")
    for table in (header.thresholds, header.best_epochs):
        assert {layer: set(of_layer) for layer, of_layer in table.items()} == {"1": {"0", "4"}, "3": {"0", "4"}}
    assert all(0 <= epoch < 150 for of_layer in header.best_epochs.values() for epoch in of_layer.values())
    assert header.metrics["3"]["cross_validated_auroc"] > 0.8 > header.metrics["1"]["cross_validated_auroc"]


def test_the_headers_thresholds_are_those_of_the_control_scores(tmp_path: Path) -> None:
    found = trained(tmp_path, epochs=3, task=TASK.model_copy(update={"target_fpr": 0.1}))
    frame = found.scores.to_pandas()
    control = frame[(frame["dataset"] == "calm") & (frame["layer"] == 3) & (frame["seed"] == 4)]
    threshold = found.probe.header.thresholds["3"]["4"]["high"]
    assert (control["score"] > threshold).sum() == 5 and control["fold"].isna().all()


def test_the_job_scores_training_examples_out_of_fold_and_counts_the_skipped(tmp_path: Path) -> None:
    found = trained(tmp_path, epochs=3)
    tables.write(tmp_path / "scores.parquet", found.scores, SCORE, MADE)
    frame = found.scores.to_pandas()
    own = frame[frame["dataset"] == "pairs"]
    assert len(own) == 48 * len(LAYERS) and set(own["fold"]) == {0, 1, 2} and found.n_skipped == 0
    assert (own.groupby("group_id")["fold"].nunique() == 1).all()


def test_examples_without_activations_or_of_no_class_are_skipped_and_a_missing_class_is_a_sentence(
    tmp_path: Path,
) -> None:
    rows = [*pair_rows(24), row("odd", "odd", "ambiguous"), row("mute", "mute", "high")]
    layer = planted(rows, WIDTH, 2.0, 0)
    layer[-1] = layer[-1][:0]
    train, control = write_part(tmp_path, "pairs@train", rows, {1: layer}), parts_of(tmp_path / "control")[1]
    probe = TypeAdapter(Probe).validate_python({"family": "difference_of_means"})
    found = train_probe(train, control, TASK, "stakes", "probe", probe, descriptor=-1)
    assert (found.n_skipped, found.probe.header.n_train) == (2, 48)
    task = TASK.model_copy(update={"classes": ["low", "absent"]})
    with pytest.raises(CandorError, match=r"pairs@train: has no usable example of the class 'absent'"):
        train_probe(train, control, task, "stakes", "probe", probe, descriptor=-1)


def test_a_stranger_scores_with_safetensors_and_numpy_alone(tmp_path: Path, saved: Path) -> None:
    expected = score_part(parts_of(tmp_path)[0], SavedProbe.load(saved), "probe", {"block_parameters": 10}).to_pandas()

    # from here on, what someone without this project would write
    with safe_open(saved, framework="numpy") as file:
        weight, bias = file.get_tensor("weight"), file.get_tensor("bias")
        header = json.loads(file.metadata()["probe"])
    i, j = header["layers"].index(3), header["seeds"].index(4)
    with safe_open(tmp_path / "pairs.safetensors", framework="numpy") as file:
        activations, offsets = file.get_tensor("layer_3"), file.get_tensor("offsets")
    means = np.stack([part.mean(0) for part in np.split(activations, offsets[1:-1])])
    scores = means @ weight[i, j, 0, :, 0] + bias[i, j, 0]

    assert header["family"] == "mean"
    expected = expected[(expected["layer"] == 3) & (expected["seed"] == 4)]
    np.testing.assert_allclose(scores, expected["score"], rtol=1e-4, atol=1e-5)


def test_the_file_is_safetensors_with_its_provenance_and_no_pickle(saved: Path) -> None:
    raw = saved.read_bytes()
    length = int.from_bytes(raw[:8], "little")
    header = json.loads(raw[8 : 8 + length])
    assert set(header) == {"__metadata__", "weight", "bias"}
    assert set(header["__metadata__"]) == {"candor", "probe"}
    assert len(raw) == 8 + length + 4 * (2 * 2 * WIDTH + 2 * 2)  # float32 and nothing else
    assert provenance.read(saved) == MADE


@pytest.mark.parametrize(
    ("name", "value"), [("subject", "other"), ("revision", None), ("hook", "input_layernorm"), ("width", WIDTH + 1)]
)
def test_activations_of_another_kind_are_refused(tmp_path: Path, saved: Path, name: str, value: Any) -> None:
    probe = SavedProbe.load(saved)
    fitting = {key: getattr(probe.header, key) for key in ("subject", "revision", "hook", "width")}
    probe.refuse_other(**fitting, path=tmp_path / "a")
    sentence = rf"a: was read from another {name} \({value}\) than the probe for stakes \(.+\)\."
    with pytest.raises(ProbeError, match=sentence):
        probe.refuse_other(**{**fitting, name: value}, path=tmp_path / "a")


def test_another_file_is_no_probe(tmp_path: Path, saved: Path) -> None:
    save_file({"weight": torch.zeros(2)}, tmp_path / "other.safetensors")
    (tmp_path / "text.safetensors").write_text("no")
    for name, sentence in {
        "other": "is not a probe file",
        "pairs": "is not a probe file",
        "text": "not a whole safetensors file",
    }.items():
        with pytest.raises(CandorError, match=rf"{name}.safetensors: {sentence}"):
            SavedProbe.load(tmp_path / f"{name}.safetensors")
    saved.write_bytes(saved.read_bytes()[:-4])
    with pytest.raises(CandorError, match=r"delete it to make it again"):
        SavedProbe.load(saved)


def test_a_header_of_another_version_is_a_sentence(tmp_path: Path, saved: Path) -> None:
    header = asdict(SavedProbe.load(saved).header)
    metadata = {"probe": json.dumps({**header, "more": 1}), "candor": "{}"}
    save_file({"weight": torch.zeros(1), "bias": torch.zeros(1)}, tmp_path / "newer.safetensors", metadata)
    with pytest.raises(ProbeError, match=r"newer.safetensors: was written by another version of candor"):
        SavedProbe.load(tmp_path / "newer.safetensors")


def test_weights_are_found_by_layer_and_seed(saved: Path) -> None:
    probe = SavedProbe.load(saved)
    weight, bias = probe.at(3, 0)
    assert torch.equal(weight, probe.weight[1, 0]) and torch.equal(bias, probe.bias[1, 0])
    moved = SavedProbe(probe.weight, probe.bias, replace(probe.header, layers=[3, 1]))
    assert torch.equal(moved.at(3, 0)[0], probe.weight[0, 0])
