"""Training again on a few examples: each draw as if alone, and from where it is told to start."""

from typing import Any

import numpy as np
import pytest
import torch
from pydantic import TypeAdapter
from torch import Tensor

from candor.config.probes import Probe
from candor.experiments.refitting import UNWATCHED_EPOCHS, Weights, go_on, refit, scale_of, taken
from candor.probes import training
from candor.probes.features import Features
from tests.small_parts import pair_rows, planted

WIDTH = 5


def config(**given: Any) -> Any:
    return TypeAdapter(Probe).validate_python({"family": "mean", "epochs": 30, **given})


def pairs(count: int, strength: float = 2.0) -> tuple[Features, np.ndarray, list[str]]:
    rows = pair_rows(count)
    x = planted(rows, WIDTH, strength, 0)
    features = Features(torch.cat(x), torch.tensor([len(each) for each in x]))
    return features, np.arange(2 * count) % 2, [row["group_id"] for row in rows]


def start(runs: int = 1) -> Weights:
    generator = torch.Generator().manual_seed(3)
    return Weights([torch.randn(1, WIDTH, 1, generator=generator)] * runs, [torch.tensor([0.5])] * runs)


def continued(draws: list[list[int]], begun: Weights, **given: Any) -> Weights:
    features, y, _ = pairs(20)
    probe = config(**given)
    return go_on(features, y, draws, begun, scale_of(features), probe, epochs=5, seed=0)


def test_the_start_is_what_it_says_it_is() -> None:
    """Without a step's length nothing changes: standardising the inputs is only another way to write the weights."""
    begun = start()
    found = continued([[0, 1]], begun, learning_rate=1e-12, final_learning_rate=1e-12, weight_decay=0)
    assert torch.allclose(found.weights[0], begun.weights[0], atol=1e-5)
    assert torch.allclose(found.biases[0], begun.biases[0], atol=1e-4)


def test_every_run_starts_from_the_same_weights_which_stay_as_they_are() -> None:
    begun = start(3)
    before = begun.weights[0].clone()
    found = continued([[0, 1]] * 3, begun)
    assert torch.equal(begun.weights[0], before)
    assert torch.equal(found.weights[0], found.weights[1]) and torch.equal(found.weights[1], found.weights[2])
    assert not torch.equal(found.weights[0], before)
    again = continued([[0, 1]] * 3, begun)
    assert torch.equal(again.weights[2], found.weights[2])


@pytest.mark.parametrize("family", ["mean", "attention"])
def test_two_examples_move_the_weights_however_large_a_batch_is(family: str) -> None:
    begun = start()
    if family == "attention":
        begun = Weights([torch.randn(2, WIDTH, 1)], begun.biases)
    found = continued([[0, 1]], begun, family=family, batch_size=4096)
    assert (found.weights[0] - begun.weights[0]).abs().max() > 1e-3
    features, y, groups = pairs(20)
    fitted = refit(features, y, groups, [[0, 1]], [0], config(family=family, batch_size=4096, epochs=5), 0)
    still = {"learning_rate": 1e-12, "final_learning_rate": 1e-12, "weight_decay": 0, "batch_size": 4096, "epochs": 5}
    unmoved = refit(features, y, groups, [[0, 1]], [0], config(family=family, **still), 0)
    assert (fitted.found.weights[0] - unmoved.found.weights[0]).abs().max() > 1e-3


def test_going_on_lowers_the_loss_on_its_examples() -> None:
    features, y, _ = pairs(20)
    draw = list(range(40))
    found = go_on(
        features, y, [draw], start(), scale_of(features), config(batch_size=8, learning_rate=0.05), epochs=20, seed=0
    )

    def loss(weight: Tensor, bias: Tensor) -> float:
        means = torch.stack([part.mean(0) for part in features.x.split(features.lengths.tolist())])
        logits = (means @ weight[0, :, 0]) + bias
        return float(torch.nn.functional.binary_cross_entropy_with_logits(logits, torch.from_numpy(y).float()))

    assert loss(found.weights[0], found.biases[0]) < 0.5 * loss(start().weights[0], start().biases[0])


def test_few_examples_are_trained_on_whole_for_a_stated_number_of_epochs(monkeypatch: pytest.MonkeyPatch) -> None:
    features, y, groups = pairs(60)
    seen = []

    def spied(features: Features, y: Tensor, problems: Any, family: Any, probe: Any, seed: int) -> Any:
        seen.append((problems, probe))
        return training.fit(features, y, problems, family, probe, seed)

    monkeypatch.setattr("candor.experiments.refitting.fit_problems", spied)
    few = refit(features, y, groups, [[0, 1, 2, 3]], [0], config(), 0)
    assert few.remarks == [f"too few to hold out for early stopping: {UNWATCHED_EPOCHS} epochs"]
    problems, probe = seen[0]
    assert problems.train.all() and probe.epochs == UNWATCHED_EPOCHS
    many = refit(features, y, groups, [list(range(120))], [0], config(), 0)
    problems, probe = seen[1]
    assert many.remarks == [] and probe.epochs == 30
    assert not (problems.train & problems.watch).any() and (problems.train | problems.watch).all()
    held = {groups[i] for i in range(120) if problems.watch[i, 0]}
    assert not held & {groups[i] for i in range(120) if problems.train[i, 0]}


def test_draws_trained_together_have_batches_of_their_own_size(monkeypatch: pytest.MonkeyPatch) -> None:
    features, y, groups = pairs(20)
    seen = []

    def spied(features: Features, y: Tensor, problems: Any, family: Any, probe: Any, seed: int) -> Any:
        seen.append(probe.batch_size)
        return training.fit(features, y, problems, family, probe, seed)

    monkeypatch.setattr("candor.experiments.refitting.fit_problems", spied)
    refit(features, y, groups, [[0, 1, 2, 3], [4, 5, 6, 7]], [0, 1], config(batch_size=2), 0)
    assert seen == [4]


@pytest.mark.parametrize("family", ["logistic", "difference_of_means"])
def test_a_closed_form_is_fitted_to_each_draw(family: str) -> None:
    rows = pair_rows(20)
    x = torch.stack([each.mean(0) for each in planted(rows, WIDTH, 2.0, 0)])
    features = Features(x, torch.ones(40, dtype=torch.int64))
    y, groups = np.arange(40) % 2, [row["group_id"] for row in rows]
    probe = TypeAdapter(Probe).validate_python({"family": family})
    together = refit(features, y, groups, [[0, 1, 2, 3], [4, 5, 6, 7]], [0, 1], probe, 0)
    alone = refit(features, y, groups, [[4, 5, 6, 7]], [1], probe, 0)
    assert torch.allclose(together.found.weights[1], alone.found.weights[0])
    assert not torch.allclose(together.found.weights[0], together.found.weights[1])


def test_only_what_may_be_watched_is_held_out(monkeypatch: pytest.MonkeyPatch) -> None:
    features, y, groups = pairs(60)
    seen = []

    def spied(features: Features, y: Tensor, problems: Any, family: Any, probe: Any, seed: int) -> Any:
        seen.append(problems)
        return training.fit(features, y, problems, family, probe, seed)

    monkeypatch.setattr("candor.experiments.refitting.fit_problems", spied)
    refit(features, y, groups, [list(range(120))], [0], config(), 0, may_watch=np.arange(120) < 80)
    assert seen[0].watch[:80].any() and not seen[0].watch[80:].any() and seen[0].train[80:].all()


def test_features_of_some_examples_in_an_order_of_their_own() -> None:
    features, _, _ = pairs(3)
    parts = features.x.split(features.lengths.tolist())
    found = taken(features, [4, 0, 4])
    assert torch.equal(found.x, torch.cat([parts[4], parts[0], parts[4]]))
    assert found.lengths.tolist() == [len(parts[4]), len(parts[0]), len(parts[4])]
