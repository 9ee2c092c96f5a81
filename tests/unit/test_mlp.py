"""A network of two layers: many problems as one, each as a plain loop would train it; its file; its scores."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import TypeAdapter
from safetensors import safe_open
from sklearn.metrics import roc_auc_score
from torch import Tensor, nn

from candor.config.probes import Mlp, Probe
from candor.data.folds import group_folds
from candor.probes.families import mlp
from candor.probes.features import Features
from candor.probes.files import SavedProbe
from candor.probes.fitting import fit_problems, out_of_fold_logits
from candor.probes.pooling import scores
from candor.probes.problems import Problems, make_problems
from candor.probes.scoring import score_part
from candor.probes.training import Fitted, fit, margin
from tests.small_parts import CLASSES, SUBJECT, pair_rows, write_part
from tests.triples import STATES, WIDTH, K, states, task_of, trained_on, triple_part, triples


def probe_of(**options: Any) -> Mlp:
    facts = {"family": "mlp", "hidden": 5, "epochs": 5, "batch_size": 16, "learning_rate": 0.05, "clip": 0.5, **options}
    return Mlp.model_validate(facts)


def data_of(classes: int, n_groups: int = 12) -> tuple[Features, Tensor, Problems]:
    """Ragged noise with an offset and a scale for each feature, in which class k stands out in feature k."""
    generator = torch.Generator().manual_seed(0)
    y = torch.arange(n_groups * classes) % classes
    groups = [str(i // classes) for i in range(len(y))]
    lengths = torch.randint(1, 5, y.shape, generator=generator)
    x = torch.randn(int(lengths.sum()), 6, generator=generator)
    x[torch.arange(len(x)), y.repeat_interleave(lengths)] += 0.5
    folds = group_folds(groups, [str(k) for k in y.tolist()], 2, 0).tolist()
    problems = make_problems(groups, y.tolist(), folds, [0, 1], 0.25, "set@train", classes)
    return Features(x * torch.linspace(0.1, 5, 6) + torch.linspace(-3, 20, 6), lengths), y, problems


def plain_loop(features: Features, y: Tensor, problems: Problems, p: int, probe: Mlp) -> list[tuple[Any, float, float]]:
    """One problem as anyone would train it: nn.Linear, ReLU, nn.Linear, an example at a time, torch's AdamW."""
    train, watch = problems.train[:, p], problems.watch[:, p]
    examples, outputs = features.x.split(features.lengths.tolist()), 1 if int(y.max()) == 1 else int(y.max()) + 1
    rows = torch.cat([a for a, used in zip(examples, train, strict=True) if used])
    center, scale = rows.mean(0), rows.std(0, correction=0)
    width = rows.shape[1]
    generator = torch.Generator().manual_seed(problems.seeds[p])
    network = nn.Sequential(nn.Linear(width, probe.hidden), nn.ReLU(), nn.Linear(probe.hidden, outputs))
    with torch.no_grad():
        network[0].weight.copy_((torch.rand(probe.hidden, width, generator=generator) * 2 - 1) * width**-0.5)
        network[2].weight.copy_(
            ((torch.rand(probe.hidden, outputs, generator=generator) * 2 - 1) * probe.hidden**-0.5).T
        )
        network[0].bias.zero_()
        network[2].bias.zero_()
    decays = [
        {"params": [network[0].weight, network[2].weight], "weight_decay": probe.weight_decay},
        {"params": [network[0].bias, network[2].bias], "weight_decay": 0.0},
    ]
    optimiser = torch.optim.AdamW(decays, lr=probe.learning_rate)
    order, shuffle = torch.randperm(len(y), generator=torch.Generator().manual_seed(0)), torch.Generator()
    shuffle.manual_seed(0)
    blocks = order.split(probe.batch_size)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(
        optimiser, probe.epochs * len(blocks), probe.final_learning_rate
    )

    def logits(at: list[int]) -> Tensor:
        return torch.stack([network((examples[i] - center) / scale).mean(0) for i in at])

    def loss(at: list[int]) -> Tensor:
        if outputs == 1:
            return nn.functional.binary_cross_entropy_with_logits(logits(at)[:, 0], y[at].float())
        return nn.functional.cross_entropy(logits(at), y[at])

    epochs = []
    for _ in range(probe.epochs):
        for block in torch.randperm(len(blocks), generator=shuffle).tolist():
            optimiser.zero_grad()
            loss([i for i in blocks[block].tolist() if train[i]]).backward()
            nn.utils.clip_grad_norm_(network.parameters(), probe.clip)
            optimiser.step()
            schedule.step()
        with torch.no_grad():
            seen = watch.nonzero().squeeze(1).tolist()
            found = logits(seen)
            ranked = found if outputs == 1 else margin(found)
            wanted = [(0, 1)] if outputs == 1 else [(k, k) for k in range(outputs)]
            auroc = float(np.mean([roc_auc_score(y[seen] == k, ranked[:, column]) for column, k in wanted]))
            epochs.append((logits(list(range(len(y)))), auroc, loss(seen).item()))
    return epochs


@pytest.mark.parametrize("classes", [2, 3])
def test_each_problem_is_trained_as_a_plain_loop_would_and_its_best_epoch_is_restored(classes: int) -> None:
    features, y, problems = data_of(classes)
    probe = probe_of()
    found = fit(features, y, problems, mlp, probe, seed=0)
    assert found.weight.shape == (5, 6 + 2, len(problems.seeds), 1 if classes == 2 else classes)
    for p in range(len(problems.seeds)):
        epochs = plain_loop(features, y, problems, p, probe)
        best = max(range(len(epochs)), key=lambda epoch: (epochs[epoch][1], -epochs[epoch][2]))
        assert found.best_epoch[p] == best
        assert found.watched_auroc[p] == pytest.approx(epochs[best][1])
        logits = scores(features, found.weight[:, :, p], found.bias[p], mlp, probe)
        torch.testing.assert_close(logits, epochs[best][0], rtol=1e-3, atol=1e-3)


def test_a_problem_that_has_stopped_does_not_change_the_others() -> None:
    features, y, problems = data_of(3)
    together = fit(features, y, problems, mlp, probe_of(patience=1, epochs=8), seed=0)
    for p in range(len(problems.seeds)):
        own = Problems([problems.seeds[p]], [0], problems.train[:, [p]], problems.watch[:, [p]])
        alone = fit(features, y, own, mlp, probe_of(patience=1, epochs=8), seed=0)
        assert alone.best_epoch[0] == together.best_epoch[p]
        torch.testing.assert_close(alone.weight[:, :, 0], together.weight[:, :, p], rtol=1e-3, atol=1e-4)


def test_nothing_of_a_left_out_fold_enters_its_fit() -> None:
    features, y, problems = data_of(3)

    def fitted(x: Tensor) -> Fitted:
        return fit(features._replace(x=x), y, problems, mlp, probe_of(), seed=0)

    p = problems.folds.index(0)
    outside = ~(problems.train[:, p] | problems.watch[:, p])
    x = features.x.clone()
    x[outside.repeat_interleave(features.lengths)] *= -7
    torch.testing.assert_close(fitted(x).weight[:, :, p], fitted(features.x).weight[:, :, p], rtol=1e-3, atol=1e-4)


def test_it_learns_what_no_linear_probe_can() -> None:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(240, 4, generator=generator)
    y = (x[:, 0] * x[:, 1] > 0).long()
    groups = [str(i) for i in range(len(y))]
    folds = group_folds(groups, [str(k) for k in y.tolist()], 3, 0).tolist()
    found = {}
    for name, options in (("mlp", {"hidden": 32, "learning_rate": 1e-2}), ("logistic", {"c": 1.0})):
        probe: Any = TypeAdapter(Probe).validate_python({"family": name, **options})
        family = __import__(f"candor.probes.families.{name}", fromlist=["pool"])
        problems = make_problems(groups, y.tolist(), folds, [0], getattr(probe, "held_out", None), "xor@train", 2)
        features = Features(x, torch.ones(len(x), dtype=torch.int64))
        fitted = fit_problems(features, y, problems, family, probe, 0)
        logits = out_of_fold_logits(features, fitted, problems, family, probe, folds)
        found[name] = roc_auc_score(y, logits[:, 0])
    assert found["mlp"] > 0.9 and found["logistic"] < 0.7


def test_the_score_of_a_text_is_the_mean_of_its_tokens_scores() -> None:
    features, y, problems = data_of(3)
    found = fit(features, y, problems, mlp, probe_of(), seed=0)
    weight, bias = found.weight[:, :, 0], found.bias[0]
    alone = Features(features.x, torch.ones(len(features.x), dtype=torch.int64))
    tokens = scores(alone, weight, bias, mlp, probe_of()).split(features.lengths.tolist())
    whole = scores(features, weight, bias, mlp, probe_of())
    torch.testing.assert_close(whole, torch.stack([each.mean(0) for each in tokens]), rtol=1e-4, atol=1e-4)


def saved(folder: Path, classes: list[str]) -> tuple[SavedProbe, Any]:
    rows = triples(12) if len(classes) == 3 else pair_rows(24)
    layer = states(rows) if len(classes) == 3 else [torch.randn(K, WIDTH) + 3 * (r["label"] == "high") for r in rows]
    torch.manual_seed(0)
    train = triple_part(folder, "triples@train", rows, {1: layer, 2: layer})
    task = task_of(classes=classes, seeds=[0, 4])
    return trained_on(folder, train, probe_of(), task), train


@pytest.mark.parametrize("classes", [CLASSES, STATES])
def test_what_is_saved_is_loaded_bit_for_bit_and_costs_each_weight_once(tmp_path: Path, classes: list[str]) -> None:
    probe, train = saved(tmp_path, classes)
    probe.save(tmp_path / "probe.safetensors", {})
    loaded = SavedProbe.load(tmp_path / "probe.safetensors")
    assert torch.equal(loaded.weight, probe.weight) and torch.equal(loaded.bias, probe.bias)
    assert loaded.header == probe.header
    outputs = 1 if len(classes) == 2 else 3
    [flops] = {row["flops_monitor"] for row in score_part(train, loaded, "probe", SUBJECT).to_pylist()}
    assert flops == 2 * K * (5 * WIDTH + 5 * outputs)


def test_a_stranger_scores_with_safetensors_and_numpy_alone(tmp_path: Path) -> None:
    probe, train = saved(tmp_path, STATES)
    probe.save(tmp_path / "probe.safetensors", {})
    expected = score_part(train, probe, "probe", SUBJECT).to_pandas()
    expected = expected[(expected["layer"] == 2) & (expected["seed"] == 4)]["probability"].to_numpy().reshape(-1, 3)

    # from here on, what someone without this project would write
    with safe_open(tmp_path / "probe.safetensors", framework="numpy") as file:
        header = json.loads(file.metadata()["probe"])
        i, j = header["layers"].index(2), header["seeds"].index(4)
        first, hidden_bias, output, bias = (
            file.get_tensor(name)[i, j] for name in ("weight", "hidden_bias", "output", "bias")
        )
    activations = train.activations.layer(2).numpy().reshape(-1, K, WIDTH)
    hidden = np.maximum(activations @ first[..., 0].T + hidden_bias, 0)
    logits = (hidden @ output).mean(1) + bias
    odds = np.exp(logits - logits.max(1, keepdims=True))
    np.testing.assert_allclose(odds / odds.sum(1, keepdims=True), expected, atol=1e-4)


def test_on_stored_means_it_is_a_network_on_the_mean_activation(tmp_path: Path) -> None:
    rows = triples(12)
    means = [x.mean(0, keepdim=True) for x in states(rows)]
    train = write_part(tmp_path, "triples@train", rows, {1: means}, store="mean")
    probe = trained_on(tmp_path, train, probe_of(epochs=40))
    found = score_part(train, probe, "probe", SUBJECT).to_pandas()
    assert roc_auc_score(found["label"].astype(bool), found["score"]) > 0.9
