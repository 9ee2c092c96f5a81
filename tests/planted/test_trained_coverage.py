"""Does the interval of a probe that was trained hold that probe's own true AUROC 95 % of the time?

Activations are normal with a covariance that both classes share, half of it common to the two examples of a pair. A
probe is trained on pairs of its own, so that its direction is another one in every simulation, and worse than the best;
the AUROC of examples from different pairs along a direction u is Phi(u·shift / sqrt(2 u·covariance·u)).
With 1000 simulations the share that is covered has a standard error of .007.
"""

import importlib

import numpy as np
import pytest
import torch
from pydantic import TypeAdapter
from scipy.stats import norm

from candor.config.probes import Probe
from candor.metrics import intervals, points
from candor.probes.features import Features
from candor.probes.pooling import scores_in_blocks

SIMULATIONS = 1000
DRAWS = 300
WIDTH = 12
TRAIN_PAIRS, PAIRS = 40, 80

Array = np.ndarray


def activations(n_pairs: int, shift: Array, root: Array, rng: np.random.Generator) -> tuple[Array, Array]:
    """Activations [2 n_pairs, WIDTH] of pairs, negative example first, and labels."""
    shared = np.repeat(rng.normal(size=(n_pairs, WIDTH)), 2, axis=0)
    noise = (shared + rng.normal(size=shared.shape)) / np.sqrt(2)
    label = np.tile([False, True], n_pairs)
    return noise @ root.T + label[:, None] * shift, label


@pytest.mark.slow
@pytest.mark.parametrize(
    "probe",
    [
        {"family": "difference_of_means"},
        {"family": "logistic", "c": 0.1, "intercept": True},
    ],
    ids=lambda probe: probe["family"],
)
def test_the_interval_of_a_trained_probe_covers_its_own_true_auroc(probe: dict[str, object]) -> None:
    rng = np.random.default_rng(0)
    config = TypeAdapter(Probe).validate_python(probe)
    family = importlib.import_module(f"candor.probes.families.{config.family}")
    root = np.eye(WIDTH) + 0.5 * rng.normal(size=(WIDTH, WIDTH)) / np.sqrt(WIDTH)
    shift = root @ np.full(WIDTH, 1.5 / np.sqrt(WIDTH))  # the best AUROC is Phi(1.5 / sqrt(2)) = .86
    groups = np.repeat(np.arange(PAIRS), 2)
    covered, truths = 0, []
    for _ in range(SIMULATIONS):
        x, y = activations(TRAIN_PAIRS, shift, root, rng)
        weight, bias = family.fit(torch.from_numpy(x), torch.from_numpy(y.astype(np.int64)), 2, config)
        direction = weight[:, 0].numpy()
        truth = norm.cdf(direction @ shift / np.sqrt(2 * direction @ root @ root.T @ direction))
        truths.append(truth)

        x, label = activations(PAIRS, shift, root, rng)
        features = Features(torch.from_numpy(x), torch.ones(len(x), dtype=torch.int64))
        score = scores_in_blocks(features, weight[None], bias, family, config)[:, 0].numpy()
        weights = np.vstack([np.ones(len(groups)), intervals.group_weights(groups, label, DRAWS, rng)])
        value = points.auroc_weighted(score, label, weights)
        pairs = intervals.independent_pairs(groups, label)
        low, high = intervals.share_interval(intervals.estimate(value[:1], value[1:, None], PAIRS, pairs, rng))
        covered += low <= truth <= high
    assert max(truths) < norm.cdf(1.5 / np.sqrt(2))
    assert 0.93 <= covered / SIMULATIONS <= 0.97
