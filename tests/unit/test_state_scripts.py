"""The experiments of study C as the workflow runs them: from files to a checked table, on a small model."""

import json
import runpy
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pydantic import TypeAdapter

from candor import models, provenance, tables
from candor.config.probes import Probe
from candor.probes.features import read_part
from candor.probes.files import SavedProbe
from candor.probes.scoring import score_part
from candor.probes.training_job import train_probe
from candor.schemas.cell import CELL
from candor.schemas.curve import CURVE
from candor.schemas.dataset import DATASET
from tests.small_models import BLOCKS, WIDTH, small_folder
from tests.triples import STATES, task_of, triples

SCRIPTS = Path(__file__).parents[2] / "scripts"
WORDS = dict(zip(STATES, ("briefly", "assistant", "pressure"), strict=True))
CAPTURE = {"subject": "tiny", "layers": [1, 2], "store": "positions", "positions": [-3, -2, -1]}
LOGISTIC = {"family": "logistic", "c": 1.0}
Run = Callable[..., None]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run a script in this process, in tmp_path; it must end well."""
    monkeypatch.chdir(tmp_path)

    def run(script: str, *arguments: Any) -> None:
        monkeypatch.setattr(sys, "argv", [script, *map(str, arguments)])
        runpy.run_path(str(SCRIPTS / script), run_name="__main__")

    return run


@pytest.fixture
def study(run: Run, tmp_path: Path) -> dict[str, Any]:
    """A small model's activations on triples, a probe of them, and its selection, all as files."""
    rows = [*triples(12), *triples(6, "test", "t"), *triples(9, "validation", "v")]
    for row in rows:
        row["messages"][0]["content"] += f" {WORDS[row['label']]}" * 3
    tables.write(Path("triples.parquet"), rows, DATASET, {})
    folder = small_folder(tmp_path / "model")
    parameters = models.describe(folder).parameters
    model = {"source": "folder", "path": str(folder), "name": "Tiny", "device": "cpu", "dtype": "float32"}
    model |= {"blocks": BLOCKS, "width": WIDTH, "parameters": parameters}
    run("fetch_model.py", "--spec", json.dumps({"models": model}), "--output", "M.json")
    spec = json.dumps({"captures": CAPTURE, "models": model})
    extract = ("--model", "M.json", "--data", "triples.parquet", "--output", "A.safetensors", "--threads", 1)
    run("extract_activations.py", "--spec", spec, *extract)
    task = task_of(control="triples@validation", evaluation=["triples@test"])
    probe: Any = TypeAdapter(Probe).validate_python(LOGISTIC)
    train, control = (
        read_part(name, Path("triples.parquet"), [Path("A.safetensors")]) for name in (task.train, task.control)
    )
    train_probe(train, control, task, "states", "probe", probe, -1).probe.save(Path("P.safetensors"), {})
    selection = {"monitor": "probe", "layer": 2, "probes": {"probe": {"layer": 2}}, "controls": {}}
    tables.write_json(Path("S.json"), selection, {})
    return {"task": task.model_dump(mode="json"), "model": model}


def evaluated(run: Run, study: dict[str, Any], experiment: dict[str, Any]) -> None:
    spec = {"experiments": experiment, "tasks": study["task"], "probes": LOGISTIC, "models": study["model"]}
    files = ("--data", "triples.parquet", "--activations", "A.safetensors", "--evaluation-parts", "triples@test")
    files += ("--evaluation-data", "triples.parquet", "--evaluation-activations", "A.safetensors")
    # what learns everything anew is given nothing that was learnt before, as the rule has it
    learnt = [] if experiment["kind"] == "leave_one_out" else ["M.json", "S.json", "P.safetensors"]
    files += ("--monitors", "probe", "--output", "E.parquet")
    files += ("--model", *learnt[:1], "--selection", *learnt[1:2], "--probes", *learnt[2:])
    run("run_evaluation_experiment.py", "--spec", json.dumps(spec), "--experiment", "own", *files)


def test_leave_one_out_and_timeline_run_where_other_experiments_on_evaluation_sets_do(
    run: Run, study: dict[str, Any]
) -> None:
    evaluated(run, study, {"kind": "leave_one_out", "task": "states", "probes": ["probe"]})
    cells = tables.read(Path("E.parquet"), CELL).to_pylist()
    assert {row["monitor"] for row in cells} == {"selected", "probe", "tfidf"}
    assert {row["n"] for row in cells if row["target"] is None} == {54}
    evaluated(run, study, {"kind": "timeline", "task": "states", "part": "triples@test"})
    points = tables.read(Path("E.parquet"), CURVE).to_pylist()
    assert {row["x"] for row in points} == {None, 0.0, 1.0, 2.0} and len(points) == 4 * 9


def test_quantisation_reads_the_texts_anew(run: Run, study: dict[str, Any]) -> None:
    experiment = {"kind": "quantisation", "task": "states", "part": "triples@test", "group": 32}
    spec = {"experiments": experiment, "tasks": study["task"], "captures": CAPTURE, "models": study["model"]}
    files = ("--data", "triples.parquet", "--activations", "A.safetensors", "--selection", "S.json")
    calm = [row for row in triples(9, "validation", "v") if row["label"] == "normal"]
    tables.write(Path("C.parquet"), [*calm, *triples(1, "test", "t")], DATASET, {})
    files += ("--monitors", "probe", "--probes", "P.safetensors", "--model", "M.json", "--output", "Q.parquet")
    files += ("--control", "C.parquet")
    run("run_quantisation.py", "--spec", json.dumps(spec), "--experiment", "four-bits", *files)
    cells = tables.read(Path("Q.parquet"), CELL).to_pylist()
    assert {row["source"] for row in cells} == {"full", "rounded", "rerounded", "random", "random_rounded"}
    # the control set's split holds normal texts alone
    assert {row["class"] for row in cells if row["metric"] == "changed"} == {"eval_aware", "deceptive", None}
    # on the weights as they are, the second pass gives what the stored activations give
    stored = read_part("triples@test", Path("triples.parquet"), [Path("A.safetensors")])
    scored = score_part(stored, SavedProbe.load(Path("P.safetensors")), "probe", {"block_parameters": 10}).to_pylist()
    expected = {(row["example_id"], row["class"]): row["probability"] for row in scored if row["layer"] == 2}
    spots = [row for row in cells if row["metric"] == "probability" and row["source"] == "full"]
    assert len(spots) == 3
    for row in spots:
        assert row["value"] == pytest.approx(expected[row["target"], row["class"]], abs=1e-4)
    assert provenance.read(Path("Q.parquet"))["script"] == "run_quantisation.py"


def test_transfer_reads_the_files_of_several_tasks(run: Run, study: dict[str, Any]) -> None:
    experiment = {"kind": "transfer", "tasks": ["states", "others"], "positive": {"states": ["deceptive"]}}
    other = {**study["task"], "capture": "another"}
    spec = {"experiments": experiment, "tasks": {"states": study["task"], "others": other}}
    files: tuple[Any, ...] = ("--data", "triples.parquet", "--captures", "tiny", "another")
    files += ("--activations", "A.safetensors", "A.safetensors", "--selections", "S.json", "S.json")
    files += ("--monitors", "states/probe", "others/probe", "--probes", "P.safetensors", "P.safetensors")
    run("run_transfer.py", "--spec", json.dumps(spec), "--experiment", "matrix", *files, "--output", "T.parquet")
    cells = tables.read(Path("T.parquet"), CELL).to_pylist()
    assert {(row["source"], row["target"]) for row in cells} == {
        (one, another) for one in ("states", "others") for another in ("states", "others")
    }
    assert all(row["value"] is not None for row in cells)
