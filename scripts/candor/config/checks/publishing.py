"""Cross checks of what is published: results that the config knows, and a repository for each entry."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from candor.config.study import Study


def unfit_publications(study: "Study") -> Iterator[str]:
    """Sentences about entries that name no result of the study, or another entry's repository."""
    owners: dict[tuple[str, str], str] = {}
    for id, publication in study.publishing.items():
        first = owners.setdefault((publication.kind, publication.repository.lower()), id)
        if first != id:
            yield (
                f"publishing.{id}.repository is that of publishing.{first}; a repository has one card, so name all its "
                "results in one entry."
            )
        for result in publication.what:
            stage, name, *probe = result.split("/")
            registry, known = {
                "data": ("dataset", set(study.datasets)),
                "adapters": ("adapter", set(study.adapters)),
                "probes": ("task", set(study.tasks)),
            }[stage]
            if name not in known:
                yield f"publishing.{id}.what names {result!r}, but there is no {registry} {name!r}."
            elif probe and probe[0] not in (trained := study.tasks[name].trained):
                yield (
                    f"publishing.{id}.what names {result!r}, but {probe[0]!r} is no probe of task {name!r}: "
                    f"{', '.join(trained)}."
                )
