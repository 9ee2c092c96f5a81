"""Models and datasets of a hub on loopback: revisions become commits, a pin works offline, and refusals are sentences.

huggingface_hub reads HF_ENDPOINT when it is imported, so the scripts run in processes of their own; one process runs
many, since starting it is what takes the time.
"""

import io
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from candor import provenance, tables
from candor.activations.files import Activations
from candor.schemas.dataset import DATASET
from candor.schemas.source import SOURCE
from tests.hub_server import Hub, Repository
from tests.small_models import BLOCKS, WIDTH, small_folder

pytestmark = pytest.mark.slow
SCRIPTS = Path(__file__).parents[2] / "scripts"
NEW, OLD, ABSENT = "a" * 40, "b" * 40, "c" * 40
TOKEN = "hf_NobodyMayEverReadThis"
RUNNER = """
import contextlib, io, json, runpy, sys, traceback
ends = []
for arguments in json.load(sys.stdin):
    sys.argv = arguments
    said = io.StringIO()
    with contextlib.redirect_stderr(said):
        try:
            runpy.run_path(arguments[0], run_name="__main__")
            end = 0
        except SystemExit as ended:
            end = ended.code
        except BaseException:
            end = traceback.format_exc()
    print(said.getvalue(), file=sys.stderr)
    ends.append(end)
json.dump(ends, sys.stdout)
"""
ROWS = [{"text": "one", "n": 1}, {"text": "zwei é", "n": 2}]


class Ended(NamedTuple):
    """How each script ended (0, or what it said and stopped with), by the name of its output."""

    ends: dict[str, Any]
    said: str


def jsonl(rows: list[dict[str, Any]]) -> bytes:
    return "".join(json.dumps(row) + "\n" for row in rows).encode()


def parquet(rows: list[dict[str, Any]]) -> bytes:
    content = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(rows), content)
    return content.getvalue()


def model(id: str, parameters: int, revision: str | None = None) -> dict[str, Any]:
    shape = {"blocks": BLOCKS, "width": WIDTH, "parameters": parameters, "device": "cpu", "dtype": "float32"}
    return {"models": {"source": "hub", "id": id, "name": "Tiny", "revision": revision, **shape}}


def source(id: str, **options: Any) -> dict[str, Any]:
    return {"sources": {"kind": "hub", "id": id, **options}}


class Place:
    """A hub, and a folder with a hub cache and the outputs of the scripts that asked it."""

    def __init__(self, hub: Hub, folder: Path, parameters: int) -> None:
        self.hub, self.folder, self.parameters = hub, folder, parameters

    def run(self, steps: Mapping[str, dict[str, Any] | list[Any]], **environment: str) -> Ended:
        """Run fetch_model.py or fetch_source.py for each spec, or a command line, in one process."""
        commands = []
        for output, step in steps.items():
            if isinstance(step, dict):
                script = "fetch_model.py" if "models" in step else "fetch_source.py"
                commands.append([str(SCRIPTS / script), "--spec", json.dumps(step), "--output", output])
            else:
                commands.append([str(SCRIPTS / step[0]), *map(str, step[1:]), "--output", output])
        own = {
            "HF_ENDPOINT": self.hub.url,
            "HF_HOME": str(self.folder / "hf"),
            "HF_HUB_OFFLINE": "0",
            "HF_TOKEN": TOKEN,
        }
        own |= {"CANDOR_CACHE": str(self.folder / "cache"), "PYTHONPATH": str(SCRIPTS)}
        ended = subprocess.run(
            [sys.executable, "-c", RUNNER],
            input=json.dumps(commands),
            capture_output=True,
            text=True,
            check=True,
            cwd=self.folder,
            env={**os.environ, **own, **environment},
        )
        return Ended(dict(zip(steps, json.loads(ended.stdout), strict=True)), ended.stdout + ended.stderr)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    folder = tmp_path_factory.mktemp("hub")
    files = {path.name: path.read_bytes() for path in small_folder(folder / "model").iterdir()}
    header = provenance.safetensors_header(folder / "model" / "model.safetensors")
    parameters = sum(_size(entry["shape"]) for name, entry in header.items() if name != "__metadata__")
    example = {"group_id": "g", "split": "train", "label": None, "rating": None, "attributes": "{}", "truncated": False}
    messages = [{"role": "user", "content": "Is the reactor safe?"}]
    tables.write(folder / "D.parquet", [{**example, "example_id": "e", "messages": messages}], DATASET, {})
    (folder / "rows.jsonl").write_bytes(jsonl([{"id": "e", "prompt": "Is the reactor safe?"}]))
    commits = {NEW: files, OLD: {**files, "notes.txt": b"an older commit"}}
    rows = {NEW: {"rows.jsonl": jsonl(ROWS)}, OLD: {"rows.jsonl": jsonl(ROWS[:1])}}
    repositories = [
        Repository("model", "own/tiny", commits, {"main": NEW, "old": OLD}),
        Repository("model", "own/gated", {NEW: files}, {"main": NEW}, gated=True),
        Repository("model", "own/pickled", {NEW: {"config.json": files["config.json"]}}, {"main": NEW}),
        Repository("dataset", "own/rows", rows, {"main": NEW, "old": OLD}),
        Repository("dataset", "own/columns", {NEW: {"data/test-00000.parquet": parquet(ROWS)}}, {"main": NEW}),
        Repository("dataset", "own/gated", {NEW: {"rows.jsonl": jsonl(ROWS)}}, {"main": NEW}, gated=True),
    ]
    with Hub(repositories) as hub:
        yield Place(hub, folder, parameters)


@pytest.fixture(scope="module")
def online(place: Place) -> Ended:
    """Everything that is asked of a hub that answers."""
    n = place.parameters
    return place.run(
        {
            "default.json": model("own/tiny", n),
            "branch.json": model("own/tiny", n, "old"),
            "pinned.json": model("own/tiny", n, NEW),
            "wrong-size.json": model("own/tiny", n + 1),
            "no-revision.json": model("own/tiny", n, "no-such-branch"),
            "no-commit.json": model("own/tiny", n, ABSENT),
            "no-model.json": model("own/none", n),
            "gated.json": model("own/gated", n),
            "pickled.json": model("own/pickled", n),
            "by-hand.safetensors": [
                *("extract_activations.py", "--model", "own/tiny", "--dataset", "rows.jsonl", "--layers", 0, 3)
            ],
            "branch.parquet": source("own/rows", revision="old"),
            "default.parquet": source("own/rows"),
            "files.parquet": source("own/rows", files=["rows.jsonl"]),
            "columns.parquet": source("own/columns", split="test"),
            "column-files.parquet": source("own/columns", files=["data/test-00000.parquet"]),
            "no-split.parquet": source("own/rows", split="validation"),
            "no-file.parquet": source("own/rows", files=["none.jsonl"]),
            "no-revision.parquet": source("own/rows", revision="no-such-branch"),
            "no-dataset.parquet": source("own/none"),
            "gated.parquet": source("own/gated"),
            "gated-files.parquet": source("own/gated", files=["rows.jsonl"]),
        }
    )


@pytest.fixture(scope="module")
def offline(place: Place, online: Ended) -> Ended:
    """What is asked again, offline, with the cache that `online` filled."""
    n = place.parameters
    spec = {"captures": {"subject": "tiny", "layers": [0, 3]}, **model("own/tiny", n, NEW)}
    before = len(place.hub.requests)
    ended = place.run(
        {
            "offline/pinned.json": model("own/tiny", n, NEW),
            "offline/A.safetensors": [
                *("extract_activations.py", "--spec", json.dumps(spec), "--model", "offline/pinned.json"),
                *("--data", "D.parquet"),
            ],
            "offline/default.json": model("own/tiny", n),
            "offline/no-commit.json": model("own/tiny", n, ABSENT),
            "offline/pinned.parquet": source("own/rows", revision=NEW),
            "offline/files.parquet": source("own/rows", revision=NEW, files=["rows.jsonl"]),
            "offline/default.parquet": source("own/rows"),
            "offline/no-commit.parquet": source("own/rows", revision=ABSENT),
        },
        HF_HUB_OFFLINE="1",
    )
    assert place.hub.requests[before:] == []
    return ended


def rows_of(path: Path) -> list[dict[str, Any]]:
    return [json.loads(row["row"]) for row in tables.read(path, SOURCE).to_pylist()]


def _size(shape: list[int]) -> int:
    return shape[0] * _size(shape[1:]) if shape else 1


@pytest.mark.parametrize(("name", "commit"), [("default", NEW), ("branch", OLD), ("pinned", NEW)])
def test_a_model_s_revision_becomes_a_commit_that_is_recorded(
    place: Place, online: Ended, name: str, commit: str
) -> None:
    assert online.ends[f"{name}.json"] == 0
    facts = json.loads((place.folder / f"{name}.json").read_text())
    assert facts["revision"] == commit
    assert facts["blocks"] == BLOCKS
    assert facts["files"]["model.safetensors"]["size"] > 0
    assert ("notes.txt" in facts["files"]) == (commit == OLD)


def test_a_model_of_the_hub_is_extracted_from_by_hand(place: Place, online: Ended) -> None:
    assert online.ends["by-hand.safetensors"] == 0
    found = Activations([place.folder / "by-hand.safetensors"])
    assert (found.header.subject, found.header.revision, found.statuses) == ("own/tiny", NEW, ["ok"])


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("wrong-size.json", "Tiny: the config says parameters: "),
        ("no-revision.json", "hub model own/tiny: has no such revision; check `revision`"),
        ("no-commit.json", "hub model own/tiny: has no such revision; check `revision`"),
        ("no-model.json", "hub model own/none: does not exist, or is private; check `id`, or set HF_TOKEN"),
        ("gated.json", "hub model own/gated: access is gated; accept its terms on the hub and set HF_TOKEN"),
        ("pickled.json", "holds no model.safetensors; candor reads no other format"),
        ("no-split.parquet", 'own/rows, split validation: cannot be fetched (ValueError: Unknown split "validation"'),
        ("no-file.parquet", "hub dataset own/rows, file none.jsonl: has no such file; check `files`"),
        ("no-revision.parquet", "hub dataset own/rows: has no such revision; check `revision`"),
        ("no-dataset.parquet", "hub dataset own/none: does not exist, or is private; check `id`, or set HF_TOKEN"),
        ("gated.parquet", "hub dataset own/gated, split train: "),
        ("gated-files.parquet", "hub dataset own/gated, file rows.jsonl: access is gated; accept its terms"),
    ],
)
def test_a_refusal_is_one_sentence(place: Place, online: Ended, name: str, sentence: str) -> None:
    end = online.ends[name]
    assert end.startswith("error: ")
    assert sentence in end
    assert "\n" not in end
    assert "gated" in end or "gated" not in name
    assert not (place.folder / name).exists()


@pytest.mark.parametrize(
    ("name", "commit", "rows"),
    [
        ("default", NEW, ROWS),
        ("branch", OLD, ROWS[:1]),
        ("files", NEW, ROWS),
        ("columns", NEW, ROWS),
        ("column-files", NEW, ROWS),
    ],
)
def test_a_dataset_gives_its_rows_and_the_commit(
    place: Place, online: Ended, name: str, commit: str, rows: list[dict[str, Any]]
) -> None:
    path = place.folder / f"{name}.parquet"
    assert online.ends[path.name] == 0
    assert rows_of(path) == rows
    assert provenance.read(path)["revision"] == commit
    assert set(provenance.read(path)["files"]) == (
        {"rows.jsonl"} if name == "files" else {"data/test-00000.parquet"} if name == "column-files" else set()
    )


def test_a_pinned_model_needs_no_network_once_it_was_fetched(place: Place, offline: Ended) -> None:
    assert offline.ends["offline/pinned.json"] == offline.ends["offline/A.safetensors"] == 0
    assert (place.folder / "offline" / "pinned.json").read_bytes() == (place.folder / "pinned.json").read_bytes()
    found = Activations([place.folder / "offline" / "A.safetensors"])
    assert (found.header.revision, found.header.layers, found.statuses) == (NEW, [0, 3], ["ok"])


@pytest.mark.parametrize("name", ["pinned", "files"])
def test_a_pinned_dataset_needs_no_network_once_it_was_fetched(place: Place, offline: Ended, name: str) -> None:
    assert offline.ends[f"offline/{name}.parquet"] == 0
    assert rows_of(place.folder / "offline" / f"{name}.parquet") == ROWS


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        (
            "default.json",
            "hub model own/tiny: offline, and the config pins no commit; set `revision` to a 40-digit commit",
        ),
        ("default.parquet", "hub dataset own/rows: offline, and the config pins no commit; set `revision` to a"),
        (
            "no-commit.json",
            "hub model own/tiny: the hub cannot be reached (or HF_HUB_OFFLINE is set) and the cache does",
        ),
    ],
)
def test_offline_what_is_not_there_is_one_sentence(place: Place, offline: Ended, name: str, sentence: str) -> None:
    assert offline.ends[f"offline/{name}"].startswith(f"error: {sentence}")
    assert not (place.folder / "offline" / name).exists()


def test_offline_a_commit_that_was_not_fetched_is_not_taken_for_another(place: Place, offline: Ended) -> None:
    assert str(offline.ends["offline/no-commit.parquet"]).startswith("error: ")
    assert not (place.folder / "offline" / "no-commit.parquet").exists()


def test_a_hub_out_of_reach_is_one_sentence(place: Place) -> None:
    steps = {"unreached.json": model("own/tiny", 1), "unreached.parquet": source("own/rows")}
    ended = place.run(steps, HF_ENDPOINT="http://127.0.0.1:9")
    for end in ended.ends.values():
        assert end.startswith("error: hub ")
        assert "cannot be fetched (ConnectError" in end
        assert "\n" not in end


def test_no_token_is_said_or_written(place: Place, online: Ended, offline: Ended) -> None:
    written = [path for path in place.folder.rglob("*") if path.is_file() and "model" not in path.parts]
    assert len(written) > 10
    assert [path for path in written if TOKEN.encode() in path.read_bytes()] == []
    assert TOKEN not in online.said + offline.said
