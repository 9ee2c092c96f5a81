"""Layers that a model does not have."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from candor.config.baselines import Finetuned

if TYPE_CHECKING:
    from candor.config.study import Study


def impossible_layers(study: "Study") -> Iterator[str]:
    """Layers of captures, adapters and finetuned baselines that their models do not have."""
    for key, subject, layers in _named(study):
        blocks = study.models[study.base(subject)].blocks
        for layer in layers:
            if layer >= blocks:
                yield f"{key} names block {layer}, but {subject} has {blocks} blocks, 0 to {blocks - 1}."


def _named(study: "Study") -> Iterator[tuple[str, str, Sequence[int]]]:
    """Key, subject and layers of every entry that names layers of a subject."""
    for id, capture in study.captures.items():
        blocks = study.models[study.base(capture.subject)].blocks
        yield f"captures.{id}.layers", capture.subject, capture.stored_layers(blocks)
        yield f"captures.{id}.mean_layers", capture.subject, capture.means(blocks)
    for id, adapter in study.adapters.items():
        yield f"adapters.{id}.lora.layers", adapter.subject, adapter.lora.layers or []
    for id, baseline in study.baselines.items():
        if isinstance(baseline, Finetuned) and baseline.lora is not None:
            yield f"baselines.{id}.lora.layers", baseline.subject, baseline.lora.layers or []
