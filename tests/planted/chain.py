"""The jobs of the planted study, each by its own script with the flags of its rule, in this process and in one folder.

In this process, so that a test can break a piece of the library by monkeypatch and see which check notices.
"""

import contextlib
import json
import runpy
import shutil
import sys
from collections.abc import Callable
from copy import copy
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from candor import tables
from candor.activations.files import Activations
from candor.config.datasets import Recipe
from candor.config.study import Study
from candor.config.tasks import Contest, Learning, Measurement, Training, dataset_of
from candor.data.leakage import Tolerance
from candor.probes.files import SavedProbe
from candor.schemas.dataset import DATASET
from candor.schemas.metric import METRIC
from tests.planted import subject
from tests.planted.subject import CLEAN, CONFOUNDED, REVERSED

SCRIPTS = Path(__file__).parents[2] / "scripts"
LAYERS = [subject.PLANTED - 1, subject.PLANTED, subject.PLANTED + 1]
PROBES: dict[str, dict[str, Any]] = {
    "difference_of_means": {"family": "difference_of_means"},
    "logistic": {"family": "logistic", "c": 1.0, "intercept": True},
    "mean": {"family": "mean"},
}
"""Probes that are linear in the mean activation, of which alone the subject hides what it knows before PLANTED."""
ROWS: dict[str, Callable[[], list[dict[str, Any]]]] = {
    "clean": lambda: subject.pairs(CLEAN, 300, seed=1),
    "confounded": lambda: subject.pairs(CONFOUNDED, 300, seed=2),
    "reversed": lambda: subject.pairs(REVERSED, 100, seed=3),
    "shuffled": lambda: subject.pairs(CLEAN, 300, seed=4, shuffled=True),
    "everyday": lambda: subject.prompts(100, seed=5),
}
"""Dataset -> its rows."""


def study(parameters: int) -> dict[str, Any]:
    """The config, with every default filled in."""
    sides = {"low": "low", "high": "high"}
    shared = {
        "classes": ["low", "high"],
        "capture": "planted",
        "control": "everyday@test",
        "probes": list(PROBES),
        "baselines": ["tfidf"],
        "seeds": [0],
        "bootstrap": 1000,
        "target_fpr": 0.05,
    }
    tasks = {
        "clean": ["clean@test", "reversed@test"],
        "confounded": ["confounded@test", "clean@test", "reversed@test"],
        "shuffled": ["shuffled@test"],
    }
    config: dict[str, Any] = {
        "models": {
            "planted": {
                "source": "folder",
                "path": "model",
                "name": "Planted subject",
                "blocks": subject.BLOCKS,
                "width": subject.WIDTH,
                "parameters": parameters,
                "device": "cpu",
                "dtype": "float32",
            }
        },
        "sources": {id: {"kind": "local", "files": [f"{id}.jsonl"]} for id in ROWS},
        "datasets": {
            id: {
                "origin": f"sources/{id}",
                "transform": "contrast_pairs",
                "options": {"sides": sides},
                "split": "test" if id == "reversed" else {"test": 1 / 3},
            }
            for id in ROWS
        },
        "captures": {
            "planted": {
                "subject": "planted",
                "layers": LAYERS,
                "mean_layers": LAYERS[1:],  # of the first one readers take the mean over its rows
                "max_tokens": 64,
                "batch_tokens": 1024,
            }
        },
        "probes": PROBES,
        "baselines": {"tfidf": {"kind": "tfidf"}},
        "tasks": {
            id: {**shared, "title": id, "train": f"{id}@train", "evaluation": parts} for id, parts in tasks.items()
        },
        "figures": {"clean": {"plot": "probe_comparison", "task": "clean", "title": "clean"}},
        "run": {"figures": ["clean"]},
    }
    config["datasets"]["everyday"] = {
        "origin": "sources/everyday",
        "transform": "prompts",
        "options": {"label": "everyday"},
        "split": "test",
    }
    return Study.parse(config).resolved()


class Chain:
    """A folder in which the jobs run; a job that fails raises SystemExit with its sentence."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.config = study(subject.write_model(folder / "model"))
        self.model = self.config["models"]["planted"]
        self.script("fetch_model", {"models": self.model}, output="results/models/planted.json")

    def copy(self, folder: Path) -> "Chain":
        """The same study with all that was made so far, in another folder."""
        other = copy(self)
        other.folder = shutil.copytree(self.folder, folder)
        return other

    def script(self, name: str, spec: dict[str, Any], **flags: Any) -> None:
        """Run a script here; a flag's value is one text or a list of them."""
        arguments = [f"{name}.py", "--spec", json.dumps(spec)]
        for flag, value in flags.items():
            arguments += [f"--{flag.replace('_', '-')}", *map(str, value if isinstance(value, list) else [value])]
        before = sys.argv
        sys.argv = arguments
        try:
            with contextlib.chdir(self.folder):
                runpy.run_path(str(SCRIPTS / f"{name}.py"), run_name="__main__")
        finally:
            sys.argv = before

    def build(self, dataset: str, rows: list[dict[str, Any]]) -> None:
        """A dataset from its rows, and its own leakage gate."""
        self.lay(dataset, rows)
        self.check(dataset)

    def lay(self, dataset: str, rows: list[dict[str, Any]]) -> None:
        """A dataset from its rows, unchecked."""
        entry, origin = self.config["datasets"][dataset], f"results/sources/{dataset}.parquet"
        (self.folder / f"{dataset}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        self.script("fetch_source", {"sources": self.config["sources"][dataset]}, output=origin)
        self.script("build_dataset", {"datasets": _keys(Recipe, entry)}, origin=origin, output=data_of(dataset))

    def check(self, dataset: str) -> None:
        """The gate of one dataset."""
        spec = {"datasets": _keys(Tolerance, self.config["datasets"][dataset])}
        self.script("check_leakage", spec, data=data_of(dataset), output=f"results/leakage/{dataset}.json")

    def check_apart(self, part: str, other: str) -> None:
        """The gate between two parts of two datasets."""
        ids = [dataset_of(part), dataset_of(other)]
        spec = {"datasets": {id: _keys(Tolerance, self.config["datasets"][id]) for id in ids}}
        self.script(
            "check_leakage",
            spec,
            train=data_of(ids[0]),
            train_part=part,
            evaluation=data_of(ids[1]),
            evaluation_part=other,
            output=f"results/leakage/{part}/{other}.json",
        )

    def extract(self, dataset: str) -> None:
        """The activations of a dataset."""
        self.script(
            "extract_activations",
            {"captures": self.config["captures"]["planted"], "models": self.model},
            model="results/models/planted.json",
            data=data_of(dataset),
            threads=1,
            output=activations_of(dataset),
        )

    def train(self, task: str) -> None:
        """Every probe and the text baseline of a task, and what is selected of them."""
        entry = self.config["tasks"][task]
        own, control = dataset_of(entry["train"]), dataset_of(entry["control"])
        for probe in entry["probes"]:
            self.script(
                "train_probe",
                {"tasks": _keys(Training, entry), "probes": self.config["probes"][probe]},
                task=task,
                monitor=probe,
                data=data_of(own),
                activations=activations_of(own),
                control=data_of(control),
                control_activations=activations_of(control),
                probe=f"results/probes/{task}/{probe}.safetensors",
                scores=f"results/scores/{task}/train/{probe}.parquet",
            )
        self.script(
            "train_text",
            {"tasks": _keys(Learning, entry), "baselines": self.config["baselines"]["tfidf"]},
            monitor="tfidf",
            data=data_of(own),
            control=data_of(control),
            model=f"results/baselines/{task}/tfidf.safetensors",
            scores=f"results/scores/{task}/train/tfidf.parquet",
        )
        self.script(
            "select_probe",
            {"tasks": _keys(Contest, entry)},
            probe_scores=[f"results/scores/{task}/train/{probe}.parquet" for probe in entry["probes"]],
            baseline_scores=f"results/scores/{task}/train/tfidf.parquet",
            output=f"results/selections/{task}.json",
        )

    def evaluate(self, task: str) -> None:
        """Scores of all monitors of a task on its evaluation sets, and the metric table."""
        entry, selection = self.config["tasks"][task], f"results/selections/{task}.json"
        for part in entry["evaluation"]:
            self.script(
                "score_probes",
                {"tasks": _keys(Contest, entry)},
                part=part,
                data=data_of(dataset_of(part)),
                activations=activations_of(dataset_of(part)),
                model="results/models/planted.json",
                selection=selection,
                monitors=entry["probes"],
                probes=[f"results/probes/{task}/{probe}.safetensors" for probe in entry["probes"]],
                output=f"results/scores/{task}/{part}/probes.parquet",
            )
            self.script(
                "score_text",
                {"tasks": _keys(Learning, entry), "baselines": self.config["baselines"]["tfidf"]},
                monitor="tfidf",
                part=part,
                data=data_of(dataset_of(part)),
                model=f"results/baselines/{task}/tfidf.safetensors",
                selection=selection,
                output=f"results/scores/{task}/{part}/tfidf.parquet",
            )
        self.script(
            "measure",
            {"tasks": _keys(Measurement, entry)},
            task=task,
            families=json.dumps({**{id: probe["family"] for id, probe in PROBES.items()}, "tfidf": "tfidf"}),
            scores=[
                f"results/scores/{task}/{part}/{monitors}.parquet"
                for part in entry["evaluation"]
                for monitors in ("probes", "tfidf")
            ],
            selection=selection,
            output=f"results/metrics/{task}.parquet",
        )

    def rows(self, dataset: str) -> list[dict[str, Any]]:
        """The examples of a dataset."""
        return list(tables.read(self.folder / data_of(dataset), DATASET).to_pylist())

    def activations(self, dataset: str) -> Activations:
        """The activations of a dataset."""
        return Activations([self.folder / activations_of(dataset)])

    def selection(self, task: str) -> dict[str, Any]:
        """What was selected for a task."""
        return tables.read_json(self.folder / f"results/selections/{task}.json")

    def probe(self, task: str, probe: str) -> SavedProbe:
        """A trained probe."""
        return SavedProbe.load(self.folder / f"results/probes/{task}/{probe}.safetensors")

    def auroc(self, task: str, part: str) -> dict[str, dict[str, Any]]:
        """Monitor -> the row of its AUROC on a part, at the layer selected for it."""
        found = tables.read(self.folder / f"results/metrics/{task}.parquet", METRIC).to_pylist()
        own = [row for row in found if row["dataset"] == part and row["metric"] == "auroc" and row["versus"] is None]
        return {row["monitor"]: row for row in own}


def data_of(dataset: str) -> str:
    """The table of a dataset."""
    return f"results/data/{dataset}.parquet"


def activations_of(dataset: str) -> str:
    """The activations of a dataset."""
    return f"results/activations/planted/{dataset}/000-of-001.safetensors"


def _keys(section: type[BaseModel], entry: dict[str, Any]) -> dict[str, Any]:
    """The part of a config entry that a job reads, as the rules cut it."""
    return {key: entry[key] for key in section.model_fields}
