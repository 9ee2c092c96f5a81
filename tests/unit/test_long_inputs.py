"""Families that hold on long inputs: trained on short texts, they still find a short passage in a long one."""

import importlib
from typing import Any

import pytest
import torch
from pydantic import TypeAdapter
from sklearn.metrics import roc_auc_score
from torch import Tensor

from candor.config.probes import Probe
from candor.probes.features import Features
from candor.probes.fitting import fit_problems
from candor.probes.pooling import scores_in_blocks
from candor.probes.problems import make_problems

WIDTH = 16
N = 80
PASSAGE = 4
HOLDING = ["multimax", "rolling_attention", "gated_bipolar", "rolling_mean_max", "max"]
OPTIONS: dict[str, dict[str, Any]] = {"rolling_attention": {"window": PASSAGE}, "rolling_mean_max": {"window": PASSAGE}}


def texts(length: int, seed: int, offset: float = 0.0, scale: float = 1.0) -> tuple[Features, Tensor]:
    """Texts of noise; every other one has a passage of PASSAGE tokens that are moved along feature 0."""
    generator = torch.Generator().manual_seed(seed)
    y = torch.arange(N) % 2
    x = torch.randn(N, length, WIDTH, generator=generator)
    starts = torch.randint(length - PASSAGE + 1, (N,), generator=generator)
    for i in y.nonzero().squeeze(1).tolist():
        x[i, starts[i] : starts[i] + PASSAGE, 0] += 4.0
    return Features((x * scale + offset).flatten(0, 1), torch.full((N,), length)), y


def logits_after_training(name: str, train: Features, y: Tensor, test: Features) -> Tensor:
    probe: Any = TypeAdapter(Probe).validate_python(
        {"family": name, "epochs": 40, "learning_rate": 0.02, "batch_size": 16, **OPTIONS.get(name, {})}
    )
    family = importlib.import_module(f"candor.probes.families.{name}")
    groups = [str(i // 2) for i in range(N)]
    problems = make_problems(groups, y.tolist(), [int(g) % 2 for g in groups], [0], 0.2, "texts", 2)
    fitted = fit_problems(train, y, problems, family, probe, 0)
    return scores_in_blocks(test, fitted.weight[:, :, 0], fitted.bias[0], family, probe)[:, 0]


@pytest.mark.parametrize("name", [*HOLDING, "gated_attention"])
def test_a_passage_is_learned_in_short_texts_and_found_in_others_like_them(name: str) -> None:
    train, y = texts(12, seed=0)
    test, labels = texts(12, seed=1)
    assert roc_auc_score(labels, logits_after_training(name, train, y, test)) > 0.8


@pytest.mark.parametrize("name", HOLDING)
def test_it_is_still_found_in_long_texts_where_the_mean_loses_it(name: str) -> None:
    train, y = texts(12, seed=0)
    test, labels = texts(300, seed=1)
    found, averaged = (roc_auc_score(labels, logits_after_training(each, train, y, test)) for each in (name, "mean"))
    assert found > 0.75 and found > averaged + 0.1


def test_every_head_of_multimax_forgets_where_activations_lie() -> None:
    """The standardisation that training works with is folded into the bias for each head's maximum."""
    train, y = texts(12, seed=0)
    moved, _ = texts(12, seed=0, offset=30.0, scale=2.0)
    here, there = (logits_after_training("multimax", each, y, each) for each in (train, moved))
    torch.testing.assert_close(here, there, rtol=1e-2, atol=1e-2)
