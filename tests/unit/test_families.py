"""Every family's score of a ragged batch is the formula, applied to one example at a time."""

import importlib
from types import ModuleType
from typing import Any

import pytest
import torch
from pydantic import TypeAdapter
from torch import Tensor

from candor.config.probes import MEAN_FAMILIES, Probe
from candor.probes.features import Features
from candor.probes.pooling import projections_of, scores, scores_in_blocks

WIDTH = 12
LENGTHS = [40, 1, 100, 2, 39, 41]
LONG = ["multimax", "rolling_attention", "gated_attention", "gated_bipolar"]
TRAINED = ["mean", "max", "last", "rolling_mean_max", "softmax", "attention", *LONG, "mean_then_linear"]
FAMILIES = [*TRAINED, "difference_of_means", "logistic", "random_direction", "pca"]


def family_of(name: str, **options: Any) -> tuple[ModuleType, Any]:
    probe: Any = TypeAdapter(Probe).validate_python({"family": name, **options})
    return importlib.import_module(f"candor.probes.families.{name}"), probe


def reference(name: str, a: Tensor, weight: Tensor, b: Tensor) -> Tensor:
    """Score of one example, activations a [tokens, width], by the paper's formulas; weight [projections, width]."""
    z = a @ weight[0] + b
    if name == "max":
        return max(z)
    if name == "last":
        return z[-1]
    if name == "rolling_mean_max":
        size = min(40, len(z))
        return max(z[start : start + size].mean() for start in range(len(z) - size + 1))
    if name == "softmax":
        alpha = torch.exp(z / 5) / torch.exp(z / 5).sum()
        return (alpha * z).sum()
    if name == "attention":
        query = torch.exp(a @ weight[1] / WIDTH**0.5)
        return weight[0] @ ((query / query.sum())[:, None] * a).sum(0) + b
    if name == "multimax":
        return sum(max(a @ head) for head in weight) + b
    if name == "rolling_attention":
        windows = [slice(start, start + 10) for start in range(max(1, len(a) - 9))]
        return max(torch.softmax((a @ weight[1])[window], 0) @ z[window] for window in windows)
    if name == "gated_attention":
        gate = a @ weight[2]
        raw = torch.exp(a @ weight[1] / WIDTH**0.5) * torch.sigmoid(gate - gate.mean())
        return raw @ z / raw.sum()
    if name == "gated_bipolar":
        gate = a @ weight[1]
        u = (z - z.mean()) * torch.log(1 + torch.exp(gate - gate.mean()))
        return z.mean() + max(u) + min(u)
    return weight[0] @ a.mean(0) + b


def ragged(seed: int = 0) -> Features:
    generator = torch.Generator().manual_seed(seed)
    return Features(torch.randn(sum(LENGTHS), WIDTH, generator=generator).double(), torch.tensor(LENGTHS))


def weights(family: ModuleType, probe: Any, problems: int, seed: int = 1) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    weight = 2 * torch.randn(projections_of(family, probe), WIDTH, problems, generator=generator)
    return weight.double(), torch.randn(problems, generator=generator).double()


def padded(value: float) -> tuple[Tensor, Tensor]:
    """Scores of one projection and problem with `value` in the padding, [n, t, 1, 1], and the mask [n, t]."""
    mask = torch.arange(max(LENGTHS))[None, :] < torch.tensor(LENGTHS)[:, None]
    z = torch.randn(mask.shape, generator=torch.Generator().manual_seed(2)).double()
    return z.masked_fill(~mask, value)[..., None, None], mask


@pytest.mark.parametrize("name", FAMILIES)
def test_the_score_is_the_formula(name: str) -> None:
    family, probe = family_of(name)
    features, (weight, bias) = ragged(), weights(family, probe, 3)
    found = scores(features, weight, bias, family, probe)
    examples = features.x.split(LENGTHS)
    expected = [[reference(name, a, weight[..., p], bias[p]) for p in range(3)] for a in examples]
    torch.testing.assert_close(found, torch.tensor(expected).double())


@pytest.mark.parametrize("name", FAMILIES)
def test_blocks_and_neighbours_do_not_matter(name: str) -> None:
    family, probe = family_of(name)
    features, (weight, bias) = ragged(), weights(family, probe, 2)
    whole = scores(features, weight, bias, family, probe)
    for size in (1, 2, 4, 100):
        torch.testing.assert_close(scores_in_blocks(features, weight, bias, family, probe, size), whole)


@pytest.mark.parametrize("name", FAMILIES)
def test_what_stands_in_the_padding_does_not_matter(name: str) -> None:
    family, probe = family_of(name)
    found = []
    for value in (0.0, 1e3, -1e3):
        z, mask = padded(value)
        found.append(family.pool(z.repeat(1, 1, projections_of(family, probe), 1), mask, probe, WIDTH))
    assert torch.equal(found[0], found[1]) and torch.equal(found[0], found[2])


@pytest.mark.parametrize("name", ["max", "rolling_mean_max", "last", "softmax", "attention", *LONG])
def test_padding_of_zeros_never_wins_over_negative_scores(name: str) -> None:
    family, probe = family_of(name)
    z, mask = padded(0.0)
    z = -z.abs() - mask[..., None, None].double()  # at most -1 wherever there is a token
    assert (family.pool(z.repeat(1, 1, projections_of(family, probe), 1), mask, probe, WIDTH) <= -1).all()


def test_a_text_shorter_than_the_window_is_one_window() -> None:
    family, probe = family_of("rolling_mean_max")
    mean, _ = family_of("mean")
    z, mask = padded(7.0)
    short = mask.sum(1) <= 40
    rolling, average = (each.pool(z, mask, probe, WIDTH) for each in (family, mean))
    torch.testing.assert_close(rolling[short], average[short])
    assert (rolling[~short] > average[~short]).all()


def test_a_window_of_one_token_is_the_maximum_and_one_of_all_tokens_the_mean() -> None:
    z, mask = padded(7.0)
    for window, name in ((1, "max"), (max(LENGTHS), "mean")):
        family, probe = family_of("rolling_mean_max", window=window)
        other, other_probe = family_of(name)
        torch.testing.assert_close(
            family.pool(z, mask, probe, WIDTH), other.pool(z, mask, other_probe, WIDTH), rtol=0, atol=1e-12
        )


def test_the_windows_mean_is_exact_to_float32_in_a_long_text_of_large_scores() -> None:
    family, probe = family_of("rolling_mean_max")
    z = 1e4 + torch.randn(1, 8192, 1, 1, generator=torch.Generator().manual_seed(0))
    expected = z.double().squeeze().unfold(0, 40, 1).mean(1).max()
    found = family.pool(z, torch.ones(1, 8192, dtype=torch.bool), probe, WIDTH)
    assert abs(found.item() - expected.item()) <= 1e4 * 2**-23


def test_the_temperature_goes_from_the_maximum_to_the_mean() -> None:
    z, mask = padded(7.0)
    for temperature, name in ((1e-4, "max"), (1e6, "mean")):
        family, probe = family_of("softmax", temperature=temperature)
        other, other_probe = family_of(name)
        torch.testing.assert_close(
            family.pool(z, mask, probe, WIDTH), other.pool(z, mask, other_probe, WIDTH), rtol=0, atol=1e-5
        )


def test_attention_divides_by_the_root_of_the_width() -> None:
    family, probe = family_of("attention")
    value, query = torch.tensor([1.0, 0.0]), torch.tensor([8.0, 0.0])
    z, mask = torch.stack([value, query], 1)[None, ..., None], torch.ones(1, 2, dtype=torch.bool)
    found = family.pool(z, mask, probe, 16).item()
    assert found == pytest.approx(torch.sigmoid(torch.tensor(8 / 4)).item())


def test_attention_with_an_even_query_is_the_mean() -> None:
    family, probe = family_of("attention")
    mean, mean_probe = family_of("mean")
    z, mask = padded(7.0)
    with_query = torch.cat([z, torch.full_like(z, 3.0)], 2)
    torch.testing.assert_close(
        family.pool(with_query, mask, probe, WIDTH), mean.pool(z, mask, mean_probe, WIDTH), rtol=0, atol=1e-12
    )


def test_mean_and_mean_then_linear_are_one_function() -> None:
    found = []
    for name in ("mean", "mean_then_linear"):
        family, probe = family_of(name)
        found.append(scores(ragged(), *weights(family, probe, 2), family, probe))
    torch.testing.assert_close(found[0], found[1])


@pytest.mark.parametrize("name", FAMILIES)
def test_a_family_of_means_scores_the_mean_as_it_scores_the_tokens(name: str) -> None:
    family, probe = family_of(name)
    features, (weight, bias) = ragged(), weights(family, probe, 2)
    means = torch.stack([part.mean(0) for part in features.x.split(LENGTHS)])
    on_means = scores(Features(means, torch.ones(len(LENGTHS), dtype=torch.int64)), weight, bias, family, probe)
    same = torch.allclose(on_means, scores(features, weight, bias, family, probe))
    assert same == (name in MEAN_FAMILIES)


@pytest.mark.parametrize("name", TRAINED)
def test_gradients_are_right_on_ragged_texts_and_no_padding_gets_any(name: str) -> None:
    family, probe = family_of(name, **({"window": 3} if name.startswith("rolling") else {}))
    mask = torch.arange(5)[None, :] < torch.tensor([1, 5, 3])[:, None]
    z = (
        torch.randn(3, 5, projections_of(family, probe), 2, generator=torch.Generator().manual_seed(3))
        .double()
        .requires_grad_()
    )
    assert torch.autograd.gradcheck(lambda given: family.pool(given, mask, probe, WIDTH), (z,))
    [gradient] = torch.autograd.grad(family.pool(z, mask, probe, WIDTH).sum(), (z,))
    assert gradient.isfinite().all() and (gradient[~mask] == 0).all()
    scoring = family.scoring(probe) if hasattr(family, "scoring") else 1
    shifts = torch.zeros(3, gradient.shape[2], 2).double()  # a shift of z shifts the score
    shifts[:, :scoring] = 1
    torch.testing.assert_close(gradient.sum(1), shifts)


@pytest.mark.parametrize("name", TRAINED)
def test_a_batch_of_single_tokens_scores_the_token(name: str) -> None:
    family, probe = family_of(name)
    x = torch.randn(4, WIDTH, generator=torch.Generator().manual_seed(4)).double().requires_grad_()
    weight, bias = weights(family, probe, 3)
    found = scores(Features(x, torch.ones(4, dtype=torch.int64)), weight, bias, family, probe)
    scoring = family.scoring(probe) if hasattr(family, "scoring") else 1
    torch.testing.assert_close(found, x @ weight[:scoring].sum(0) + bias)
    [gradient] = torch.autograd.grad(found.sum(), (x,))
    assert gradient.isfinite().all()


def test_a_window_of_one_token_attends_to_the_maximum_and_one_of_all_tokens_to_all() -> None:
    z, mask = padded(7.0)
    with_query = torch.cat([z, torch.full_like(z, 3.0)], 2)
    for window, name in ((1, "max"), (1000, "mean")):
        family, probe = family_of("rolling_attention", window=window)
        other, other_probe = family_of(name)
        torch.testing.assert_close(
            family.pool(with_query, mask, probe, WIDTH), other.pool(z, mask, other_probe, WIDTH), rtol=0, atol=1e-12
        )


@pytest.mark.parametrize("name", ["multimax", "rolling_attention", "rolling_mean_max", "max"])
def test_a_short_passage_is_not_averaged_away_by_a_long_text(name: str) -> None:
    family, probe = family_of(name, **({"window": 10} if name.startswith("rolling") else {}))
    found = []
    for length in (20, 2000):
        z = torch.zeros(1, length, projections_of(family, probe), 1)
        z[:, 5:15, 0] = 4.0
        found.append(family.pool(z, torch.ones(1, length, dtype=torch.bool), probe, WIDTH).item())
    assert found == [pytest.approx(4.0), pytest.approx(4.0)]


def test_a_gate_closes_on_tokens_that_attention_alone_would_read() -> None:
    z = torch.tensor([[1.0, 0.0, -50.0], [5.0, 0.0, 50.0]])[None, ..., None]
    family, probe = family_of("gated_attention")
    mask = torch.ones(1, 2, dtype=torch.bool)
    assert family.pool(z, mask, probe, WIDTH).item() == pytest.approx(5.0)


def test_both_ends_of_a_text_count_in_bipolar_pooling() -> None:
    family, probe = family_of("gated_bipolar")
    values = torch.tensor([0.0, 0.0, 0.0, 6.0]), torch.tensor([0.0, 0.0, 0.0, -6.0])
    mask = torch.ones(1, 4, dtype=torch.bool)
    up, down = (
        family.pool(torch.stack([v, torch.zeros(4)], 1)[None, ..., None], mask, probe, WIDTH).item() for v in values
    )
    assert up == pytest.approx(-down) and up > 3.0
