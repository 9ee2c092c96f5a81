"""Reading for training: every family's scores and gradients, whichever way its rows are read."""

import importlib
from types import ModuleType
from typing import Any

import pytest
import torch
from pydantic import TypeAdapter
from torch import Tensor

from candor.config.probes import Probe
from candor.probes import reading
from candor.probes.features import Features
from candor.probes.pooling import projections_of, scores, scoring_of
from candor.probes.reading import Largest, Pooled, Reader, Scored, Single, reader, rows_of

WIDTH = 12
BY_ONE_ROW = ["mean", "mean_then_linear", "last", "max", "rolling_mean_max", "multimax"]
BY_POOLING = ["softmax", "attention", "rolling_attention", "gated_attention", "gated_bipolar"]


def family_of(name: str) -> tuple[ModuleType, Any]:
    options = {"rolling_mean_max": {"window": 4}, "rolling_attention": {"window": 4}, "multimax": {"heads": 3}}
    probe: Any = TypeAdapter(Probe).validate_python({"family": name, **options.get(name, {})})
    return importlib.import_module(f"candor.probes.families.{name}"), probe


def ragged(offset: float = 0.0) -> Features:
    generator = torch.Generator().manual_seed(0)
    lengths = torch.randint(1, 30, (40,), generator=generator)
    return Features(torch.randn(int(lengths.sum()), WIDTH, generator=generator) + offset, lengths)


def weight_of(name: str, problems: int = 3) -> Tensor:
    family, probe = family_of(name)
    return torch.randn(projections_of(family, probe), problems, WIDTH, generator=torch.Generator().manual_seed(1))


def reader_of(name: str, features: Features, order: Tensor) -> Reader:
    family, probe = family_of(name)
    rows = rows_of(features, family, probe)
    return reader(rows, order, features.x.mean(0), family, probe, scoring_of(family, probe))


def expected(name: str, features: Features, weight: Tensor, order: Tensor, of_scores: Tensor) -> tuple[Tensor, Tensor]:
    """Scores of the examples `order`, and the weight's gradient, by autograd through every row."""
    weight = weight.clone().requires_grad_()
    found = scores(features, weight.transpose(1, 2), torch.zeros(weight.shape[1]), *family_of(name))[order]
    [gradient] = torch.autograd.grad(found, weight, of_scores)
    return found.detach(), gradient


def cosines(found: Tensor, gradient: Tensor) -> Tensor:
    """Of each projection's gradient, [projections]."""
    return torch.nn.functional.cosine_similarity(found.flatten(1), gradient.flatten(1), dim=1)


def read(name: str, features: Features, order: Tensor, weight: Tensor, start: int, stop: int) -> Scored:
    return reader_of(name, features, order).read(start, stop, weight)


@pytest.fixture()
def in_bfloat16(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "CACHED_BYTES", 0)
    monkeypatch.setattr(reading, "auto_dtype", lambda device: "bfloat16")


@pytest.mark.parametrize("name", [*BY_ONE_ROW, *BY_POOLING])
@pytest.mark.parametrize("stop", [5, 37])
def test_scores_and_gradients_are_those_of_all_rows(name: str, stop: int) -> None:
    features, weight = ragged(), weight_of(name)
    order = torch.randperm(40, generator=torch.Generator().manual_seed(2))
    of_scores = torch.randn(stop - 2, 3, generator=torch.Generator().manual_seed(3))
    found = read(name, features, order, weight, 2, stop)
    of_all, gradient = expected(name, features, weight, order[2:stop], of_scores)
    torch.testing.assert_close(found.scores, of_all, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(found.back(of_scores), gradient, rtol=1e-4, atol=1e-4)


def test_a_family_is_read_by_one_row_a_head_where_its_score_needs_no_more() -> None:
    features, order = ragged(), torch.arange(40)
    kinds = {name: type(reader_of(name, features, order)) for name in (*BY_ONE_ROW, *BY_POOLING)}
    assert [kinds[name] for name in BY_ONE_ROW] == [Single, Single, Single, Largest, Largest, Largest]
    assert {kinds[name] for name in BY_POOLING} == {Pooled}


@pytest.mark.usefixtures("in_bfloat16")
@pytest.mark.parametrize("name", BY_POOLING)
def test_in_bfloat16_an_offset_of_the_features_costs_no_precision(name: str) -> None:
    features, weight, order = ragged(100.0), weight_of(name), torch.arange(40)
    of_scores = torch.randn(40, 3, generator=torch.Generator().manual_seed(3))
    found = read(name, features, order, weight, 0, 40)
    of_all, gradient = expected(name, features, weight, order, of_scores)
    assert (found.scores - of_all).abs().max() < 0.1 * of_all.std()
    assert cosines(found.back(of_scores), gradient).min() > 0.999
    # without the offset's part, which is the same for all rows and most of the gradient of what carries the score
    balanced = of_scores - of_scores.mean(0)
    _, gradient = expected(name, features, weight, order, balanced)
    assert cosines(read(name, features, order, weight, 0, 40).back(balanced), gradient).min() > 0.999


@pytest.mark.usefixtures("in_bfloat16")
@pytest.mark.parametrize("name", BY_ONE_ROW)
def test_families_of_one_row_are_scored_by_it_as_it_was_given(name: str) -> None:
    features, weight, order = ragged(100.0), weight_of(name), torch.arange(40)
    of_scores = torch.randn(40, 3, generator=torch.Generator().manual_seed(3))
    of_scores -= of_scores.mean(0)  # so that the rows' offset is not most of the gradient
    found = read(name, features, order, weight, 0, 40)
    of_all, gradient = expected(name, features, weight, order, of_scores)
    torch.testing.assert_close(found.scores, of_all, rtol=1e-5, atol=1e-3)
    # of rows that are nearly equal another one may win
    assert cosines(found.back(of_scores), gradient).min() > 0.99


@pytest.mark.usefixtures("in_bfloat16")
def test_of_rows_that_are_equal_in_bfloat16_the_score_and_its_gradient_are_one_row_s() -> None:
    # each example's rows differ in the tenth bit: which is the largest cannot be told, what its score is can
    base = torch.randn(8, 1, WIDTH, generator=torch.Generator().manual_seed(0))
    rows = base * (1 + 2.0**-10 * torch.arange(4).view(1, 4, 1))
    features, weight = Features(rows.flatten(0, 1), torch.full((8,), 4)), weight_of("max")
    found = reader_of("max", features, torch.arange(8)).read(0, 8, weight)
    of_rows = rows @ weight[0].T
    chosen = (of_rows - found.scores[:, None]).abs().argmin(1)
    torch.testing.assert_close(found.scores, of_rows.gather(1, chosen[:, None]).squeeze(1), rtol=1e-6, atol=1e-6)
    at = rows[torch.arange(8)[:, None], chosen]
    torch.testing.assert_close(found.back(torch.ones(8, 3))[0], at.sum(0), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("window", [3, 40])
@pytest.mark.parametrize("scale", [1.0, 300.0])
def test_rolling_attention_finds_its_window_whatever_its_length_and_the_size_of_its_logits(
    window: int, scale: float
) -> None:
    family, probe = family_of("rolling_attention")
    probe = probe.model_copy(update={"window": window})
    features, weight = ragged(), weight_of("rolling_attention") * torch.tensor([1.0, scale])[:, None, None]
    order, of_scores = torch.arange(40), torch.randn(40, 3, generator=torch.Generator().manual_seed(3))
    found = reader(features, order, features.x.mean(0), family, probe, 1).read(0, 40, weight)
    given = weight.clone().requires_grad_()
    of_all = scores(features, given.transpose(1, 2), torch.zeros(3), family, probe)
    [gradient] = torch.autograd.grad(of_all, given, of_scores)
    torch.testing.assert_close(found.scores, of_all.detach(), rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(found.back(of_scores), gradient, rtol=1e-2, atol=2e-3 * float(gradient.abs().max()))


def test_rolling_attention_reads_a_block_of_one_text_that_is_shorter_than_its_window() -> None:
    family, probe = family_of("rolling_attention")
    features, weight = ragged(), weight_of("rolling_attention")
    probe, order = probe.model_copy(update={"window": 40}), torch.arange(40)
    found = reader(features, order, features.x.mean(0), family, probe, 1).read(7, 8, weight)
    of_all = scores(features, weight.transpose(1, 2), torch.zeros(3), family, probe)[7:8]
    torch.testing.assert_close(found.scores, of_all, rtol=1e-4, atol=1e-5)


@pytest.mark.usefixtures("in_bfloat16")
def test_a_probe_that_says_float32_is_read_in_it_whatever_the_machine_is_fast_at() -> None:
    family, probe = family_of("softmax")
    features, weight = ragged(100.0), weight_of("softmax")
    found = reader(
        features,
        torch.arange(40),
        features.x.mean(0),
        family,
        probe.model_copy(update={"dtype": "float32"}),
        scoring_of(family, probe),
    ).read(0, 40, weight)
    of_all, _ = expected("softmax", features, weight, torch.arange(40), torch.ones(40, 3))
    torch.testing.assert_close(found.scores, of_all, rtol=1e-4, atol=1e-3)
