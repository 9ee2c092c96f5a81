"""Cross checks of graders: judges that read verbalisations, in a panel or for the labels of a dataset."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from candor.config.checks.verbalisers import unfit_capture
from candor.config.judges import Chat, Majority, unfit_grader
from candor.config.origins import Verbalised, grader_of, verbalised_in
from candor.config.verbalisers import ActivationVerbaliser
from candor.judges.templates import TemplateError, read_template

if TYPE_CHECKING:
    from candor.config.study import Study


def unfit_graders(study: "Study") -> Iterator[str]:
    """Sentences about graders that cannot read what they are given, and verbalisers that cannot make it."""
    checked: set[Verbalised] = set()
    for key, judges, verbalised in _gradings(study):
        for judge in judges:
            for end in unfit_grader(study.judges[judge]):
                yield f"{key} names the judge {judge!r}, which {end}."
            for end in _unfit_parts(study, judge):
                yield f"{key} names the judge {judge!r}, {end}."
        if verbalised not in checked:
            checked.add(verbalised)
            for end in unfit_capture(study, verbalised.verbaliser, verbalised.capture):
                yield f"{key} names the verbaliser {verbalised.verbaliser!r} on {verbalised.capture!r}, but it {end}."


def asked_for(study: "Study", verbalised: Verbalised) -> list[str]:
    """The subjects that run for verbalisations: the one that is captured, and one that a local client asks.

    Nothing of the capture is read where a chat verbaliser sees the prompt alone.
    """
    verbaliser, subject = study.verbalisers[verbalised.verbaliser], study.captures[verbalised.capture].subject
    if isinstance(verbaliser, ActivationVerbaliser):
        return [subject]
    own = [subject] if verbaliser.response else []
    asked = getattr(study.clients[verbaliser.client], "subject", None)
    return own if asked is None else [*own, asked]


def _gradings(study: "Study") -> Iterator[tuple[str, list[str], Verbalised]]:
    """Key, judges and verbalisations of each entry that has judges read verbalisations."""
    for id, dataset in study.datasets.items():
        judge, verbalised = grader_of(dataset.origin), verbalised_in(dataset.origin)
        if judge is not None and verbalised is not None:
            yield f"datasets.{id}.origin", [judge], verbalised
    for id, panel in study.panels.items():
        verbalised = verbalised_in(panel.texts)
        if verbalised is not None:
            yield f"panels.{id}.judges", panel.judges, verbalised


def _unfit_parts(study: "Study", id: str) -> Iterator[str]:
    """What the parts of a judge read that no verbalisation has: its template, or the judges whose votes it counts."""
    judge = study.judges[id]
    if isinstance(judge, Majority):
        for voter in judge.judges:
            for end in [*(f"which {end}" for end in unfit_grader(study.judges[voter])), *_unfit_parts(study, voter)]:
                yield f"which counts the votes of {voter!r}, {end}"
    if isinstance(judge, Chat):
        try:
            parts = read_template(Path(judge.template), judge).parts()
        except TemplateError:
            return  # told of the judge itself
        for part in parts:
            if part != "answer":
                yield (
                    f"whose template shows {{{part}}}, but a grader sees the verbalisation alone, lest it grade the "
                    "prompt; take a template with {answer} and no other part"
                )
