"""Cross checks of verbalisers: what they are made of, and whether they can read what a capture stores."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from candor.config.verbalisers import READABLE, ActivationVerbaliser, ChatVerbaliser
from candor.judges.templates import TemplateError
from candor.verbalisers.templates import read_template

if TYPE_CHECKING:
    from candor.config.study import Study


def unfit_verbalisers(study: "Study") -> Iterator[str]:
    """Sentences about verbalisers whose parts do not fit each other, or that cannot read what the monitor shows."""
    for id, verbaliser in study.verbalisers.items():
        if isinstance(verbaliser, ChatVerbaliser):
            try:
                read_template(Path(verbaliser.template), verbaliser)
            except TemplateError as error:
                yield f"verbalisers.{id}.template: {error}"
        else:
            yield from _unfit_models(study, id, verbaliser)
    for id, watched in study.monitor.probes.items():
        if watched.verbaliser is not None:
            capture = study.tasks[watched.task].capture
            for end in unfit_capture(study, watched.verbaliser, capture):
                yield f"monitor.probes.{id}.verbaliser names {watched.verbaliser!r} on {capture!r}, but it {end}."


def unfit_capture(study: "Study", id: str, capture_id: str) -> Iterator[str]:
    """Why a verbaliser cannot put a capture into words, each as the end of a sentence that names the two."""
    verbaliser, capture = study.verbalisers[id], study.captures[capture_id]
    if isinstance(verbaliser, ChatVerbaliser):
        if verbaliser.response and capture.sampling is None:
            yield "is shown responses, and the capture reads texts as they stand; give it a `sampling`"
        return
    if capture.subject != verbaliser.subject:
        yield f"was made for {verbaliser.subject!r}, and the capture reads {capture.subject!r}; take one made for it"
        return
    if capture.hook != "residual":
        yield f"reads `hook: residual`, and the capture has hook: {capture.hook}; capture that"
    if capture.store not in READABLE:
        yield f"reads tokens, and the capture stores {capture.store}; capture with `store: positions`"
    if verbaliser.layer not in capture.stored_layers(study.models[study.base(capture.subject)].blocks):
        yield f"reads layer {verbaliser.layer}, which the capture does not store; add it to its `layers`"


def _unfit_models(study: "Study", id: str, verbaliser: ActivationVerbaliser) -> Iterator[str]:
    subject = study.models[study.base(verbaliser.subject)]
    if verbaliser.layer >= subject.blocks:
        yield (
            f"verbalisers.{id}.layer names block {verbaliser.layer}, but {verbaliser.subject} has {subject.blocks} "
            f"blocks, 0 to {subject.blocks - 1}."
        )
    for key, name in (("model", verbaliser.model), ("reconstructor", verbaliser.reconstructor)):
        if name is not None and study.models[name].width != subject.width:
            yield (
                f"verbalisers.{id}.{key} names {name!r} of width {study.models[name].width}, but {verbaliser.subject} "
                f"has width {subject.width}; take one that was made for it."
            )
    if verbaliser.reconstructor is not None:
        blocks = study.models[verbaliser.reconstructor].blocks
        if blocks != verbaliser.layer + 1:
            yield (
                f"verbalisers.{id}.reconstructor names {verbaliser.reconstructor!r} of {blocks} blocks, but one for "
                f"layer {verbaliser.layer} has {verbaliser.layer + 1}."
            )
