"""The whole config: every section, and the checks across sections."""

from collections.abc import Iterable
from typing import Any

from pydantic import Field, ValidationError

from candor.config.ablations import Ablation
from candor.config.adapters import Adapter
from candor.config.base import Id, Section
from candor.config.baselines import Baseline
from candor.config.captures import Capture
from candor.config.checks.captures import unfit_captures
from candor.config.checks.derivations import broken_derivations
from candor.config.checks.graders import unfit_graders
from candor.config.checks.ids import shared_ids
from candor.config.checks.judges import unfit_judges
from candor.config.checks.kinds import unfit_kinds
from candor.config.checks.layers import impossible_layers
from candor.config.checks.monitors import unfit_monitors
from candor.config.checks.overlaps import overlaps
from candor.config.checks.publishing import unfit_publications
from candor.config.checks.references import unknown_references
from candor.config.checks.transforms import bad_transforms
from candor.config.checks.verbalisers import unfit_verbalisers
from candor.config.clients import ClientConfig
from candor.config.comparisons import Comparison
from candor.config.datasets import Dataset
from candor.config.experiments import Experiment
from candor.config.figures import Figure
from candor.config.judges import Judge
from candor.config.models import Model
from candor.config.monitor_app import MonitorApp
from candor.config.panels import Panel
from candor.config.probes import Probe
from candor.config.publishing import Publication
from candor.config.samplings import Sampling
from candor.config.selection import Run
from candor.config.sentences import meant, sentence
from candor.config.sources import Source
from candor.config.tasks import Task
from candor.config.verbalisers import Verbaliser
from candor.errors import CandorError
from candor.hardware import auto_batch_tokens, auto_device, auto_dtype

CHECKS = (
    (unknown_references,),
    (shared_ids, impossible_layers, broken_derivations, bad_transforms, unfit_publications),
    (overlaps, unfit_captures, unfit_judges, unfit_kinds, unfit_monitors, unfit_verbalisers, unfit_graders),
)
"""In order: a check may count on what those of an earlier group have passed."""


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
    verbalisers: dict[Id, Verbaliser] = Field({}, description="What puts inner states into words.")
    probes: dict[Id, Probe] = Field(description="Families of probes and their training.")
    baselines: dict[Id, Baseline] = Field({}, description="Monitors that do not read activations.")
    tasks: dict[Id, Task] = Field(description="What monitors learn and where they are measured.")
    experiments: dict[Id, Experiment] = Field({}, description="Jobs that train many small monitors.")
    comparisons: dict[Id, Comparison] = Field({}, description="Arms of an experiment, judged and compared.")
    panels: dict[Id, Panel] = Field({}, description="Judges of the same texts, compared with one another.")
    figures: dict[Id, Figure] = Field(description="What is drawn.")
    monitor: MonitorApp = Field(MonitorApp(), description="The live monitor.")
    publishing: dict[Id, Publication] = Field({}, description="Which results go to which repositories of the hub.")
    run: Run = Field(description="What this run makes.")

    @classmethod
    def parse(cls, config: dict[str, Any]) -> "Study":
        """Validate a config and fill in its defaults; raise ConfigError with one sentence per problem."""
        try:
            study = cls.model_validate(config)
        except ValidationError as error:
            raise _config_error(map(sentence, filter(meant, error.errors()))) from None
        for checks in CHECKS:
            problems = [problem for check in checks for problem in check(study)]
            if problems:
                raise _config_error(problems)
        return study

    def resolved(self) -> dict[str, Any]:
        """The config as plain values, with `auto` devices, dtypes and batches settled for this machine."""
        config = self.model_dump(mode="json")
        for model in config["models"].values():
            if model["device"] == "auto":
                model["device"] = auto_device()
            if model["dtype"] == "auto":
                model["dtype"] = auto_dtype(model["device"])
        for probe in config["probes"].values():
            if probe.get("dtype") == "auto":
                probe["dtype"] = auto_dtype("cpu")
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


def _config_error(problems: Iterable[str]) -> ConfigError:
    return ConfigError("\n".join(f"config: {problem}" for problem in dict.fromkeys(problems)))
