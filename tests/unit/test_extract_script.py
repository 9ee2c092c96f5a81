"""extract_activations.py and fetch_model.py, by hand and as the workflow calls them, on a small model."""

import json
import runpy
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from candor import provenance, tables
from candor.activations.files import Activations
from candor.schemas.dataset import DATASET
from tests.small_models import BLOCKS, WIDTH, small_folder

SCRIPTS = Path(__file__).parents[2] / "scripts"
Runner = Callable[..., tuple[int, str]]
TEXTS = ["Is the reactor safe?", "The quick brown fox.", "a", "Wait for the pressure to fall below 12 bar."]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with a small model."""
    return small_folder(tmp_path / "model")


@pytest.fixture
def rows(tmp_path: Path) -> Path:
    """Rows of a user's own."""
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps({"id": f"r{i}", "prompt": text}) + "\n" for i, text in enumerate(TEXTS)))
    return path


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Runner:
    """Run a script in this process, in tmp_path; give its exit status and all that it said."""
    monkeypatch.chdir(tmp_path)

    def run(script: str, *arguments: Any) -> tuple[int, str]:
        monkeypatch.setattr(sys, "argv", [script, *map(str, arguments)])
        try:
            runpy.run_path(str(SCRIPTS / script), run_name="__main__")
        except SystemExit as ended:
            status = ended.code if isinstance(ended.code, int) else 1
            return status, f"{capfd.readouterr().err}{ended.code}"
        return 0, capfd.readouterr().err

    return run


@pytest.fixture
def by_hand(run: Runner, folder: Path, rows: Path) -> Callable[..., tuple[int, str]]:
    """Run extract_activations.py by hand on the small model and the rows."""

    def by_hand(*more: Any) -> tuple[int, str]:
        return run("extract_activations.py", "--model", folder, "--dataset", rows, "--output", "A.safetensors", *more)

    return by_hand


def test_by_hand_a_folder_and_a_file_of_rows_are_enough(by_hand: Runner, rows: Path) -> None:
    status, said = by_hand("--layers", 1, 0, "--threads", 1)
    assert status == 0, said
    assert "A.safetensors: {'ok': 4}" in said
    assert "extract rows: " in said
    found = Activations([Path("A.safetensors")])
    assert found.example_ids == ["r0", "r1", "r2", "r3"]
    assert (found.header.layers, found.header.width, found.header.blocks) == ([0, 1], WIDTH, BLOCKS)
    assert found.header.dataset_sha256 == provenance.sha256(rows)
    assert found.layer(1).isfinite().all()
    made = provenance.read(Path("A.safetensors"))
    assert made["script"] == "extract_activations.py"
    assert {"torch", "transformers"} <= set(made["versions"])
    assert made["threads"] == 1
    assert not list(Path("results/.partial").iterdir())


def test_shards_by_hand_are_the_whole(by_hand: Runner) -> None:
    parts = []
    for shard in ("000-of-001", "000-of-002", "001-of-002"):
        status, said = by_hand("--layers", 3, "--shard", shard, "--store", "mean")
        assert status == 0, said
        parts.append(Path("A.safetensors").rename(f"{shard}.safetensors"))
    whole, halves = Activations(parts[:1]), Activations(parts[1:])
    assert halves.example_ids == whole.example_ids
    torch.testing.assert_close(halves.layer(3), whole.layer(3), rtol=1e-2, atol=1e-2)


def test_rows_with_messages_are_read_as_a_conversation(by_hand: Runner, rows: Path) -> None:
    messages = [{"role": "user", "content": "Is it safe?"}, {"role": "assistant", "content": "Wait."}]
    rows.write_text(json.dumps({"messages": messages}) + "\n")
    status, said = by_hand("--layers", 0)
    assert status == 0, said
    assert set(Activations([Path("A.safetensors")]).index("roles").tolist()) == {0, 2, 3}


def test_the_workflow_s_way_from_facts_to_activations(run: Runner, folder: Path) -> None:
    parameters = sum(p.numel() for p in _unique_parameters(folder))
    model = {"source": "folder", "path": str(folder), "name": "Tiny", "device": "cpu", "dtype": "float32"}
    model |= {"blocks": BLOCKS, "width": WIDTH, "parameters": parameters}
    facts = Path("results/models/tiny.json")
    status, said = run("fetch_model.py", "--spec", json.dumps({"models": model}), "--output", facts)
    assert status == 0, said
    assert json.loads(facts.read_text())["parameters"] == parameters

    data = Path("rows.parquet")
    example = {"group_id": "g", "split": "train", "label": None, "rating": None, "attributes": "{}", "truncated": False}
    table = [
        {**example, "example_id": f"r{i}", "messages": [{"role": "user", "content": text}]}
        for i, text in enumerate(TEXTS)
    ]
    tables.write(data, table, DATASET, {})
    spec = {"captures": {"subject": "tiny", "layers": "all", "mean_layers": [], "max_tokens": 12}, "models": model}
    output = Path("A.safetensors")
    arguments = ("--spec", json.dumps(spec), "--model", facts, "--data", data, "--code", "c0de", "--output", output)
    status, said = run("extract_activations.py", *arguments)
    assert status == 0, said
    found, made = Activations([output]), provenance.read(output)
    assert found.header.layers == list(range(BLOCKS))
    assert found.header.subject == "tiny"
    assert found.header.revision is not None
    assert found.statuses.count("truncated") >= 1
    assert made["spec"] == spec
    assert made["code"] == "c0de"
    assert made["inputs"] == {str(path): provenance.sha256(path) for path in (facts, data)}

    once = output.read_bytes()
    output.unlink()
    assert run("extract_activations.py", *arguments)[0] == 0
    assert output.read_bytes() == once


def _unique_parameters(folder: Path) -> list[torch.Tensor]:
    from transformers import AutoModelForCausalLM

    return list(AutoModelForCausalLM.from_pretrained(folder, local_files_only=True).parameters())


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--layers", 9], "error: there is no block 9: the model has 4 blocks, 0 to 3"),
        (["--layers", 1, 1], "error: --layers has layers [1, 1]; give each block once, counted from 0"),
        (["--layers", 0, "--shard", "2-of-2"], "error: shard '2-of-2' cannot be"),
        (["--layers", 0, "--model", "/no/such/folder"], "is neither a folder nor an id of the form owner/name"),
        (["--layers", 0, "--dataset", "none.jsonl"], "none.jsonl: cannot be read (No such file or directory)"),
    ],
)
def test_a_mistake_is_a_sentence(by_hand: Runner, arguments: list[Any], sentence: str) -> None:
    status, said = by_hand(*arguments)
    assert status == 1
    assert sentence in said
    assert not Path("A.safetensors").exists()


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ([], "--dataset needs --layers"),
        (["--layers", 0, "--data", "D.parquet"], "give --data with --spec (in the workflow), or --dataset"),
    ],
)
def test_flags_that_do_not_go_together_are_refused(by_hand: Runner, arguments: list[Any], sentence: str) -> None:
    status, said = by_hand(*arguments)
    assert status == 2
    assert sentence in said
