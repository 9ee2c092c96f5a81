"""What must hold of the planted study: each check passes on the real code, and fails where the code is broken."""

import importlib
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from pydantic import TypeAdapter

from candor.config.probes import Probe
from candor.probes.features import Features, read_features, read_part
from candor.probes.pooling import scores_in_blocks
from tests.planted import subject
from tests.planted.chain import LAYERS, Chain, activations_of, data_of
from tests.planted.subject import PLANTED, SPECIAL, Array, Law

NEAR_CHANCE = 0.12
"""Three standard deviations of the cross-validated AUROC of 400 examples that are told apart by nothing.

.04 by simulation: .029 for the examples, and the rest since what one fold's training set shows by chance others share.
"""
WINDOW = 4
TEMPERATURE = 5.0


def words(text: str) -> list[int]:
    """A text as indices into `subject.values`."""
    index = {word: i - len(SPECIAL) for i, word in enumerate(subject.vocabulary())}
    return [index[word] for word in text.split()]


def check_stored(chain: Chain, dataset: str) -> None:
    """Each token of each text, and nothing else, is stored with the residual stream that was planted at its layer."""
    stored = chain.activations(dataset)
    texts = [words(row["messages"][0]["content"]) for row in chain.rows(dataset)]
    assert stored.lengths().tolist() == [len(tokens) for tokens in texts]
    assert stored.n_tokens == [len(tokens) for tokens in texts]
    for layer in LAYERS:
        table = subject.residual(layer)
        expected = table[[token for tokens in texts for token in tokens]]
        np.testing.assert_allclose(stored.layer(layer).numpy(), expected, atol=1e-3)
        means = np.stack([table[tokens].mean(0) for tokens in texts])
        np.testing.assert_allclose(stored.means(layer).numpy(), means, atol=1e-3)


def check_selected(chain: Chain, task: str) -> None:
    """Every probe is taken from the first layer that knows anything, and none finds anything before it."""
    selection = chain.selection(task)
    assert selection["layer"] == PLANTED
    for monitor, chosen in selection["probes"].items():
        assert chosen["layer"] == PLANTED, monitor
        before = [entry["auroc"] for entry in chosen["layers"] if entry["layer"] < PLANTED]
        assert max(abs(auroc - 0.5) for auroc in before) < NEAR_CHANCE, monitor


def check_recovered(chain: Chain, task: str, part: str, law: Law, monitors: Sequence[str]) -> None:
    """The interval of each monitor's AUROC holds the AUROC that no score exceeds."""
    best, found = subject.bayes_auroc(law), chain.auroc(task, part)
    for monitor in monitors:
        assert found[monitor]["low"] <= best <= found[monitor]["high"], (monitor, best, found[monitor])


def check_pooled(chain: Chain, dataset: str, pool: str) -> None:
    """A probe that reads w[CONCEPT], shifted below zero, gives each text what the pooling is on paper.

    Below zero, so that a row of zeros, which padding is, would be the largest.
    """
    options: dict[str, dict[str, Any]] = {
        "rolling_mean_max": {"window": WINDOW},
        "softmax": {"temperature": TEMPERATURE},
    }
    probe = TypeAdapter(Probe).validate_python({"family": pool, **options.get(pool, {})})
    family = importlib.import_module(f"candor.probes.families.{pool}")
    part = read_part(f"{dataset}@test", chain.folder / data_of(dataset), [chain.folder / activations_of(dataset)])
    features: Features = read_features(part, PLANTED, "tokens", range(len(part.rows)))
    score, query = np.zeros((2, subject.WIDTH))
    score[subject.SHOWN.start + subject.CONCEPT], score[subject.REST] = 1, -0.25
    query[subject.SHOWN.start + subject.CONFOUND] = 1
    weight = torch.from_numpy(np.stack([score, query * subject.WIDTH**0.5])[: family.PROJECTIONS, :, None]).float()
    found = scores_in_blocks(features, weight, torch.zeros(1), family, probe)[:, 0].numpy()
    texts = [subject.residual(PLANTED)[words(row["messages"][0]["content"])] for row in part.rows]
    expected = [pooled(pool, text @ score, text @ query) for text in texts]
    np.testing.assert_allclose(found, expected, atol=1e-3)


def pooled(pool: str, z: Array, query: Array) -> float:
    """A pooling of the scores of one text's words, written down once more."""
    if pool == "mean":
        return float(z.mean())
    if pool == "last":
        return float(z[-1])
    if pool == "max":
        return float(z.max())
    if pool == "rolling_mean_max":
        return max(float(z[start : start + WINDOW].mean()) for start in range(len(z) - WINDOW + 1))
    weight = np.exp(query if pool == "attention" else z / TEMPERATURE)
    return float(weight @ z / weight.sum())
