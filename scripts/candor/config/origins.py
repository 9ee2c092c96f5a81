"""What a path of results is about, as in the `origin` of a dataset and the `texts` of a panel."""

from typing import NamedTuple

NAMED = {
    "generations": ("samplings", "responding", "datasets"),
    "labels": ("judges", "datasets"),
    "verbalisations": ("verbalisers", "captures", "datasets"),
}
"""The registries that the names of a path stand in, by its first word; of another word its own."""


class Verbalised(NamedTuple):
    """What was put into words, and by what: three ids."""

    verbaliser: str
    capture: str
    dataset: str


def named(path: str) -> list[tuple[str, str]]:
    """Registry and id of all that a path names, in its order; `responding` stands for all that can answer prompts."""
    judge, verbalised = grader_of(path), verbalised_in(path)
    if judge is not None and verbalised is not None:
        return [("judges", judge), *zip(NAMED["verbalisations"], verbalised, strict=True)]
    registry, *names = path.split("/")
    return list(zip(NAMED.get(registry, (registry,)), names, strict=True))


def verbalised_in(path: str) -> Verbalised | None:
    """What verbalisations, or the labels of them, are of; None for a path to anything else."""
    words = path.split("/")
    if words[0] == "verbalisations":
        return Verbalised(*words[1:])
    return None if grader_of(path) is None else Verbalised(*words[3:])


def grader_of(path: str) -> str | None:
    """The judge of a path to labels of verbalisations: labels/JUDGE/verbalisations/VERBALISER/CAPTURE/DATASET."""
    words = path.split("/")
    return words[1] if words[0] == "labels" and len(words) == 6 else None
