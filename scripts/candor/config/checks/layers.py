"""Layers that a model does not have."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from candor.config.study import Study


def impossible_layers(study: "Study") -> Iterator[str]:
    """Layers of captures and adapters that their models do not have."""
    for id, capture in study.captures.items():
        blocks = study.models[study.base(capture.subject)].blocks
        for key, layers in (("layers", capture.stored_layers(blocks)), ("mean_layers", capture.means(blocks))):
            for layer in layers:
                if layer >= blocks:
                    yield (
                        f"captures.{id}.{key} names block {layer}, but {capture.subject} has {blocks} blocks, "
                        f"0 to {blocks - 1}."
                    )
    for id, adapter in study.adapters.items():
        blocks = study.models[adapter.subject].blocks
        for layer in adapter.lora.layers or []:
            if layer >= blocks:
                yield (
                    f"adapters.{id}.lora.layers names block {layer}, but {adapter.subject} has {blocks} blocks, "
                    f"0 to {blocks - 1}."
                )
