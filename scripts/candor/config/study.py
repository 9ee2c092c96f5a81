"""The whole config: every section, and the checks across sections."""

import importlib
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pydantic import Field, ValidationError

from candor.config.base import Id, Section
from candor.config.baselines import Baseline
from candor.config.captures import Capture
from candor.config.datasets import Dataset
from candor.config.experiments import Experiment
from candor.config.figures import Figure
from candor.config.models import Model
from candor.config.probes import Probe
from candor.config.selection import Run
from candor.config.sources import Source
from candor.config.tasks import Task, dataset_of, split_of
from candor.errors import CandorError
from candor.hardware import auto_batch_tokens, auto_device, auto_dtype

MEAN_FAMILIES = ("mean", "mean_then_linear", "difference_of_means", "logistic")
"""Families whose score depends on the mean activation alone."""
MEMBER = re.compile(r"(literal|list|function-[a-z]+)\[")
"""What pydantic puts into a path for the member of a union that it tried."""
TRANSFORMS = Path(__file__).parent.parent / "data" / "transforms"


class ConfigError(CandorError):
    """The config is wrong; the message says where and how, a line per problem."""


class Study(Section):
    """A study: the registries, keyed by id, and the selection that runs."""

    models: dict[Id, Model] = Field(description="Networks under study.")
    sources: dict[Id, Source] = Field(description="Raw rows.")
    datasets: dict[Id, Dataset] = Field(description="Examples.")
    captures: dict[Id, Capture] = Field(description="What is read from a model.")
    probes: dict[Id, Probe] = Field(description="Families of probes and their training.")
    baselines: dict[Id, Baseline] = Field({}, description="Monitors that do not read activations.")
    tasks: dict[Id, Task] = Field(description="What monitors learn and where they are measured.")
    experiments: dict[Id, Experiment] = Field({}, description="Jobs that train many small monitors.")
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
        problems = problems or [*study._shared_ids(), *study._overlaps(), *study._unfit_captures()]
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
        for capture in config["captures"].values():
            if capture["batch_tokens"] == "auto":
                capture["batch_tokens"] = auto_batch_tokens(config["models"][capture["subject"]]["device"])
        return config

    def _unknown_references(self) -> Iterator[str]:
        for key, registry, id in self._references():
            known = getattr(self, registry)
            if id not in known:
                names = ", ".join(sorted(known)) or "none are given"
                yield f"{key} names {id!r}, which is not one of {registry}: {names}."

    def _references(self) -> Iterator[tuple[str, str, str]]:
        for id, dataset in self.datasets.items():
            registry, name = dataset.origin.split("/", 1)
            yield f"datasets.{id}.origin", registry, name
        for id, capture in self.captures.items():
            yield f"captures.{id}.subject", "models", capture.subject
        for id, task in self.tasks.items():
            yield f"tasks.{id}.capture", "captures", task.capture
            for key in ("train", "control"):
                yield f"tasks.{id}.{key}", "datasets", dataset_of(getattr(task, key))
            for part in [*task.evaluation, *task.in_distribution]:
                yield f"tasks.{id}.evaluation", "datasets", dataset_of(part)
            for probe in task.probes:
                yield f"tasks.{id}.probes", "probes", probe
            for baseline in task.baselines:
                yield f"tasks.{id}.baselines", "baselines", baseline
        for id, experiment in self.experiments.items():
            for key, registry in (("task", "tasks"), ("probe", "probes")):
                yield f"experiments.{id}.{key}", registry, getattr(experiment, key)
        for id, figure in self.figures.items():
            for key, registry in (("task", "tasks"), ("experiment", "experiments")):
                if getattr(figure, key) is not None:
                    yield f"figures.{id}.{key}", registry, getattr(figure, key)
        for key in ("figures", "quick"):
            for figure_id in getattr(self.run, key):
                yield f"run.{key}", "figures", figure_id
        for dataset_id in self.run.shards:
            yield "run.shards", "datasets", dataset_id

    def _impossible_layers(self) -> Iterator[str]:
        for id, capture in self.captures.items():
            blocks = self.models[capture.subject].blocks
            for key, layers in (("layers", capture.stored_layers(blocks)), ("mean_layers", capture.means(blocks))):
                for layer in layers:
                    if layer >= blocks:
                        yield (
                            f"captures.{id}.{key} names block {layer}, but {capture.subject} has {blocks} blocks, "
                            f"0 to {blocks - 1}."
                        )

    def _broken_derivations(self) -> Iterator[str]:
        for id in self.datasets:
            chain = [id]
            while (registry_name := self.datasets[chain[-1]].origin.split("/", 1))[0] == "datasets":
                if registry_name[1] in chain:
                    yield f"datasets.{id}.origin closes a cycle: {' -> '.join([*chain, registry_name[1]])}."
                    return
                chain.append(registry_name[1])

    def _bad_transforms(self) -> Iterator[str]:
        for id, dataset in self.datasets.items():
            if not (TRANSFORMS / f"{dataset.transform}.py").exists():
                known = ", ".join(sorted(path.stem for path in TRANSFORMS.glob("[a-z]*.py")))
                yield f"datasets.{id}.transform names {dataset.transform!r}, which is not one of: {known}."
                continue
            module = importlib.import_module(f"candor.data.transforms.{dataset.transform}")
            try:
                module.Options.model_validate(dataset.options)
            except ValidationError as error:
                for problem in filter(_meant, error.errors()):
                    loc = ("datasets", id, "options", *problem["loc"])
                    yield _sentence({**problem, "loc": loc}).removeprefix("config: ")

    def _shared_ids(self) -> Iterator[str]:
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

    def _share_groups(self, part: str, other: str) -> bool:
        """Whether two parts can hold the same group, as far as the config tells; the gates see the rest."""
        dealers = self._dealers(dataset_of(part)), self._dealers(dataset_of(other))
        if dealers[0][0] == dealers[1][0]:
            return split_of(part) == split_of(other)
        return dealers[0][0] in dealers[1] or dealers[1][0] in dealers[0]

    def _dealers(self, dataset: str) -> list[str]:
        """The datasets that dealt out this one's splits: the last one first."""
        chain = [dataset]
        while self.datasets[chain[-1]].origin.startswith("datasets/"):
            chain.append(self.datasets[chain[-1]].origin.split("/", 1)[1])
        while len(chain) > 1 and self.datasets[chain[0]].split is None:
            chain.pop(0)
        return chain

    def _unfit_captures(self) -> Iterator[str]:
        for id, task in self.tasks.items():
            for probe in task.probes:
                family, store = self.probes[probe].family, self.captures[task.capture].store
                if store == "positions" or (store == "mean" and family not in MEAN_FAMILIES):
                    yield (
                        f"tasks.{id}.probes names {probe!r} of family {family}, which reads every token, but capture "
                        f"{task.capture!r} stores {self.captures[task.capture].store}."
                    )
        for id, experiment in self.experiments.items():
            if experiment.probe not in self.tasks[experiment.task].probes:
                yield (
                    f"experiments.{id}.probe names {experiment.probe!r}, which task {experiment.task!r} does not "
                    f"train; add it to tasks.{experiment.task}.probes."
                )
            if self.probes[experiment.probe].family not in MEAN_FAMILIES:
                yield (
                    f"experiments.{id}.probe names {experiment.probe!r}, but the experiment works on mean activations; "
                    f"take a probe of family {', '.join(MEAN_FAMILIES)}."
                )


def _meant(problem: Any) -> bool:
    """Whether a complaint is about what the user tried to give, where a key takes a word or a structure."""
    tried = [i for i, step in enumerate(problem["loc"]) if MEMBER.match(str(step))]
    if not tried:
        return True
    word = isinstance(problem["input"], str) and tried[-1] == len(problem["loc"]) - 1
    return word == str(problem["loc"][tried[-1]]).startswith("literal")


def _sentence(problem: Any) -> str:
    location = [str(step) for step in problem["loc"] if not MEMBER.match(str(step))]
    if location[0] in ("models", "sources", "probes", "experiments") and len(location) > 2 and location[2] != "[key]":
        del location[2]  # the member of the union that pydantic tried
    key = ".".join(location)
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
