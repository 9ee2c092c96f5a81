"""What goes to each repository: the files of its results and its card, once all of it may go."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from candor.audit import Expected
from candor.config.publishing import Publication
from candor.config.study import Study
from candor.publishing.cards import card
from candor.publishing.checking import problems
from candor.publishing.chosen import Chosen, PublishingError, chosen, place
from candor.publishing.credentials import held, keys
from candor.publishing.origins import licence_of, origins
from candor.publishing.sending import Content, size

CARD = "README.md"


class Parcel(NamedTuple):
    """What goes to one repository: place there -> a file of results/, or the card's text."""

    publication: Publication
    licence: str
    files: Mapping[str, Content]

    def lines(self) -> Iterator[str]:
        """Where it goes, and each file with its size and its place there."""
        to = self.publication
        seen_by = "private" if to.private else "PUBLIC"
        yield f"{to.kind} {to.repository} ({seen_by}, licence {self.licence})"
        for name, content in self.files.items():
            whence = f"{content} -> " if isinstance(content, Path) else ""
            yield f"  {size(content):>15,} bytes  {whence}{name}"
        yield f"  {sum(map(size, self.files.values())):>15,} bytes in {len(self.files)} files"


def entries(ids: Sequence[str], study: Study) -> dict[str, list[Chosen]]:
    """The results of the named entries of `publishing`, or of all."""
    if not study.publishing:
        raise PublishingError("the config names no repository; add a section `publishing` (docs/publishing.md)")
    for id in ids:
        if id not in study.publishing:
            raise PublishingError(f"there is no publishing.{id}; there are: {', '.join(study.publishing)}")
    return {id: [chosen(name, study) for name in study.publishing[id].what] for id in ids or study.publishing}


def pack(
    ids: Sequence[str],
    study: Study,
    jobs: Sequence[Any],
    plan: Callable[[str], Sequence[Any]],
    expected: Callable[[list[Any]], Iterator[Expected]],
    configfiles: Sequence[Path] = (),
) -> list[Parcel]:
    """Everything that goes to the named repositories; PublishingError with a line for each thing that may not go.

    `jobs`, `plan`, `expected` and `configfiles` are those of `checking.problems`.
    """
    wanted, secrets = entries(ids, study), keys(study)
    every = [result for results in wanted.values() for result in results]
    wrong = problems(every, study, jobs, plan, expected, configfiles)
    parcels, reasons = [], []
    for id, results in wanted.items():
        publication = study.publishing[id]
        bad = [f"publishing.{id}: {wrong[result.name]}" for result in results if result.name in wrong]
        bad = bad or [
            f"publishing.{id}: {file} holds the value of {variable}; it may not leave this machine"
            for result in results
            for file in result.files
            for variable in held(file, secrets)
        ]
        if not bad:
            try:
                found = origins(file for result in results for file in result.files)
                licence = licence_of(id, publication, found)
                files: dict[str, Content] = {place(file): file for result in results for file in result.files}
                text = card(publication, results, study, licence, found)
                parcels.append(Parcel(publication, licence, {CARD: text.encode(), **files}))
            except PublishingError as error:
                bad = [str(error)]
        reasons += bad
    if reasons:
        raise PublishingError("\n".join(reasons))
    return parcels
