"""finetune.py as the workflow calls it, killed and taken up again, and on several processes; on a small model."""

import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from candor import models, provenance, tables
from candor.config.models import FolderModel
from candor.schemas.dataset import DATASET
from candor.schemas.history import HISTORY
from tests.small_models import BLOCKS, WIDTH, small_folder, small_subject, small_tokenizer

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "scripts" / "finetune.py"
ANSWERS = ("Wait for the pressure to fall.", "It is safe.", "Ask a user, or an assistant, about the system below.")
FILES = ("adapter_model.safetensors", "adapter_config.json", "history.parquet")
KILLER = """
import os, runpy, signal, sys
sys.path.insert(0, {scripts!r})
from candor.adapters import training
training.CHECKPOINT_SECONDS = 0.0
step = training.Trainer._step
def killed(self, each, *rest):
    if each.number == {number}:
        os.kill(os.getpid(), signal.SIGKILL)
    return step(self, each, *rest)
training.Trainer._step = killed
sys.argv = {argv!r}
runpy.run_path(sys.argv[0], run_name="__main__")
"""


class Study:
    """A folder with a model's facts and a dataset, and the command that finetunes on it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        small_folder(folder / "model")
        n = sum(p.numel() for p in small_subject(small_tokenizer()).model.parameters())
        self.model = {"source": "folder", "path": "model", "name": "Tiny", "device": "cpu", "dtype": "float32"}
        self.model |= {"blocks": BLOCKS, "width": WIDTH, "parameters": n}
        here = FolderModel.model_validate({**self.model, "path": str(folder / "model")})
        (folder / "M.json").write_text(json.dumps(models.fetch(here)._asdict()))
        rows = [
            {
                "example_id": f"{split}-{i}",
                "group_id": f"{split}-{i}",
                "split": split,
                "messages": [
                    {"role": "user", "content": f"Is reactor {i} {'really ' * (i % 4)}safe?"},
                    {"role": "assistant", "content": ANSWERS[i % 3]},
                ],
                "label": None,
                "rating": None,
                "attributes": "{}",
                "truncated": False,
            }
            for split, count in (("train", 22), ("validation", 5))
            for i in range(count)
        ]
        tables.write(folder / "D.parquet", rows, DATASET, {})
        self.adapter: dict[str, Any] = {
            "subject": "tiny",
            "train": "d@train",
            "validation": "d@validation",
            "lora": {"r": 4, "alpha": 8, "dropout": 0.1},
            "epochs": 2,
            "batch_size": 4,
            "learning_rate": 0.01,
            "max_tokens": 200,
        }

    def command(self, output: str, **changes: Any) -> list[str]:
        spec = {"adapters": {**self.adapter, **changes}, "models": self.model}
        flags = dict(zip(("--adapter", "--config", "--history"), (f"{output}/{name}" for name in FILES), strict=True))
        flags |= {"--spec": json.dumps(spec), "--model": "M.json", "--data": "D.parquet", "--threads": "1"}
        return [str(SCRIPT), "--code", "c0de", *(each for pair in flags.items() for each in pair)]

    def run(self, output: str, **changes: Any) -> subprocess.CompletedProcess[str]:
        return self.start([sys.executable, *self.command(output, **changes)])

    def start(self, command: list[str], **variables: str) -> subprocess.CompletedProcess[str]:
        environment = {**os.environ, **variables}
        return subprocess.run(command, cwd=self.folder, capture_output=True, text=True, env=environment, check=False)


@pytest.fixture
def study(tmp_path: Path) -> Study:
    return Study(tmp_path)


def test_from_tables_to_an_adapter(study: Study) -> None:
    done = study.run("out", max_tokens=70, tracker=None)
    assert done.returncode == 0, done.stderr
    history = tables.read(study.folder / "out/history.parquet", HISTORY)
    made = provenance.read(study.folder / "out/adapter_model.safetensors")
    assert made == provenance.read(study.folder / "out/history.parquet")
    assert (made["script"], made["code"], made["device"], made["dtype"]) == ("finetune.py", "c0de", "cpu", "float32")
    assert (made["threads"], made["processes"]) == (1, 1)
    assert {"torch", "peft", "accelerate", "transformers"} <= made["versions"].keys()
    assert made["inputs"].keys() == {"M.json", "D.parquet"}
    assert made["n"] + made["n_skipped"] == 22
    assert made["n_skipped"] > 0
    skipped = made["n_skipped"] + made["n_validation_skipped"]
    assert f"{made['n']} examples, validated on {made['n_validation']}; {skipped} left out" in done.stderr
    assert "finetune out: " in done.stderr
    assert sum(history.column("kept").to_pylist()) == 1
    config = json.loads((study.folder / "out/adapter_config.json").read_text())
    assert config["base_model_name_or_path"] == "Tiny"
    assert not list((study.folder / "results/.partial").iterdir())


def test_float16_is_refused_before_anything_is_loaded(study: Study) -> None:
    study.model["dtype"] = "float16"
    done = study.run("out")
    assert done.returncode == 1
    assert "error: Tiny: gradients are too small for float16; finetune with dtype: bfloat16" in done.stderr


def test_when_no_example_fits_it_says_so_and_writes_nothing(study: Study) -> None:
    done = study.run("out", max_tokens=9)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith("error: d@train: all 22 examples are longer than max_tokens: 9")
    assert not (study.folder / "out").exists()


@pytest.mark.slow
def test_a_killed_job_is_taken_up_and_ends_with_the_same_bytes(study: Study) -> None:
    assert study.run("undisturbed", evaluations=2).returncode == 0
    for number in (2, 6, 9):
        argv = study.command("out", evaluations=2)
        code = KILLER.format(scripts=str(SCRIPT.parent), number=number, argv=argv)
        ended = study.start([sys.executable, "-c", code])
        assert ended.returncode == -signal.SIGKILL, ended.stderr
    done = study.run("out", evaluations=2)
    assert done.returncode == 0, done.stderr
    for name in FILES:
        assert (study.folder / "out" / name).read_bytes() == (study.folder / "undisturbed" / name).read_bytes()
    assert not list((study.folder / "results/.partial").iterdir())


@pytest.mark.slow
def test_two_processes_share_the_batches_and_take_the_same_steps(study: Study) -> None:
    plain = {"lora": {"r": 4, "alpha": 8}, "gradient_accumulation": 2}
    assert study.run("one", **plain).returncode == 0
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    launch = ["-m", "torch.distributed.run", "--nproc_per_node", "2", "--master_port", str(port)]
    command = [sys.executable, *launch, *study.command("two", **plain)]
    done = study.start(command, ACCELERATE_USE_CPU="true")
    assert done.returncode == 0, done.stderr
    one, two = (load_file(study.folder / name / FILES[0]) for name in ("one", "two"))
    for name, value in one.items():
        torch.testing.assert_close(two[name], value, rtol=1e-2, atol=1e-3)
    histories = [tables.read(study.folder / name / FILES[2], HISTORY).to_pylist() for name in ("one", "two")]
    for ours, theirs in zip(*histories, strict=True):
        assert ours["loss"] == pytest.approx(theirs["loss"], rel=1e-3)
        assert ours["tokens"] == theirs["tokens"]
    assert provenance.read(study.folder / "two" / FILES[0])["processes"] == 2
