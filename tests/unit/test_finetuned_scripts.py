"""finetune_classifier.py, score_finetuned.py and run_finetuned_experiment.py as the workflow calls them, on a small
model."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors import safe_open

from candor import models, provenance, tables
from candor.config.models import FolderModel
from candor.schemas.curve import CURVE
from candor.schemas.dataset import DATASET
from candor.schemas.history import CLASSIFIER_HISTORY
from candor.schemas.score import SCORE
from tests.small_models import BLOCKS, WIDTH, small_folder, small_subject, small_tokenizer

SCRIPTS = Path(__file__).parents[2] / "scripts"
WORDS = {"low": "the quick brown fox", "high": "the reactor pressure"}
KILLER = """
import os, runpy, signal, sys
sys.path.insert(0, {scripts!r})
from candor.baselines.finetuned import training
training.CHECKPOINT_SECONDS = 0.0
step, taken = training.Trainer._step, []
def killed(self, each, *rest):
    taken.append(each)
    if len(taken) == {number}:
        os.kill(os.getpid(), signal.SIGKILL)
    return step(self, each, *rest)
training.Trainer._step = killed
sys.argv = {argv!r}
runpy.run_path(sys.argv[0], run_name="__main__")
"""


def example(split: str, i: int, label: str | None, text: str) -> dict[str, Any]:
    return {
        "example_id": f"{split}-{i}",
        "group_id": f"{split}-{i // 2}",
        "split": split,
        "messages": [{"role": "user", "content": text}],
        "label": label,
        "rating": None,
        "attributes": "{}",
        "truncated": False,
    }


class Study:
    """A folder with a model's facts and datasets, and the commands of a finetuned classifier."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        small_folder(folder / "model")
        n = sum(p.numel() for p in small_subject(small_tokenizer()).model.parameters())
        self.model = {"source": "folder", "path": "model", "name": "Tiny", "device": "cpu", "dtype": "float32"}
        self.model |= {"blocks": BLOCKS, "width": WIDTH, "parameters": n}
        here = FolderModel.model_validate({**self.model, "path": str(folder / "model")})
        (folder / "M.json").write_text(json.dumps(models.fetch(here)._asdict()))
        rows = [
            example(split, i, label, f"{'so ' * (i % 5)}{WORDS[label]} jumps over it")
            for split, count in (("train", 32), ("test", 14))
            for i in range(count)
            for label in [("low", "high")[i % 2]]
        ]
        rows.append(example("test", 99, None, "of no class"))
        tables.write(folder / "D.parquet", rows, DATASET, {})
        tables.write(
            folder / "C.parquet", [example("test", i, "benign", "a dog sleeps") for i in range(5)], DATASET, {}
        )
        (folder / "S.json").write_text("{}")
        self.task = {"classes": ["low", "high"], "train": "d@train", "control": "c@test"}
        self.baseline = {"kind": "finetuned", "subject": "tiny", "lora": {"r": 4, "alpha": 8}, "seeds": [0, 3]}
        self.baseline |= {"epochs": 3, "batch_size": 4, "learning_rate": 0.01, "max_tokens": 100}

    def finetune(self, output: str, **changes: Any) -> list[str]:
        spec = {"tasks": self.task, "baselines": {**self.baseline, **changes}, "models": self.model}
        flags = {"--spec": json.dumps(spec), "--monitor": "ft", "--data": "D.parquet", "--control": "C.parquet"}
        flags |= {"--model": "M.json", "--threads": "1", "--weights": f"{output}/W.safetensors"}
        flags |= {"--history": f"{output}/H.parquet", "--scores": f"{output}/T.parquet"}
        return self.command("finetune_classifier.py", flags)

    def score(self, output: str, data: str = "D.parquet", part: str = "d@test") -> list[str]:
        flags = {"--spec": json.dumps({"models": self.model}), "--monitor": "ft", "--part": part, "--data": data}
        flags |= {"--model": "M.json", "--weights": f"{output}/W.safetensors", "--selection": "S.json"}
        return self.command("score_finetuned.py", {**flags, "--threads": "1", "--output": f"{output}/{part}.parquet"})

    def experiment(self, output: str, **changes: Any) -> list[str]:
        own = {"kind": "finetuned_efficiency", "task": "t", "baseline": "ft", "sizes": [2, 8, 999], "limit": 12}
        capture = {"capture": "c", "probes": ["p"], "evaluation": ["d@test"], "bootstrap": 50}
        baseline = {**self.baseline, "epochs": 2}
        spec = {"experiments": {**own, "runs": 2, **changes}, "tasks": {**self.task, **capture}}
        flags = {"--spec": json.dumps({**spec, "baselines": baseline, "models": self.model}), "--experiment": "e"}
        flags |= {"--data": "D.parquet", "--evaluation-parts": "d@test", "--evaluation-data": "D.parquet"}
        flags |= {"--model": "M.json", "--selection": "S.json", "--threads": "1", "--output": f"{output}/E.parquet"}
        return self.command("run_finetuned_experiment.py", flags)

    def command(self, script: str, flags: dict[str, str]) -> list[str]:
        return [str(SCRIPTS / script), "--code", "c0de", *(each for pair in flags.items() for each in pair)]

    def run(self, command: list[str]) -> subprocess.CompletedProcess[str]:
        run = [sys.executable, *command]
        return subprocess.run(run, cwd=self.folder, capture_output=True, text=True, env=dict(os.environ), check=False)

    def kill(self, argv: list[str], number: int) -> None:
        code = KILLER.format(scripts=str(SCRIPTS), number=number, argv=argv)
        ended = self.run(["-c", code])
        assert ended.returncode == -signal.SIGKILL, ended.stderr

    def bytes(self, output: str, *names: str) -> list[bytes]:
        return [(self.folder / output / name).read_bytes() for name in names]


@pytest.fixture
def study(tmp_path: Path) -> Study:
    return Study(tmp_path)


def test_from_tables_to_scores(study: Study) -> None:
    done = study.run(study.finetune("out"))
    assert done.returncode == 0, done.stderr
    made = provenance.read(study.folder / "out/W.safetensors")
    assert (made["script"], made["code"], made["n"], made["n_held_out"]) == ("finetune_classifier.py", "c0de", 28, 4)
    with safe_open(study.folder / "out/W.safetensors", framework="np") as file:
        names = list(file.keys())
        assert json.loads(file.metadata()["classifier"])["seeds"] == [0, 3]
    assert {"0/head.weight", "3/head.weight"} < set(names)
    history = tables.read(study.folder / "out/H.parquet", CLASSIFIER_HISTORY).to_pandas()
    assert list(history.groupby("seed")["kept"].sum()) == [1, 1]
    trained = tables.read(study.folder / "out/T.parquet", SCORE).to_pandas()
    assert trained["fold"].isna().all()
    assert trained.groupby(["seed", "dataset"]).size().to_dict() == {(0, "c"): 5, (0, "d"): 4, (3, "c"): 5, (3, "d"): 4}

    done = study.run(study.score("out"))
    assert done.returncode == 0, done.stderr
    assert "selection S.json: sha256 44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a" in done.stderr
    found = tables.read(study.folder / "out/d@test.parquet", SCORE).to_pandas()
    assert found.groupby("seed").size().to_dict() == {0: 15, 3: 15}
    assert found["label"].isna().sum() == 2
    assert (found["flops_total"] == found["flops_monitor"]).all() and found["flops_total"].gt(0).all()
    assert "S.json" in provenance.read(study.folder / "out/d@test.parquet")["inputs"]
    # what was scored before the weights were stored is what they score when they are loaded
    assert study.run(study.score("out", "C.parquet", "c@test")).returncode == 0
    again = tables.read(study.folder / "out/c@test.parquet", SCORE).to_pandas()
    assert np.array_equal(again["score"], trained[trained["dataset"] == "c"]["score"])


def test_what_cannot_be_is_said(study: Study) -> None:
    study.task["classes"] = ["low", "high", "middling"]
    done = study.run(study.finetune("out"))
    assert done.returncode == 1
    assert "error: d@train: has no usable example of 'middling'; a classifier needs all of low, high" in done.stderr
    study.task["classes"] = ["low", "high"]
    assert study.run(study.finetune("out", seeds=[0], epochs=1)).returncode == 0
    facts = json.loads((study.folder / "M.json").read_text())
    (study.folder / "M.json").write_text(json.dumps({**facts, "revision": "other"}))
    done = study.run(study.score("out"))
    assert done.returncode == 1
    assert "error: out/W.safetensors: was finetuned from other weights of tiny" in done.stderr
    study.model["dtype"] = "float16"
    assert "gradients are too small for float16" in study.run(study.finetune("out")).stderr


def test_a_curve_by_the_number_of_examples(study: Study) -> None:
    done = study.run(study.experiment("out"))
    assert done.returncode == 0, done.stderr
    rows = tables.read(study.folder / "out/E.parquet", CURVE).to_pylist()
    assert [(row["x"], row["dataset"]) for row in rows] == [
        (x, name) for x in (2, 8, 32) for name in ("d@test", "mean")
    ]
    for row in rows:
        assert (row["curve"], row["monitor"], row["n"], row["n_groups"], row["n_skipped"]) == ("ft", "ft", 12, 6, 1)
        assert row["n_runs"] == 2
        assert row["flops"] > 0
        assert row["low"] <= row["value"] <= row["high"]
    assert "nothing held out" in rows[0]["remark"]
    assert "efficiency e: 6 of 6 finetunings" in done.stderr


@pytest.mark.slow
def test_killed_jobs_are_taken_up_and_end_with_the_same_bytes(study: Study) -> None:
    jobs = [
        (study.finetune, ("W.safetensors", "H.parquet", "T.parquet"), (3, 20)),
        (study.experiment, ("E.parquet",), (9,)),
    ]
    for command, names, stops in jobs:
        assert study.run(command("undisturbed")).returncode == 0
        for number in stops:
            study.kill(command("out"), number)
        assert study.run(command("out")).returncode == 0
        assert study.bytes("out", *names) == study.bytes("undisturbed", *names)
        assert not list((study.folder / "results/.partial").iterdir())
