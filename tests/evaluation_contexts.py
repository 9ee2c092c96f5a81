"""A task with planted activations, its trained probe, and what an experiment on evaluation sets is given of them."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from pydantic import TypeAdapter

from candor.config.experiments import Experiment
from candor.config.probes import Probe
from candor.config.tasks import Measurement
from candor.experiments.evaluation_context import EvaluationContext
from candor.probes.features import Part
from candor.probes.files import Header, SavedProbe
from tests.small_parts import CLASSES

LAYER, SEEDS = 2, [0, 1]


class Quiet:
    """A progress that nobody reads."""

    def update(self, done: int, note: str = "") -> None:
        pass


def task_of(evaluation: list[str], **others: Any) -> Measurement:
    """A task of two classes with two seeds, whose first set is drawn like the training set."""
    facts = {
        "classes": CLASSES,
        "train": "pairs@train",
        "control": "calm@test",
        "capture": "tiny",
        "seeds": SEEDS,
        "probes": ["probe"],
        "bootstrap": 100,
        "evaluation": evaluation,
        **others,
    }
    return Measurement.model_validate(facts)


def saved_probe(
    part: Part, config: Mapping[str, Any], weight: torch.Tensor, bias: float = 0.0, layers: tuple[int, ...] = (LAYER,)
) -> SavedProbe:
    """A probe file with weight [projections, width] of every seed, each a little larger than the one before."""
    header = part.activations.header
    weights = torch.stack([weight[..., None] * (1 + seed) for seed in SEEDS])
    return SavedProbe(
        torch.stack([weights] * len(layers)),
        torch.full((len(layers), len(SEEDS), 1), bias),
        Header(
            family=config["family"],
            probe=dict(config),
            task="stakes",
            classes=CLASSES,
            layers=list(layers),
            seeds=SEEDS,
            subject=header.subject,
            revision=header.revision,
            hook=header.hook,
            width=header.width,
            standardisation="",
            train="pairs@train",
            train_sha256="",
            n_train=0,
            control="calm@test",
            target_fpr=0.01,
            thresholds={},
            metrics={},
            best_epochs={},
        ),
    )


def context_of(
    experiment: Mapping[str, Any],
    train: Part,
    evaluation: Mapping[str, Part],
    config: Mapping[str, Any],
    weight: torch.Tensor,
    bias: float = 0.0,
    **others: Any,
) -> EvaluationContext:
    """A context with one probe, `probe`, which was selected."""
    facts: dict[str, Any] = {
        "id": "experiment",
        "experiment": TypeAdapter(Experiment).validate_python(experiment),
        "task": task_of(list(evaluation)),
        "probes": {"probe": TypeAdapter(Probe).validate_python(config)},
        "saved": {"probe": saved_probe(train, config, weight, bias)},
        "selection": {"monitor": "probe", "layer": LAYER, "probes": {"probe": {"layer": LAYER}}},
        "train": train,
        "evaluation": evaluation,
        "development": {},
        "progress": lambda name, total, unit: Quiet(),
        **others,
    }
    return EvaluationContext(**facts)


def folder(root: Path, name: str) -> Path:
    """A folder of its own for a part, since two parts of a dataset have the same file names."""
    path = root / name
    path.mkdir(exist_ok=True)
    return path
