"""What can be watched: subjects and probes by the config, loaded when they are first asked for."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from threading import Lock
from typing import Any, NamedTuple

import yaml
from pydantic import ValidationError

from candor import models, provenance, tables
from candor.config.captures import Capture
from candor.config.files import refuse_duplicate_keys
from candor.config.monitor_app import MonitorApp, Watched
from candor.config.samplings import Sampling
from candor.config.study import ConfigError, Study
from candor.monitor.engine import Engine, MonitorError, Place
from candor.monitor.watching import Watcher
from candor.probes.files import SavedProbe

RESULTS = Path("results")
MAKE = "run `make monitor`, which makes what is missing, or name another with --probe"


class Choice(NamedTuple):
    """A probe that can be chosen: its title, its task, and the capture that it was trained on."""

    title: str
    task: str
    subject: str
    capture: Capture
    entry: Watched


class Fitting(NamedTuple):
    """An engine and a probe that fit each other, and how the probe's training texts were read: by its capture, and
    where that reads while the subject answers, with its sampling."""

    engine: Engine
    watcher: Watcher
    capture: Capture
    sampling: Sampling | None = None

    @property
    def place(self) -> Place:
        """Where in the model the probe reads."""
        return Place(self.watcher.header.hook, self.watcher.layer)


def read_config(configfiles: Sequence[Path] = ()) -> tuple[Study, MonitorApp]:
    """The study of config.yaml and of files laid over it, and its section `monitor`; ConfigError says what is wrong."""
    paths = [Path("config.yaml"), *configfiles]
    raw: dict[str, Any] = {}
    for path in paths:
        if not path.exists():
            raise ConfigError(f"{path}: no such file; start in the project's folder.")
    refuse_duplicate_keys(paths)
    for path in paths:
        _lay(raw, yaml.safe_load(path.read_text(encoding="utf-8")) or {})
    own = raw.pop("monitor", None) or {}
    return Study.parse(raw), app_of(own)


def app_of(section: Mapping[str, Any]) -> MonitorApp:
    """The section `monitor`; ConfigError with a line per problem."""
    try:
        return MonitorApp.model_validate(section)
    except ValidationError as error:
        problems = [f"config: monitor.{'.'.join(map(str, e['loc']))}: {e['msg']}." for e in error.errors()]
        raise ConfigError("\n".join(problems)) from None


def _lay(under: dict[str, Any], over: Mapping[str, Any]) -> None:
    """Lay one config over another, as Snakemake does: mappings key by key, anything else whole."""
    for key, value in over.items():
        if isinstance(value, Mapping) and isinstance(under.get(key), dict):
            _lay(under[key], value)
        else:
            under[key] = dict(value) if isinstance(value, Mapping) else value


class Choices:
    """The subjects and probes of a config. What was loaded stays loaded, for all who use the app."""

    def __init__(self, study: Study, app: MonitorApp, results: Path = RESULTS) -> None:
        self.study, self.app, self.results = study, app, results
        entries = app.probes or {id: Watched(task=id, probe=None) for id in study.tasks}
        self.probes = {id: self._choice(id, entry) for id, entry in entries.items()}
        for id in app.subjects:
            if id not in study.models and id not in study.adapters:
                raise ConfigError(f"config: monitor.subjects names {id!r}, which is no model and no adapter.")
        self.subjects = list(dict.fromkeys([*(each.subject for each in self.probes.values()), *app.subjects]))
        self.default = app.default or next(iter(self.probes), "")
        self.choice(self.default)
        self._engines: dict[str, Engine] = {}
        self._watchers: dict[str, Watcher] = {}
        self._loading = Lock()

    def _choice(self, id: str, entry: Watched) -> Choice:
        if entry.task not in self.study.tasks:
            known = ", ".join(self.study.tasks)
            raise ConfigError(f"config: monitor.probes.{id}.task names {entry.task!r}, which is not one of: {known}.")
        task = self.study.tasks[entry.task]
        if entry.probe is not None and entry.probe not in task.trained:
            known = ", ".join(task.trained)
            raise ConfigError(f"config: monitor.probes.{id}.probe names {entry.probe!r}, which is not one of: {known}.")
        capture = self.study.captures[task.capture]
        return Choice(task.title, entry.task, capture.subject, capture, entry)

    def choice(self, id: str) -> Choice:
        """A probe by its id in the config."""
        if id not in self.probes:
            raise MonitorError(f"there is no probe {id!r} to watch with; choose one of: {', '.join(self.probes)}")
        return self.probes[id]

    def fitting(self, probe: str, subject: str | None = None) -> Fitting:
        """A probe, and the subject that it watches, by default its own; a sentence where they do not fit."""
        choice = self.choice(probe)
        watcher, engine = self.watcher(probe), self.engine(subject or choice.subject)
        watcher.refuse_other(engine.source)
        capture = choice.capture
        sampling = None if capture.sampling is None else self.study.samplings[capture.sampling]
        return Fitting(engine, watcher, capture, sampling)

    def watcher(self, id: str) -> Watcher:
        """A probe of the results, at the layer that its task's selection chose."""
        choice = self.choice(id)
        with self._loading:
            if id not in self._watchers:
                self._watchers[id] = self._load_watcher(choice)
            return self._watchers[id]

    def _load_watcher(self, choice: Choice) -> Watcher:
        selection = self.results / "selections" / f"{choice.task}.json"
        if not selection.exists():
            raise MonitorError(f"{selection}: no such file; {MAKE}")
        selected = tables.read_json(selection)
        name = choice.entry.probe or selected["monitor"]
        path = self.results / "probes" / choice.task / f"{name}.safetensors"
        if not path.exists():
            raise MonitorError(f"{path}: no such file; {MAKE}")
        layer = {**selected["probes"], **selected["controls"]}[name]["layer"]
        return Watcher(SavedProbe.load(path), path, layer, capture=choice.capture)

    def engine(self, subject: str) -> Engine:
        """A subject, loaded into the config's engine."""
        with self._loading:
            if subject not in self._engines:
                self._engines[subject] = self._load_engine(subject)
            return self._engines[subject]

    def _load_engine(self, subject: str) -> Engine:
        study = self.study
        if subject in study.ablations or not (subject in study.models or subject in study.adapters):
            raise MonitorError(f"{subject!r} cannot be watched: choose a model or an adapter of the config")
        model, adapter = study.models[study.base(subject)], study.adapter(subject)
        path = self.results / "models" / f"{study.base(subject)}.json"
        if not path.exists():
            raise MonitorError(f"{path}: no such file; {MAKE}")
        facts = models.read_facts(path)
        revision = revision_of(facts)
        folder = None if adapter is None else self.results / "adapters" / adapter
        if folder is not None and not folder.exists():
            raise MonitorError(f"{folder}: no such folder; {MAKE}")
        if self.app.engine == "mlx":
            from candor.monitor.mlx_engine import MlxEngine, rounded

            if folder is not None:
                raise MonitorError(
                    f"{subject!r} is an adapter, which the mlx engine does not merge; set engine: transformers"
                )
            own = models.folder_of(model, facts)
            made = rounded(own, provenance.digest(facts["files"]), self.app.quantisation)
            return MlxEngine(made, models.tokenizer_of(own, facts), subject, revision)
        from candor.monitor.transformers_engine import TransformersEngine

        return TransformersEngine(models.load(model, facts, folder), subject, revision)

    def sampling(self) -> Sampling:
        """How the subjects answer."""
        app = self.app
        return Sampling(temperature=app.temperature, top_p=app.top_p, seed=app.seed, max_new_tokens=app.max_new_tokens)


def revision_of(facts: Mapping[str, Any]) -> str:
    """What pins a model's weights in the headers of its activations and probes."""
    return str(facts["revision"] or provenance.digest(facts["files"])[:16])
