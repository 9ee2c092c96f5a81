"""Training: many problems as one, each as a plain loop would train it alone."""

import importlib
from collections.abc import Sequence
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from pydantic import TypeAdapter
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.preprocessing import StandardScaler
from torch import Tensor

from candor.config.probes import Probe
from candor.data.folds import group_folds
from candor.experiments.permuting import permuted_by_group
from candor.probes import training
from candor.probes.features import Features
from candor.probes.fitting import fit_problems, out_of_fold_logits
from candor.probes.pooling import scores
from candor.probes.problems import Problems, make_problems
from candor.probes.training import Fitted, fit, learning_rate, margin, watched_auroc

WIDTH = 8
TRAINED = ["mean", "max", "last", "rolling_mean_max", "softmax", "attention", "mean_then_linear"]


class Data(NamedTuple):
    """Groups of an example per class: ragged features, class indices, groups and folds."""

    features: Features
    y: Tensor
    groups: list[str]
    folds: list[int]

    def problems(self, seeds: Sequence[int] = (0, 1), held_out: float | None = 0.25) -> Problems:
        return make_problems(
            self.groups, self.y.tolist(), self.folds, seeds, held_out, "set@train", int(self.y.max()) + 1
        )


def data_of(n_groups: int = 16, strength: float = 0.5, classes: int = 2, folds: int = 2, even: bool = False) -> Data:
    """Noise in which class k stands out by `strength` in feature k; unless `even`, each has an offset and a scale."""
    generator = torch.Generator().manual_seed(0)
    groups = [f"g{i // classes}" for i in range(n_groups * classes)]
    y = torch.arange(n_groups * classes) % classes
    lengths = torch.randint(1, 9, y.shape, generator=generator)
    x = torch.randn(int(lengths.sum()), WIDTH, generator=generator)
    token_y = y.repeat_interleave(lengths)
    for k in range(classes):
        x[:, k] += strength * (token_y == k)
    if not even:
        x = x * torch.linspace(0.1, 5, WIDTH) + torch.linspace(-3, 20, WIDTH)
    assigned = group_folds(groups, [str(k) for k in y.tolist()], folds, 0).tolist()
    return Data(Features(x, lengths), y, groups, assigned)


def family_of(name: str, **options: Any) -> tuple[ModuleType, Any]:
    probe: Any = TypeAdapter(Probe).validate_python({"family": name, **options})
    return importlib.import_module(f"candor.probes.families.{name}"), probe


def trained(data: Data, problems: Problems, name: str, **options: Any) -> Fitted:
    family, probe = family_of(name, **{"epochs": 6, "batch_size": 8, **options})
    return fit(data.features, data.y, problems, family, probe, seed=0)


def logits_of(features: Features, weight: Tensor, bias: Tensor, name: str) -> Tensor:
    """Logits [n, c] of one problem, weight [projections, width, c] and bias [c]."""
    return scores(features, weight, bias, *family_of(name))


def one(problems: Problems, p: int) -> Problems:
    return Problems(
        [problems.seeds[p]], [problems.folds[p]], problems.train[:, p : p + 1], problems.watch[:, p : p + 1]
    )


def changed(data: Data, at: Tensor) -> Data:
    """The data with other features, and the other label, where the mask `at` [n] says so."""
    x = data.features.x.clone()
    x[at.repeat_interleave(data.features.lengths)] *= -7
    return data._replace(features=data.features._replace(x=x), y=torch.where(at, 1 - data.y, data.y))


class Epoch(NamedTuple):
    """A plain loop's state after an epoch: weights for raw activations, and the watched examples' AUROC and loss."""

    weight: Tensor
    bias: Tensor
    auroc: float
    loss: float


def plain_loop(data: Data, problems: Problems, p: int, name: str, **options: Any) -> list[Epoch]:
    """One problem trained as anyone would: standardised inputs, one example at a time, torch's AdamW."""
    family, probe = family_of(name, **{"epochs": 6, "batch_size": 8, **options})
    train, watch = problems.train[:, p], problems.watch[:, p]
    examples = data.features.x.split(data.features.lengths.tolist())
    rows = torch.cat([a for a, used in zip(examples, train, strict=True) if used])
    center, scale = rows.mean(0), rows.std(0, correction=0)
    generator = torch.Generator().manual_seed(problems.seeds[p])
    first = (torch.rand(family.PROJECTIONS, WIDTH, 1, generator=generator) * 2 - 1) * WIDTH**-0.5
    weight, bias = first.requires_grad_(), torch.zeros(1, requires_grad=True)
    decays = [{"params": [weight], "weight_decay": probe.weight_decay}, {"params": [bias], "weight_decay": 0.0}]
    optimiser = torch.optim.AdamW(decays, lr=probe.learning_rate)
    order, shuffle = torch.randperm(len(examples), generator=torch.Generator().manual_seed(0)), torch.Generator()
    shuffle.manual_seed(0)
    blocks = order.split(probe.batch_size)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(
        optimiser, probe.epochs * len(blocks), probe.final_learning_rate
    )

    def score(i: int) -> Tensor:
        standardised = Features((examples[i] - center) / scale, torch.tensor([len(examples[i])]))
        return scores(standardised, weight, bias, family, probe)[0, 0]

    epochs = []
    for _ in range(probe.epochs):
        for block in torch.randperm(len(blocks), generator=shuffle).tolist():
            own = [i for i in blocks[block].tolist() if train[i]]
            loss = torch.nn.functional.binary_cross_entropy_with_logits(
                torch.stack([score(i) for i in own]), data.y[own].float()
            )
            optimiser.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_([weight, bias], probe.clip)
            optimiser.step()
            schedule.step()
        with torch.no_grad():
            seen = watch.nonzero().squeeze(1)
            logits = torch.stack([score(i) for i in seen.tolist()])
            loss = torch.nn.functional.binary_cross_entropy_with_logits(logits, data.y[seen].float()).item()
            raw = weight / scale[None, :, None]
            epochs.append(Epoch(raw.clone(), bias - center @ raw[0], roc_auc_score(data.y[seen], logits), loss))
    return epochs


@pytest.mark.parametrize("name", TRAINED)
def test_each_problem_is_trained_as_a_plain_loop_would_and_its_best_epoch_is_restored(name: str) -> None:
    data = data_of(strength=0.0)  # noise, so that the last epoch is seldom the best
    problems = data.problems()
    # gradients above the clip and a fast, large step: what an error in either would change
    options = {"clip": 0.05, "learning_rate": 0.1, "weight_decay": 0.1, "window": 3}
    options = {key: value for key, value in options.items() if key != "window" or name == "rolling_mean_max"}
    found = trained(data, problems, name, **options)
    restored = 0
    for p in range(len(problems.seeds)):
        epochs = plain_loop(data, problems, p, name, **options)
        best = max(range(len(epochs)), key=lambda epoch: (epochs[epoch].auroc, -epochs[epoch].loss))
        assert found.best_epoch[p] == best
        assert found.watched_auroc[p] == pytest.approx(epochs[best].auroc)
        torch.testing.assert_close(found.weight[:, :, p], epochs[best].weight, rtol=1e-3, atol=1e-4)
        torch.testing.assert_close(found.bias[p], epochs[best].bias, rtol=1e-3, atol=1e-3)
        restored += not torch.allclose(found.weight[:, :, p], epochs[-1].weight, rtol=1e-2, atol=1e-3)
    assert restored >= 2


@pytest.mark.parametrize("name", ["mean", "attention"])
def test_the_returned_weights_give_the_recorded_auroc(name: str) -> None:
    data = data_of(strength=0.0)
    problems = data.problems()
    found = trained(data, problems, name, epochs=12, learning_rate=0.05)
    assert any(epoch < 11 for epoch in found.best_epoch)
    for p in range(len(problems.seeds)):
        seen = problems.watch[:, p]
        logits = logits_of(data.features, found.weight[:, :, p], found.bias[p], name)
        assert roc_auc_score(data.y[seen], logits[seen, 0]) == pytest.approx(found.watched_auroc[p])


@pytest.mark.parametrize("name", TRAINED)
def test_a_problem_is_trained_alone_as_it_is_among_others(name: str) -> None:
    data = data_of()
    problems = data.problems([0, 1, 2])
    together = trained(data, problems, name)
    for p in range(len(problems.seeds)):
        alone = trained(data, one(problems, p), name)
        assert alone.best_epoch[0] == together.best_epoch[p]
        torch.testing.assert_close(alone.weight[:, :, 0], together.weight[:, :, p], rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(alone.bias[0], together.bias[p], rtol=1e-4, atol=1e-4)


def test_a_problem_that_has_stopped_does_not_change_the_others() -> None:
    data = data_of(strength=0.0)
    problems = data.problems()
    together = trained(data, problems, "mean", epochs=20, patience=2)
    for p in range(len(problems.seeds)):
        alone = trained(data, one(problems, p), "mean", epochs=20, patience=2)
        assert alone.best_epoch[0] == together.best_epoch[p]
        torch.testing.assert_close(alone.weight[:, :, 0], together.weight[:, :, p], rtol=1e-4, atol=1e-5)


def test_seeds_differ_in_their_first_weights_and_in_what_they_watch() -> None:
    data = data_of()
    problems = data.problems([0, 1], None)
    problems = problems._replace(watch=problems.train)  # the same examples for both seeds
    found = trained(data, problems, "mean")
    full = [p for p, fold in enumerate(problems.folds) if fold is None]
    assert not torch.allclose(found.weight[:, :, full[0]], found.weight[:, :, full[1]], atol=1e-3)
    assert not torch.equal(data.problems().watch[:, full[0]], data.problems().watch[:, full[1]])


@pytest.mark.parametrize("name", ["mean", "max", "attention"])
def test_the_same_job_gives_the_same_bytes(name: str) -> None:
    data = data_of()
    first, second = (trained(data, data.problems(), name) for _ in range(2))
    assert torch.equal(first.weight, second.weight) and torch.equal(first.bias, second.bias)


@pytest.mark.parametrize("name", TRAINED)
def test_nothing_of_a_left_out_fold_enters_its_fit(name: str) -> None:
    data = data_of()
    problems = data.problems()
    found = trained(data, problems, name)
    for p, fold in enumerate(problems.folds):
        if fold is None:
            continue
        left_out = torch.tensor(data.folds) == fold
        again = trained(changed(data, left_out), problems, name)
        assert again.best_epoch[p] == found.best_epoch[p]
        torch.testing.assert_close(again.weight[:, :, p], found.weight[:, :, p], rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(again.bias[p], found.bias[p], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", TRAINED)
def test_watched_groups_carry_no_loss(name: str) -> None:
    data = data_of()
    problems = data.problems([0])
    found = trained(data, problems, name, epochs=1)  # of one epoch the first is the best, whatever is watched
    again = trained(changed(data, problems.watch[:, 0]), problems, name, epochs=1)
    torch.testing.assert_close(again.weight[:, :, 0], found.weight[:, :, 0], rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(again.bias[0], found.bias[0], rtol=1e-4, atol=1e-4)


def test_every_training_example_carries_loss_those_of_the_last_partial_batch_too() -> None:
    data = data_of(9)
    problems = one(data.problems(), 0)
    assert len(data.y) % 4
    found = trained(data, problems, "mean", epochs=1, batch_size=4)
    for i in problems.train[:, 0].nonzero().squeeze(1).tolist():
        y = data.y.clone()
        y[i] = 1 - y[i]
        again = trained(data._replace(y=y), problems, "mean", epochs=1, batch_size=4)
        assert not torch.allclose(again.weight, found.weight, rtol=1e-3, atol=1e-5)


def test_fewer_examples_than_a_batch_are_one_batch() -> None:
    data = data_of(8)
    found, whole = (trained(data, data.problems(), "mean", batch_size=size) for size in (1000, 16))
    assert torch.equal(found.weight, whole.weight)
    assert not torch.allclose(found.weight, trained(data, data.problems(), "mean", epochs=1).weight, atol=1e-3)


def test_a_problem_with_huge_gradients_does_not_clip_the_others() -> None:
    data = data_of()
    problems = data.problems([0])
    wild = data._replace(y=torch.where(torch.tensor(data.folds) == 0, 1 - data.y, data.y))
    p = problems.folds.index(0)  # never sees fold 0, where labels are now wrong
    found, again = (trained(each, problems, "mean", clip=1e-3) for each in (data, wild))
    torch.testing.assert_close(again.weight[:, :, p], found.weight[:, :, p], rtol=1e-4, atol=1e-5)
    assert not torch.allclose(again.weight[:, :, 0], found.weight[:, :, 0], rtol=1e-2, atol=1e-3)


@pytest.mark.parametrize("name", TRAINED)
def test_offsets_and_scales_of_features_do_not_matter(name: str) -> None:
    data = data_of()
    problems = data.problems()
    moved = data._replace(features=data.features._replace(x=data.features.x * torch.linspace(1, 3, WIDTH) - 5))
    found, again = (trained(each, problems, name) for each in (data, moved))
    for p in range(len(problems.seeds)):
        torch.testing.assert_close(
            logits_of(data.features, found.weight[:, :, p], found.bias[p], name),
            logits_of(moved.features, again.weight[:, :, p], again.bias[p], name),
            rtol=1e-3,
            atol=1e-3,
        )


@pytest.mark.parametrize("name", ["mean", "attention", "logistic"])
def test_a_feature_that_never_varies_does_no_harm(name: str) -> None:
    data = data_of()
    x = data.features.x.clone()
    x[:, 2], x[:, 3] = 0.1, 0.0
    x[torch.tensor(data.folds).repeat_interleave(data.features.lengths) == 0, 3] = 1.7
    data = data._replace(features=data.features._replace(x=x))
    family, probe = family_of(name, **({"epochs": 3} if name in TRAINED else {}))
    if name not in TRAINED:
        data = data._replace(features=means_of(data.features))
    problems = data.problems(held_out=0.25 if name in TRAINED else None)
    found = fit_problems(data.features, data.y, problems, family, probe, 0)
    assert found.weight.isfinite().all() and found.bias.isfinite().all()
    assert found.weight[:, 2:4].abs().max() < 10


def test_the_cosine_goes_from_the_first_rate_to_the_final_one() -> None:
    _, probe = family_of("mean", learning_rate=5e-3, final_learning_rate=1e-4)
    rates = [learning_rate(probe, done) for done in np.linspace(0, 1, 101)]
    assert rates[0] == pytest.approx(5e-3) and rates[-1] == pytest.approx(1e-4)
    assert rates[50] == pytest.approx((5e-3 + 1e-4) / 2)
    assert rates == sorted(rates, reverse=True)


def scripted(monkeypatch: pytest.MonkeyPatch, script: list[list[float]]) -> list[int]:
    """Let the watched AUROC follow a script, [epoch][live problem]; returns a list of how many problems were live."""
    live: list[int] = []

    def next_line(logits: Tensor, y: Tensor, watch: Tensor) -> Tensor:
        live.append(logits.shape[1])
        return torch.tensor(script[len(live) - 1], dtype=torch.float64)

    monkeypatch.setattr(training, "watched_auroc", next_line)
    return live


def test_each_problem_stops_after_so_many_epochs_without_a_better_auroc(monkeypatch: pytest.MonkeyPatch) -> None:
    data = data_of()
    problems = data.problems([0, 1])
    two = Problems([0, 1], [None, None], problems.train[:, :2], problems.watch[:, :2])
    live = scripted(monkeypatch, [[0.5, 0.5], [0.6, 0.6], [0.5, 0.7], [0.1, 0.6], [0.65], [0.2], [0.3]])
    found = trained(data, two, "mean", epochs=50, patience=2)
    assert live == [2, 2, 2, 2, 1]
    assert found.best_epoch == [1, 2]
    assert found.watched_auroc == [0.6, 0.7]


def test_of_epochs_with_equal_auroc_the_lowest_loss_counts_and_patience_runs_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    data = data_of(40, strength=4.0)
    problems = one(data.problems(), 0)
    live = scripted(monkeypatch, [[0.5], [1.0], [1.0], [1.0], [1.0], [1.0], [1.0]])
    found = trained(data, problems, "mean", epochs=50, patience=3)
    assert len(live) == 5  # three more after the first that reached 1
    assert found.best_epoch == [4]  # and the loss still falls


def test_weights_are_good_although_early_stopping_watches_few_groups() -> None:
    data = data_of(24, strength=4.0, folds=3, even=True)
    problems = data.problems([0], 0.15)  # two or three groups, all in order after a few epochs
    found = trained(data, problems, "mean", epochs=200, batch_size=64)
    assert found.watched_auroc == [1.0] * 4
    logits = out_of_fold_logits(data.features, found, problems, *family_of("mean"), data.folds)
    assert roc_auc_score(data.y, logits[:, 0]) > 0.95


def test_training_ends_after_the_last_epoch(monkeypatch: pytest.MonkeyPatch) -> None:
    data = data_of()
    problems = one(data.problems(), 0)
    live = scripted(monkeypatch, [[0.5], [0.6], [0.7]])
    assert trained(data, problems, "mean", epochs=3, patience=2).best_epoch == [2]
    assert len(live) == 3


@pytest.mark.parametrize("name", [*TRAINED, "difference_of_means", "logistic"])
def test_planted_classes_are_found_and_shuffled_labels_are_not(name: str) -> None:
    data = data_of(60, strength=3.0, folds=3, even=True)
    if importlib.import_module(f"candor.probes.families.{name}").FEATURES == "mean":
        data = data._replace(features=means_of(data.features))
    by_name = {"y": data.y, "shuffled": torch.from_numpy(permuted_by_group(data.y.numpy(), data.groups, 1))}
    found = {}
    family, probe = family_of(name, **({"epochs": 40} if name in TRAINED else {}))
    for key, y in by_name.items():
        given = data._replace(y=y)
        problems = given.problems([0], 0.15 if name in TRAINED else None)
        fitted = fit_problems(data.features, y, problems, family, probe, 0)
        logits = out_of_fold_logits(data.features, fitted, problems, family, probe, data.folds)
        found[key] = roc_auc_score(y, logits[:, 0])
    n = len(data.y) // 2
    chance = ((2 * n + 1) / (12 * n * n)) ** 0.5  # standard error of the AUROC of noise, n of each class
    assert found["y"] > 0.9
    assert abs(found["shuffled"] - 0.5) < 4 * chance


def means_of(features: Features) -> Features:
    means = torch.stack([part.mean(0) for part in features.x.split(features.lengths.tolist())])
    return Features(means, torch.ones(len(means), dtype=torch.int64))


@pytest.mark.parametrize("name", [*TRAINED, "difference_of_means", "logistic"])
def test_three_classes_have_an_output_each(name: str) -> None:
    data = data_of(30, strength=3.0, classes=3, even=True)
    if name not in TRAINED:
        data = data._replace(features=means_of(data.features))
    family, probe = family_of(name, **({"epochs": 30, "learning_rate": 0.05} if name in TRAINED else {}))
    problems = data.problems([0], 0.2 if name in TRAINED else None)
    fitted = fit_problems(data.features, data.y, problems, family, probe, 0)
    assert fitted.weight.shape == (family.PROJECTIONS, WIDTH, 3, 3) and fitted.bias.shape == (3, 3)
    logits = out_of_fold_logits(data.features, fitted, problems, family, probe, data.folds)
    for k in range(3):
        assert roc_auc_score(data.y == k, margin(logits)[:, k]) > 0.9


def test_the_watched_auroc_is_that_of_scikit_learn_ties_and_all() -> None:
    rng = np.random.default_rng(0)
    logits = torch.from_numpy(rng.integers(0, 6, (60, 3, 1)).astype(np.float64))
    y, watch = torch.from_numpy(rng.integers(0, 2, 60)), torch.from_numpy(rng.random((60, 3)) < 0.5)
    expected = [roc_auc_score(y[watch[:, p]], logits[watch[:, p], p, 0]) for p in range(3)]
    assert watched_auroc(logits, y, watch).tolist() == pytest.approx(expected)


def test_the_watched_auroc_of_several_classes_is_the_mean_of_one_against_the_rest() -> None:
    rng = np.random.default_rng(0)
    logits, y = torch.from_numpy(rng.normal(size=(50, 1, 3))), torch.from_numpy(rng.integers(0, 3, 50))
    probabilities = logits[:, 0].softmax(1)
    expected = np.mean([roc_auc_score(y == k, probabilities[:, k]) for k in range(3)])
    assert watched_auroc(logits, y, torch.ones(50, 1, dtype=torch.bool)).tolist() == pytest.approx([expected])


def test_the_margin_is_the_log_odds_of_the_softmax() -> None:
    logits = torch.randn(20, 4, generator=torch.Generator().manual_seed(0)).double()
    torch.testing.assert_close(margin(logits).sigmoid(), logits.softmax(1))


def test_difference_of_means_points_from_mean_to_mean_with_the_boundary_halfway() -> None:
    family, probe = family_of("difference_of_means")
    x = torch.tensor([[0.0, 0.0], [2.0, 0.0], [4.0, 1.0], [4.0, 3.0]])
    weight, bias = family.fit(x, torch.tensor([0, 0, 1, 1]), 2, probe)
    assert weight[:, 0].tolist() == [3.0, 2.0]  # (4, 2) - (1, 0)
    assert (torch.tensor([2.5, 1.0]).double() @ weight + bias).tolist() == [0.0]
    assert (torch.tensor([4.0, 2.0]).double() @ weight + bias).item() == pytest.approx(13 / 2)  # half of |mu1 - mu0|^2


def test_difference_of_means_of_several_classes_is_each_against_the_others() -> None:
    family, probe = family_of("difference_of_means")
    x = torch.tensor([[0.0, 0.0], [6.0, 0.0], [0.0, 6.0]])
    weight, bias = family.fit(x, torch.tensor([0, 1, 2]), 3, probe)
    assert weight.T.tolist() == [[-3.0, -3.0], [6.0, -3.0], [-3.0, 6.0]]
    midpoints = torch.tensor([[1.5, 1.5], [3.0, 1.5], [1.5, 3.0]]).double()
    assert [(midpoints[k] @ weight[:, k] + bias[k]).item() for k in range(3)] == [0.0, 0.0, 0.0]


@pytest.mark.parametrize(("classes", "intercept"), [(2, False), (2, True), (3, True)])
def test_logistic_is_scikit_learns_on_standardised_means(classes: int, intercept: bool) -> None:
    data = data_of(20, strength=1.0, classes=classes)
    x = means_of(data.features).x
    family, probe = family_of("logistic", c=0.05, intercept=intercept)
    weight, bias = family.fit(x, data.y, classes, probe)
    scaler = StandardScaler().fit(x.double().numpy())
    model = LogisticRegression(C=0.05, fit_intercept=intercept, max_iter=5000)
    model.fit(scaler.transform(x.double().numpy()), data.y.numpy())
    expected = model.decision_function(scaler.transform(x.double().numpy())).reshape(len(x), -1)
    np.testing.assert_allclose((x.double() @ weight + bias).numpy(), expected, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("name", ["difference_of_means", "logistic"])
def test_a_closed_form_is_fitted_outside_each_fold_and_once_for_all_seeds(name: str) -> None:
    data = data_of()
    data = data._replace(features=means_of(data.features))
    problems = data.problems([0, 1], None)
    family, probe = family_of(name)
    found = fit_problems(data.features, data.y, problems, family, probe, 0)
    for p, fold in enumerate(problems.folds):
        inside = torch.tensor([fold is None or assigned != fold for assigned in data.folds])
        weight, bias = family.fit(data.features.x[inside], data.y[inside], 2, probe)
        torch.testing.assert_close(found.weight[0, :, p], weight.float())
        torch.testing.assert_close(found.bias[p], bias.float())


def test_each_example_is_scored_by_the_fit_that_left_its_fold_out() -> None:
    data = data_of()
    problems = data.problems()
    family, probe = family_of("max", epochs=2)
    fitted = fit(data.features, data.y, problems, family, probe, 0)
    found = out_of_fold_logits(data.features, fitted, problems, family, probe, data.folds)
    for p, fold in enumerate(problems.folds):
        if fold is not None:
            at = torch.tensor(data.folds) == fold
            expected = logits_of(data.features, fitted.weight[:, :, p], fitted.bias[p], "max")
            torch.testing.assert_close(found[at], expected[at])
