"""Scores of a saved probe on a part of a dataset, at every layer and seed it holds."""

import importlib
from collections.abc import Mapping, Sequence
from types import ModuleType
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from pydantic import TypeAdapter
from torch import Tensor

from candor.config.probes import Probe
from candor.probes.features import Features, Part, read_features
from candor.probes.files import SavedProbe
from candor.probes.pooling import scores_in_blocks
from candor.probes.training import margin
from candor.scores import score_table

UNCALIBRATED = ("difference_of_means",)
"""Families whose score is a margin and no log-odds, so that it gives no probability."""


def score_part(part: Part, probe: SavedProbe, monitor: str, subject: Mapping[str, Any]) -> pa.Table:
    """The score table of one probe on one part: every layer and seed; examples without a score are kept and marked.

    `subject` has the facts of fetch_model, for the cost of the pass that reads the activations: `block_parameters`, and
    `head_parameters` for a family that reads the model's output.
    """
    source = part.activations.header
    probe.refuse_other(
        subject=source.subject,
        revision=source.revision,
        hook=source.hook,
        width=source.width,
        path=part.activations.paths[0],
    )
    config = TypeAdapter(Probe).validate_python(probe.header.probe)
    family = importlib.import_module(f"candor.probes.families.{config.family}")
    part = part.of_roles(config.roles)
    part.expect_layers(probe.header.layers, family.FEATURES)
    read, passed = (np.array(counts, dtype=np.float64) for counts in (part.n_read(), part.n_passed()))
    tables = []
    for layer in probe.header.layers:
        own = 2.0 * probe.multiply_adds() * read
        weights_passed = subject["block_parameters"] * (layer + 1) / source.blocks
        if family.FEATURES == "log_loss":
            weights_passed += subject["head_parameters"]
        subjects = 2.0 * weights_passed * passed
        seeds = probe.header.seeds
        weights, biases = zip(*(probe.at(layer, seed) for seed in seeds), strict=True)
        for seed, (scores, probabilities) in part_scores(part, seeds, weights, biases, layer, config, family).items():
            tables.append(
                score_table(
                    part.rows,
                    part.name,
                    probe.header.classes,
                    monitor,
                    scores,
                    probabilities,
                    layer,
                    seed,
                    statuses=part.statuses,
                    n_tokens=part.n_tokens,
                    flops_monitor=own,
                    flops_total=own + subjects,
                )
            )
    return pa.concat_tables(tables)


def part_scores(
    part: Part,
    seeds: Sequence[int],
    weights: Sequence[Tensor],
    biases: Sequence[Tensor],
    layer: int,
    probe: Any,
    family: ModuleType,
) -> dict[int, tuple[np.ndarray, np.ndarray | None]]:
    """Seed -> scores and probabilities [n, c] at one layer; nan where an example carries none.

    weights [projections, width, c] and biases [c], one of each per seed.
    """
    logits = part_logits(part, weights, biases, layer, probe, family)
    return {seed: class_scores(logits[i], probe.family) for i, seed in enumerate(seeds)}


def part_logits(
    part: Part, weights: Sequence[Tensor], biases: Sequence[Tensor], layer: int, probe: Any, family: ModuleType
) -> np.ndarray:
    """Logits [seeds, n, c] at one layer, as the weights and biases give them; nan where an example carries none."""
    whole = part.scored()
    logits = np.full((len(biases), len(part.rows), len(biases[0])), np.nan)
    if whole:
        features = read_features(part, layer, family.FEATURES, whole)
        logits[:, whole] = logits_by_seed(features, weights, biases, probe, family)
    return logits


def logits_by_seed(
    features: Features, weights: Sequence[Tensor], biases: Sequence[Tensor], probe: Any, family: ModuleType
) -> np.ndarray:
    """Logits float64 [seeds, n, c] of features; weights [projections, width, c] and biases [c], one of each per seed.

    Where each row is an example of its own, they are those of single tokens.
    """
    weight, bias = torch.stack(list(weights), 2), torch.stack(list(biases))
    flat = scores_in_blocks(features, weight.flatten(2), bias.flatten(), family, probe)
    found: np.ndarray = flat.view(-1, *bias.shape).transpose(0, 1).double().numpy()
    return found


def class_scores(logits: np.ndarray, family: str) -> tuple[np.ndarray, np.ndarray | None]:
    """Log-odds and probabilities [n, c] from logits [n, c]: one against the rest where there are several classes."""
    scores = logits if logits.shape[1] == 1 else margin(torch.from_numpy(logits)).numpy()
    return scores, None if family in UNCALIBRATED else 1 / (1 + np.exp(-np.clip(scores, -700, 700)))
