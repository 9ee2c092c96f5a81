"""Text baselines beside probes that read a response: on the text that was answered, on the response, on both."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from candor import provenance, tables
from candor.baselines.responses import as_read
from candor.baselines.text import TextError
from candor.schemas.dataset import DATASET
from candor.schemas.generation import GENERATION
from candor.schemas.score import SCORE

SCRIPTS = Path(__file__).parents[2] / "scripts"
CLASSES = ["low", "high"]


def answered(path: Path, texts: dict[str, str], status: str = "ok") -> Path:
    rest = {"token_ids": [1], "reasoning": None, "prompt_tokens": 3, "new_tokens": 1, "seed": 0, "status": status}
    rows = [{**rest, "example_id": id, "sample_index": 0, "text": text, "answer": text} for id, text in texts.items()]
    tables.write(path, rows, GENERATION, {})
    return path


def asked(id: str, label: str = "high", split: str = "train") -> dict[str, Any]:
    return {
        "example_id": id,
        "group_id": id,
        "split": split,
        "label": label,
        "rating": None,
        "attributes": "{}",
        "truncated": False,
        "messages": [{"role": "user", "content": "Well?"}],
    }


@pytest.mark.parametrize(
    ("reads", "expected"), [("text", ["Well?"]), ("response", ["Yes."]), ("both", ["Well?", "Yes."])]
)
def test_a_baseline_reads_what_it_is_told_to(tmp_path: Path, reads: Any, expected: list[str]) -> None:
    (row,) = as_read([asked("a")], reads, [answered(tmp_path / "G.parquet", {"a": "Yes.", "b": "No."})])
    assert [message["content"] for message in row["messages"]] == expected
    assert row["messages"][-1]["role"] == ("user" if reads == "text" else "assistant")


@pytest.mark.parametrize("reads", ["response", "both"])
def test_of_a_response_that_was_lost_nothing_is_read(tmp_path: Path, reads: Any) -> None:
    (row,) = as_read([asked("a")], reads, [answered(tmp_path / "G.parquet", {"a": "Ye"}, "not_finite")])
    assert row["messages"] == []


def test_responses_to_another_dataset_are_refused(tmp_path: Path) -> None:
    path = answered(tmp_path / "G.parquet", {"b": "No."})
    with pytest.raises(TextError, match=r"G.parquet: has no response to 1 examples, as 'a'; .* make it again"):
        as_read([asked("a")], "response", [path])
    with pytest.raises(TextError, match="needs the subject's responses"):
        as_read([asked("a")], "both", [])


def test_from_responses_to_score_tables(tmp_path: Path) -> None:
    """All texts are the same, and only the responses tell the classes apart."""
    said = {"high": "run now", "low": "no hurry"}
    rows = [asked(f"t{i}", CLASSES[i % 2]) for i in range(20)]
    held = [asked("h", "high", "test"), asked("l", "low", "test"), asked("lost", "low", "test")]
    tables.write(tmp_path / "d.parquet", rows + held, DATASET, {})
    tables.write(tmp_path / "c.parquet", [asked("c", "everyday", "test")], DATASET, {})
    (tmp_path / "selection.json").write_text("{}")
    one = answered(tmp_path / "g0.parquet", {row["example_id"]: said[row["label"]] for row in (rows + held)[:-1]})
    lost = answered(tmp_path / "g1.parquet", {"lost": "no"}, "not_finite")
    control = answered(tmp_path / "gc.parquet", {"c": "as you like"})
    task = {"classes": CLASSES, "train": "d@train", "control": "c@test", "folds": 2}
    spec = json.dumps({"tasks": task, "baselines": {"kind": "tfidf", "min_df": 1, "reads": "response"}})
    data = ["--data", "d.parquet", "--responses", one.name, lost.name]
    train = ["--control", "c.parquet", "--control-responses", control.name, "--model", "m.safetensors", "--scores", "s"]
    score = ["--part", "d@test", "--model", "m.safetensors", "--selection", "selection.json", "--output", "e"]
    for script, arguments in {"train_text.py": train, "score_text.py": score}.items():
        command = [sys.executable, SCRIPTS / script, "--spec", spec, "--monitor", "answers", *data, *arguments]
        done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)
        assert done.returncode == 0, done.stderr
    high, low, nothing = tables.read(tmp_path / "e", SCORE).to_pylist()
    assert high["score"] > 0 > low["score"]
    assert (nothing["status"], nothing["score"]) == ("empty", None)
    assert {one.name, lost.name, control.name} <= set(provenance.read(tmp_path / "m.safetensors")["inputs"])
