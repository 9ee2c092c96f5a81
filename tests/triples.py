"""Triples of one task in three framings, with planted activations at a few positions, for tests of study C."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from candor.config.tasks import Measurement
from candor.probes.features import Part
from candor.probes.files import SavedProbe
from candor.probes.training_job import train_probe
from tests.small_parts import row, write_part

STATES = ["normal", "eval_aware", "deceptive"]
FAMILIES = ["tutoring", "cooking", "travel"]
WIDTH, K = 8, 3


def triples(n: int, split: str = "train", prefix: str = "") -> list[dict[str, Any]]:
    """Rows of n triples; families are dealt in turn. All three texts of a triple are about the same length."""
    rows = []
    for triple in range(n):
        for label in STATES:
            found = row(f"{prefix}{triple}-{label}", f"{prefix}{triple}", label, split, family=FAMILIES[triple % 3])
            found["messages"] = [{"role": "user", "content": f"task number {triple} of {FAMILIES[triple % 3]}"}]
            rows.append(found)
    return rows


def states(
    rows: Sequence[Mapping[str, Any]],
    strength: float | Callable[[Mapping[str, Any]], float] = 4.0,
    seed: int = 0,
    k: int = K,
    feature: Callable[[Mapping[str, Any]], int] = lambda row: STATES.index(row["label"]),
) -> list[Tensor]:
    """Noise [k, WIDTH] for each row, in which its class stands out by `strength` in a feature of its own."""
    generator = torch.Generator().manual_seed(seed)
    found = []
    for each in rows:
        x = torch.randn(k, WIDTH, generator=generator)
        x[:, feature(each)] += strength if isinstance(strength, float) else strength(each)
        found.append(x)
    return found


def triple_part(
    folder: Path, name: str, rows: Sequence[dict[str, Any]], layers: Mapping[int, Sequence[Tensor]], **header: Any
) -> Part:
    """A part with `store: positions`."""
    folder.mkdir(parents=True, exist_ok=True)
    return write_part(folder, name, rows, layers, **{"store": "positions", **header})


def task_of(**others: Any) -> Measurement:
    """A task of three classes on the triples."""
    facts = {
        "classes": STATES,
        "train": "triples@train",
        "control": "calm@test",
        "capture": "tiny",
        "seeds": [0],
        "folds": 3,
        "probes": ["probe"],
        "bootstrap": 100,
        "evaluation": ["triples@test"],
        **others,
    }
    return Measurement.model_validate(facts)


def trained_on(folder: Path, train: Part, probe: Any, task: Measurement | None = None) -> SavedProbe:
    """A probe of the triples, with its thresholds from a control part of normal prompts."""
    benign = [row(f"c{i}", f"c{i}", STATES[0], "test") for i in range(20)]
    header = train.activations.header
    layers = {layer: states(benign, k=len(train.read_rows([0])[0])) for layer in header.layers}
    control = triple_part(folder / "control", "calm@test", benign, layers)
    return train_probe(train, control, task or task_of(), "inner-state", "probe", probe, descriptor=-1).probe
