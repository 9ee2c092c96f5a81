"""Judges whose templates, clients or voters are of no use to them, and what each may say."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from candor.config.clients import takes_prefill
from candor.config.judges import Chat, Keywords, Majority
from candor.judges.templates import TemplateError, read_template

if TYPE_CHECKING:
    from candor.config.study import Study


def unfit_judges(study: "Study") -> Iterator[str]:
    """Judges that could not be asked, or count the votes of a judge that counts votes."""
    for id, judge in study.judges.items():
        for name in judge.judges if isinstance(judge, Majority) else []:
            if study.judges[name].kind == "majority":
                yield f"judges.{id}.judges names {name!r}, which counts votes itself; name those that it counts."
        if not isinstance(judge, Chat):
            continue
        try:
            read_template(Path(judge.template), judge)
        except TemplateError as error:
            yield f"judges.{id}.template: {error}"
        if judge.prefill and not takes_prefill(study.clients[judge.client]):
            yield (
                f"judges.{id} has a `prefill`, which its client {judge.client!r} does not take; leave it out, or "
                "say `prefill: true` there, if what serves it goes on with an assistant's turn."
            )


def verdicts_of(study: "Study", id: str) -> set[str]:
    """What a judge that is told its verdicts by the config may say; empty for those that have their own."""
    judge = study.judges[id]
    if isinstance(judge, Majority):
        return {verdict for name in judge.judges for verdict in verdicts_of(study, name)}
    if isinstance(judge, Keywords):
        return {*judge.words, *([judge.otherwise] if judge.otherwise else [])}
    if not isinstance(judge, Chat):
        return set()
    bands = judge.bands
    said = {bands.low.verdict, bands.high.verdict, bands.otherwise} if bands else set()
    return said | set(judge.reply.verdict.choices if judge.reply.verdict else [])
