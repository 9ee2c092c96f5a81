"""The published labelled sets of study B, from a hub and a bucket on loopback to examples.

huggingface_hub reads HF_ENDPOINT when it is imported, so the scripts run in processes of their own.
"""

import csv
import hashlib
import io
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from candor import provenance, tables
from candor.schemas.dataset import DATASET
from tests.hub_server import Hub, Repository

pytestmark = pytest.mark.slow
SCRIPTS = Path(__file__).parents[2] / "scripts"
RELEASE, COMMIT = "Arrrlex/models-under-pressure", "d" * 40
SETS = ("anthropic_hh", "mt", "mts", "toolace", "mental_health", "aya_redteaming")


def rows(name: str, n: int, start: int = 0, **fields: Any) -> list[dict[str, Any]]:
    """Rows with the columns of the release: dialogues as JSON, ids as text, ratings as text."""
    told = {"scale_label_confidence": "9", "scale_label_explanation": "…", "scale_label_model": "m"}
    made = []
    for i in range(start, start + n):
        turns = [{"role": "system", "content": "Help."}, {"role": "user", "content": f"{name} {i}"}]
        high = i % 2 == 0
        labels = {"labels": "high-stakes" if high else "low-stakes", "scale_labels": "9" if high else "2"}
        inputs = json.dumps(turns) if i % 3 else f"{name} {i}"
        made.append({"inputs": inputs, "ids": f"{name}_{i}", **labels, **told, **fields})
    return made


def jsonl(given: list[dict[str, Any]]) -> bytes:
    return "".join(json.dumps(row) + "\n" for row in given).encode()


def release() -> dict[str, bytes]:
    """The files of the release, by path."""
    files = {}
    for number, split in enumerate(("train", "test")):
        pairs = rows("synthetic", 6, start=6 * number, split=split, language="English", tone="casual", length="short")
        for i, row in enumerate(pairs):
            row["pair_id"] = f"p{number}{i // 2}"
        files[f"training/{split}.jsonl"] = jsonl(pairs)
    for name in SETS:
        dev = [] if name in ("mental_health", "aya_redteaming") else rows(name, 4)
        # one row of dev stands in the test set too, under a name of its own
        test = rows(name, 6, start=4) + [{**row, "ids": f"{name}_again"} for row in dev[:1]]
        for kind in ("balanced", "raw"):
            more = [{**rows(name, 1, start=20)[0], "labels": None, "scale_labels": None}] if kind == "raw" else []
            files[f"{name}_{kind}/test.jsonl"] = jsonl(test + more)
            if dev:
                files[f"{name}_{kind}/validation.jsonl"] = jsonl(dev)
    return files


class Place:
    """A folder in which scripts run, each in a process of its own."""

    def __init__(self, folder: Path, endpoint: str) -> None:
        self.folder = folder
        self._environment = {
            **os.environ,
            "HF_ENDPOINT": endpoint,
            "HF_HOME": str(folder / "hf"),
            "HF_HUB_OFFLINE": "0",
            "PYTHONPATH": str(SCRIPTS),
        }

    def run(self, script: str, spec: dict[str, Any], output: str, *arguments: Any) -> Path:
        """Run a script; its output's path."""
        command = [SCRIPTS / script, "--spec", json.dumps(spec), "--output", output, *arguments]
        ended = subprocess.run(
            [sys.executable, *map(str, command)],
            cwd=self.folder,
            env=self._environment,
            capture_output=True,
            text=True,
        )
        assert ended.returncode == 0, ended.stderr
        return self.folder / output

    def fetch(self, name: str, **source: Any) -> Path:
        return self.run("fetch_source.py", {"sources": source}, f"{name}.source.parquet")

    def build(self, name: str, source: Path, *arguments: Any, **recipe: Any) -> list[dict[str, Any]]:
        own = {"origin": "sources/s", "transform": "stakes_rows", **recipe}
        spec = {"datasets": own}
        path = self.run("build_dataset.py", spec, f"{name}.parquet", "--origin", source, *arguments)
        return list(tables.read(path, DATASET).to_pylist())


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    repository = Repository("dataset", RELEASE, {COMMIT: release()}, {"main": COMMIT})
    with Hub([repository]) as server:
        yield Place(tmp_path_factory.mktemp("release"), server.url)


def test_the_training_set_keeps_pairs_splits_and_variations(hub: Place) -> None:
    source = hub.fetch("synthetic", kind="hub", id=RELEASE, files=["training/train.jsonl", "training/test.jsonl"])
    assert provenance.read(source)["revision"] == COMMIT
    found = hub.build("synthetic", source)
    assert [row["split"] for row in found] == ["train"] * 6 + ["test"] * 6
    assert {row["group_id"] for row in found} == {f"p{split}{pair}" for split in (0, 1) for pair in range(3)}
    assert json.loads(found[0]["attributes"]) == {"language": "English", "length": "short", "tone": "casual"}
    assert [(row["label"], row["rating"]) for row in found[:2]] == [("high-stakes", 9.0), ("low-stakes", 2.0)]
    assert [len(row["messages"]) for row in found[:3]] == [1, 2, 2]


def test_the_test_set_leaves_out_what_stands_in_dev(hub: Place) -> None:
    dev = hub.fetch("mt-dev", kind="hub", id=RELEASE, files=["mt_balanced/validation.jsonl"])
    test = hub.fetch("mt-test", kind="hub", id=RELEASE, files=["mt_balanced/test.jsonl"])
    hub.build("mt-dev", dev, split="test")
    found = hub.build("mt-test", test, "--exclude", hub.folder / "mt-dev.parquet", exclude=["mt-dev"], split="test")
    assert [row["example_id"] for row in found] == [f"mt_{i}" for i in range(4, 10)]
    made = provenance.read(hub.folder / "mt-test.parquet")
    assert made["excluded"] == {"mt-dev": 1} and made["excluded_by"] == {"text": 1}
    assert len(made["inputs"]) == 2


def test_raw_sets_may_have_rows_without_a_label(hub: Place) -> None:
    source = hub.fetch("aya", kind="hub", id=RELEASE, files=["aya_redteaming_raw/test.jsonl"])
    found = hub.build("aya", source, split="test", options={"labels": "where given"})
    assert [row["label"] is None for row in found] == [False] * 6 + [True]
    bare = hub.build("aya-bare", source, split="test", options={"labels": "dropped"})
    assert {(row["label"], row["rating"]) for row in bare} == {(None, None)}


def test_the_bucket_gives_the_same_and_its_digests_are_recorded(hub: Place, tmp_path: Path) -> None:
    """Earlier versions lie in a bucket, as JSON Lines and, one of them, as CSV."""
    (tmp_path / "dev").mkdir()
    content = jsonl(rows("mt", 4))
    (tmp_path / "dev" / "mt_balanced_apr_30.jsonl").write_bytes(content)
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, list(rows("aya", 1)[0]))
    writer.writeheader()
    writer.writerows(rows("aya", 3))
    (tmp_path / "aya_redteaming_balanced.csv").write_text(text.getvalue(), encoding="utf-8", newline="")

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, format: str, *args: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=tmp_path))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        address = f"http://127.0.0.1:{server.server_port}"
        urls = [f"{address}/dev/mt_balanced_apr_30.jsonl"]
        source = hub.fetch("bucket", kind="url", urls=urls)
        digest = hashlib.sha256(content).hexdigest()
        assert provenance.read(source)["files"] == {urls[0]: digest}
        hub.fetch("pinned", kind="url", urls=urls, sha256=[digest])
        table = hub.fetch("csv", kind="url", urls=[f"{address}/aya_redteaming_balanced.csv"])
    finally:
        server.shutdown()
        server.server_close()
    found = hub.build("bucket", source, split="test")
    whole = hub.fetch("whole", kind="hub", id=RELEASE, files=["mt_balanced/validation.jsonl"])
    assert found == hub.build("whole", whole, split="test")
    assert [row["rating"] for row in hub.build("csv", table, split="test")] == [9.0, 2.0, 9.0]
