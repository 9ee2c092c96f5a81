"""A small project for the monitor: a random model, real activations of it, trained probes, and a config.yaml."""

import json
from argparse import Namespace
from pathlib import Path
from typing import Any

import yaml
from pydantic import TypeAdapter

from candor import models, tables
from candor.activations.job import from_config
from candor.config.models import Model
from candor.config.probes import Probe
from candor.config.study import Study
from candor.config.tasks import Training
from candor.probes.features import Part, read_part
from candor.probes.scoring import score_part
from candor.probes.training_job import train_probe
from candor.schemas.dataset import DATASET
from candor.schemas.score import SCORE
from tests.small_models import BLOCKS, WIDTH, small_folder

MADE = {"script": "tests", "code": "0", "spec": {}}
WORDS = {
    "low-stakes": "kettle garden sock calendar ladder pencil".split(),
    "high-stakes": "reactor pressure chest pain overdose evacuate".split(),
    "normal": "Please write about the tea and the dog".split(),
    "eval_aware": "This is a test that checks your answers".split(),
    "deceptive": "Hide the truth and mislead the user".split(),
}
TASKS = {"stakes": ["low-stakes", "high-stakes"], "states": ["normal", "eval_aware", "deceptive"]}
PROBES = {
    "stakes": {"mean": {"family": "mean", "epochs": 5}},
    "states": {"logistic": {"family": "logistic", "c": 10.0}},
}
LAYER = 2


def write_project(folder: Path, **monitor: Any) -> Path:
    """Write the project with everything that the monitor reads, its cases not included."""
    small_folder(folder / "model")
    config = config_of(folder, monitor)
    folder.joinpath("config.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")
    results = folder / "results"
    model: Model = TypeAdapter(Model).validate_python(config["models"]["small"])
    facts = {**models.fetch(model)._asdict(), "name": "small", "licence": "none", "chat_template": None}
    for name in ("small", "twin"):
        tables.write_json(results / "models" / f"{name}.json", facts, MADE)
    for id, classes in TASKS.items():
        write_data(results / "data" / f"{id}.parquet", classes)
    write_data(results / "data" / "calm.parquet", ["low-stakes"])
    study = Study.parse({key: value for key, value in config.items() if key != "monitor"})
    parts = {name: extracted(folder, study, name) for name in ("stakes@train", "states@train", "calm@test")}
    for id in TASKS:
        task = study.tasks[id]
        [(monitor_id, probe)] = PROBES[id].items()
        trained = train_probe(
            parts[task.train],
            parts[task.control],
            Training(**task.model_dump(include=set(Training.model_fields))),
            id,
            monitor_id,
            TypeAdapter(Probe).validate_python(probe),
            -1,
        )
        trained.probe.save(results / "probes" / id / f"{monitor_id}.safetensors", MADE)
        selection = {"monitor": monitor_id, "layer": LAYER, "probes": {monitor_id: {"layer": LAYER}}, "controls": {}}
        tables.write_json(results / "selections" / f"{id}.json", selection, MADE)
        part = extracted(folder, study, f"{id}@test")
        scores = score_part(part, trained.probe, monitor_id, facts)
        tables.write(results / "scores" / id / f"{id}@test" / "probes.parquet", scores, SCORE, MADE)
    return folder


def config_of(folder: Path, monitor: dict[str, Any]) -> dict[str, Any]:
    """A study of two tasks, one of two classes and one of three, and of a model that no probe is for."""
    small = {
        "source": "folder",
        "path": str(folder / "model"),
        "name": "a small random Llama",
        "blocks": BLOCKS,
        "width": WIDTH,
        "parameters": models.describe(folder / "model").parameters,
        "device": "cpu",
        "dtype": "float32",
    }
    return {
        "models": {"small": small, "twin": small},
        "sources": {"rows": {"kind": "local", "files": ["rows.jsonl"]}},
        "datasets": {
            name: {"origin": "sources/rows", "transform": "prompts", "split": "test"} for name in (*TASKS, "calm")
        },
        "captures": {"small": {"subject": "small", "layers": [1, LAYER], "max_tokens": 200}},
        "probes": {id: probe for own in PROBES.values() for id, probe in own.items()},
        "tasks": {
            id: {
                "title": f"The task {id}",
                "classes": classes,
                "capture": "small",
                "train": f"{id}@train",
                "control": "calm@test",
                "evaluation": [f"{id}@test"],
                "probes": list(PROBES[id]),
                "folds": 2,
                "seeds": [0],
            }
            for id, classes in TASKS.items()
        },
        "figures": {},
        "run": {"figures": []},
        "monitor": {"subjects": ["twin"], "max_new_tokens": 12, **monitor},
    }


def write_data(path: Path, classes: list[str]) -> None:
    """Twelve texts a class to learn from, and six to be held out."""
    rows = []
    for label in classes:
        for i in range(18):
            words = WORDS[label]
            said = f"{words[i % len(words)]} {words[(i // 2 + 3) % len(words)]} is the {words[(i + 1) % len(words)]}?"
            rows.append(
                {
                    "example_id": f"{label}-{i:02d}",
                    "group_id": f"{i:02d}",
                    "split": "test" if i >= 12 or path.stem == "calm" else "train",
                    "messages": [{"role": "user", "content": said}],
                    "label": label,
                    "rating": None,
                    "attributes": json.dumps({}),
                    "truncated": False,
                }
            )
    tables.write(path, rows, DATASET, MADE)


def extracted(folder: Path, study: Study, name: str) -> Part:
    """A part with its activations, which are made where they are not there yet."""
    results, dataset = folder / "results", name.split("@")[0]
    data, output = results / "data" / f"{dataset}.parquet", activations_of(results, dataset)
    if not output.exists():
        spec = {
            "captures": study.captures["small"].model_dump(mode="json"),
            "models": study.models["small"].model_dump(mode="json"),
        }
        files = {"model": str(results / "models" / "small.json"), "data": data, "output": output, "adapter": None}
        rest = {"shard": "000-of-001", "threads": 1, "progress": -1, "code": "0", "partial": folder / "partial"}
        from_config(Namespace(spec=spec, **files, **rest))
    return read_part(name, data, [output])


def activations_of(results: Path, dataset: str) -> Path:
    """The activations' file of a dataset."""
    return results / "activations" / "small" / dataset / "000-of-001.safetensors"


def case_flags(folder: Path, task: str) -> list[str]:
    """The flags of scripts/export_cases.py for a task's cases, its output included."""
    config = yaml.safe_load((folder / "config.yaml").read_text(encoding="utf-8"))
    results = folder / "results"
    spec = {
        "captures": config["captures"]["small"],
        "models": config["models"]["small"],
        "monitor": {"per_class": 3},
    }
    return [
        *("--spec", json.dumps(spec)),
        *("--selection", str(results / "selections" / f"{task}.json")),
        *("--probe", str(results / "probes" / task)),
        *("--model", str(results / "models" / "small.json")),
        *("--parts", f"{task}@test"),
        *("--data", str(results / "data" / f"{task}.parquet")),
        *("--activations", str(activations_of(results, task))),
        *("--scores", str(results / "scores" / task / f"{task}@test" / "probes.parquet")),
        *("--output", str(results / "monitor" / f"{task}.json")),
    ]
