"""What a result of the config's `publishing` is made of: its files, and the tables that its card prints."""

from pathlib import Path
from typing import NamedTuple

from candor.config.study import Study
from candor.errors import CandorError

RESULTS = Path("results")


class PublishingError(CandorError):
    """Something cannot be published; the message says what, why and what to do."""


class Chosen(NamedTuple):
    """A result: its `name` in the config, its files, and those that its numbers come from, which stay here."""

    name: str
    files: tuple[Path, ...]
    measured: tuple[Path, ...] = ()

    @property
    def stage(self) -> str:
        """data, adapters or probes."""
        return self.name.split("/")[0]

    @property
    def needed(self) -> tuple[Path, ...]:
        """All that must be there and be what the config would make now."""
        return self.files + self.measured


def chosen(name: str, study: Study) -> Chosen:
    """The files of a result by its name in the config."""
    stage, first = name.split("/")[:2]
    if stage == "data":
        return Chosen(name, (RESULTS / f"{name}.parquet",))
    if stage == "adapters":
        compared = [id for id, comparison in study.comparisons.items() if comparison.subject == first]
        folder = RESULTS / name
        return Chosen(
            name,
            (folder / "adapter_model.safetensors", folder / "adapter_config.json"),
            (folder / "history.parquet", *(RESULTS / "metrics" / f"{id}.parquet" for id in compared)),
        )
    return Chosen(
        name,
        (RESULTS / f"{name}.safetensors",),
        (RESULTS / "selections" / f"{first}.json", RESULTS / "metrics" / f"{first}.parquet"),
    )


def place(path: Path) -> str:
    """Where a file of results/ goes in the repository; PublishingError for one that lies elsewhere."""
    if not path.resolve().is_relative_to(RESULTS.resolve()):
        raise PublishingError(f"{path}: lies outside {RESULTS}/ ({path.resolve()}); only results are published.")
    return path.relative_to(RESULTS).as_posix()
