"""Tables and JSON: a broken contract is a sentence that names the place; a file is written whole or not at all."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from candor import provenance, tables
from candor.schemas.base import MESSAGES, Column, TableSchema
from candor.tables import TableError

SCRIPTS = Path(__file__).parents[2] / "scripts"
THING = TableSchema(
    "thing",
    {
        "id": Column(pa.string()),
        "layer": Column(pa.int32(), nullable=True),
        "kind": Column(pa.string(), nullable=True, choices=("probe", "baseline")),
        "score": Column(pa.float64(), nullable=True),
        "share": Column(pa.float64(), nullable=True, low=0, high=1),
        "messages": Column(MESSAGES, nullable=True),
    },
    key=("id", "layer"),
)


def row(id: str | None = "a", **values: Any) -> dict[str, Any]:
    return {"id": id, "layer": 3, "kind": "probe", "score": 0.5, "share": 1.0, "messages": None, **values}


def write_unchecked(path: Path, rows: list[dict[str, Any]]) -> None:
    """A file with the columns and types of the contract, and nothing else of it."""
    loose = pa.schema([(name, column.type) for name, column in THING.columns.items()])
    pq.write_table(pa.Table.from_pylist(rows, loose), path)


def rows_of(path: Path) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = tables.read(path, THING).to_pylist()
    return found


BROKEN = {
    "null": ([row(), row(None)], "column id, row 2: has no value"),
    "choice": ([row(), row("b", kind="api")], "column kind, row 2: 'api' is not one of probe, baseline"),
    "nan": ([row(), row("b"), row("c", score=np.nan)], "column score, row 3: nan is not a finite number"),
    "infinite": ([row(score=-np.inf)], "column score, row 1: -inf is not a finite number"),
    "low": ([row(share=-0.25)], "column share, row 1: -0.25 is below 0"),
    "high": ([row(share=0.0), row("b", share=1.5)], "column share, row 2: 1.5 is above 1"),
    "key": ([row(), row("b"), row(score=None)], "id 'a', layer 3 stands in more than one row"),
    "null in key": ([row(layer=None), row("b"), row(layer=None)], "id 'a', layer None stands in more than one row"),
}


class TestContract:
    def test_rows_come_back_as_they_went(self, tmp_path: Path) -> None:
        messages = [{"role": "user", "content": "¿Qué?\n"}]
        rows = [row(messages=messages), row("a", layer=None, kind=None, score=None, share=None), row("b", share=0.0)]
        tables.write(tmp_path / "t.parquet", rows, THING, {})
        assert rows_of(tmp_path / "t.parquet") == rows

    def test_a_table_without_rows_is_fine(self, tmp_path: Path) -> None:
        tables.write(tmp_path / "t.parquet", [], THING, {})
        assert tables.read(tmp_path / "t.parquet", THING).num_rows == 0

    @pytest.mark.parametrize(("rows", "sentence"), BROKEN.values(), ids=list(BROKEN))
    def test_a_broken_row_is_refused_when_written_and_when_read(
        self, tmp_path: Path, rows: list[dict[str, Any]], sentence: str
    ) -> None:
        path = tmp_path / "t.parquet"
        with pytest.raises(TableError) as writing:
            tables.write(path, rows, THING, {})
        assert not list(tmp_path.iterdir())
        write_unchecked(path, rows)
        with pytest.raises(TableError) as reading:
            tables.read(path, THING)
        assert str(writing.value) == str(reading.value) == f"{path}: {sentence}."

    @pytest.mark.parametrize(
        ("values", "sentence"),
        [
            ({"score": "high"}, "column score, row 2: is not double"),
            ({"layer": 2.5}, "column layer, row 2: is not int32"),
            ({"layer": 2**40}, "column layer, row 2: is not int32"),
            ({"id": 7}, "column id, row 2: is not string"),
            ({"messages": "hello"}, "column messages, row 2: is not list"),
        ],
    )
    def test_a_value_of_another_type_is_refused_when_written(
        self, tmp_path: Path, values: dict[str, Any], sentence: str
    ) -> None:
        with pytest.raises(TableError) as error:
            tables.write(tmp_path / "t.parquet", [row(), row("b") | values], THING, {})
        assert str(error.value).startswith(f"{tmp_path / 't.parquet'}: {sentence}")

    def test_a_column_of_another_type_is_refused_when_read(self, tmp_path: Path) -> None:
        table = pa.Table.from_pylist([row()], THING.arrow())
        pq.write_table(table.set_column(1, "layer", pa.array([3], pa.int64())), tmp_path / "t.parquet")
        with pytest.raises(TableError, match=r"t\.parquet: column layer is int64, not int32\.$"):
            tables.read(tmp_path / "t.parquet", THING)

    @pytest.mark.parametrize(
        ("change", "sentence"),
        [
            (lambda r: r.pop("kind"), "missing: kind; not known: none"),
            (lambda r: r.update(extra=1), "missing: none; not known: extra"),
            (lambda r: r.update(labels=r.pop("kind")), "missing: kind; not known: labels"),
        ],
    )
    def test_a_missing_or_another_column_is_refused(
        self, tmp_path: Path, change: Callable[[dict[str, Any]], object], sentence: str
    ) -> None:
        path, wrong = tmp_path / "t.parquet", row("b")
        change(wrong)
        with pytest.raises(TableError, match=rf"t\.parquet, row 2: a thing table has the columns .*{sentence}"):
            tables.write(path, [row(), wrong], THING, {})
        with pytest.raises(TableError, match=rf"t\.parquet: a thing table has the columns .*{sentence}"):
            tables.write(path, pa.Table.from_pylist([wrong]), THING, {})
        assert not list(tmp_path.iterdir())
        pq.write_table(pa.Table.from_pylist([wrong]), path)
        with pytest.raises(TableError, match=rf"t\.parquet: a thing table has the columns .*{sentence}"):
            tables.read(path, THING)

    def test_an_arrow_table_is_cast_to_the_contract(self, tmp_path: Path) -> None:
        table = pa.Table.from_pylist([row()]).select(["share", "score", "kind", "layer", "id", "messages"])
        assert table.schema.field("layer").type == pa.int64()
        tables.write(tmp_path / "t.parquet", table, THING, {})
        assert rows_of(tmp_path / "t.parquet") == [row()]
        assert tables.read(tmp_path / "t.parquet", THING).schema.names == list(THING.columns)

    def test_an_arrow_table_that_cannot_be_cast_is_refused(self, tmp_path: Path) -> None:
        table = pa.Table.from_pylist([row(score="high")])
        with pytest.raises(TableError, match=r"t\.parquet: does not fit the thing table: .*high"):
            tables.write(tmp_path / "t.parquet", table, THING, {})


class TestDamage:
    @pytest.fixture
    def path(self, tmp_path: Path) -> Path:
        tables.write(tmp_path / "t.parquet", [row(str(i), score=i / 3) for i in range(100)], THING, {"code": "c"})
        return tmp_path / "t.parquet"

    def test_a_file_that_is_not_there(self, tmp_path: Path) -> None:
        with pytest.raises(TableError, match=r"t\.parquet: no such file\.$"):
            tables.read(tmp_path / "t.parquet", THING)

    @pytest.mark.parametrize("content", [b"", b"PAR1", b"id,score\na,1\n", b"PAR1" + bytes(100) + b"PAR1"])
    def test_a_file_that_is_something_else(self, tmp_path: Path, content: bytes) -> None:
        (tmp_path / "t.parquet").write_bytes(content)
        with pytest.raises(TableError, match=r"t\.parquet: not a readable parquet file \(.*delete it to make it again"):
            tables.read(tmp_path / "t.parquet", THING)

    def test_a_file_that_is_cut_off_anywhere(self, path: Path) -> None:
        content = path.read_bytes()
        for length in range(0, len(content), 37):
            path.write_bytes(content[:length])
            with pytest.raises(TableError, match="not a readable parquet file"):
                tables.read(path, THING)

    def test_a_changed_bit_is_an_error_or_changes_nothing(self, path: Path) -> None:
        """Data pages carry checksums; without them every fifth changed bit gave other numbers and no error."""
        content, rows = path.read_bytes(), rows_of(path)
        refused = 0
        for at in range(0, len(content), 7):
            path.write_bytes(content[:at] + bytes([content[at] ^ 1 << at % 8]) + content[at + 1 :])
            try:
                assert rows_of(path) == rows, at
            except TableError:
                refused += 1
        assert refused > len(content) / 7 / 2


class TestWholeOrNot:
    def test_the_same_rows_are_the_same_bytes(self, tmp_path: Path) -> None:
        for name in "ab":
            tables.write(tmp_path / name, [row(), row("b")], THING, {"b": 1, "a": 2})
        assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()

    def test_provenance_stands_inside(self, tmp_path: Path) -> None:
        tables.write(tmp_path / "t.parquet", [row()], THING, {"code": "c", "n": 3})
        assert provenance.read(tmp_path / "t.parquet") == {"code": "c", "n": 3}

    def test_folders_are_made(self, tmp_path: Path) -> None:
        tables.write(tmp_path / "results" / "scores" / "t.parquet", [row()], THING, {})
        assert rows_of(tmp_path / "results" / "scores" / "t.parquet") == [row()]

    def test_a_refused_write_leaves_the_old_file(self, tmp_path: Path) -> None:
        tables.write(tmp_path / "t.parquet", [row()], THING, {})
        before = (tmp_path / "t.parquet").read_bytes()
        with pytest.raises(TableError):
            tables.write(tmp_path / "t.parquet", [row(share=7.0)], THING, {})
        assert [path.name for path in tmp_path.iterdir()] == ["t.parquet"]
        assert (tmp_path / "t.parquet").read_bytes() == before

    def test_a_disk_that_fills_up_leaves_the_old_file(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        tables.write(tmp_path / "t.parquet", [row()], THING, {})

        def full(table: pa.Table, path: Path, **options: Any) -> None:
            path.write_bytes(b"PAR1 half of")
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(tables.pq, "write_table", full)
        with pytest.raises(OSError, match="No space left"):
            tables.write(tmp_path / "t.parquet", [row("b")], THING, {})
        assert [path.name for path in tmp_path.iterdir()] == ["t.parquet"]
        assert rows_of(tmp_path / "t.parquet") == [row()]

    def test_a_draft_takes_its_place_at_the_end_only(self, tmp_path: Path) -> None:
        path = tmp_path / "new" / "figure.pdf"
        with tables.draft(path) as temporary:
            temporary.write_text("half")
            assert temporary.parent == path.parent and temporary.name.startswith(".")
            assert not path.exists()
        assert path.read_text() == "half" and list(path.parent.iterdir()) == [path]

    def test_a_draft_that_fails_is_gone(self, tmp_path: Path) -> None:
        (tmp_path / "figure.pdf").write_text("old")
        with pytest.raises(KeyboardInterrupt), tables.draft(tmp_path / "figure.pdf") as temporary:
            temporary.write_text("half")
            raise KeyboardInterrupt
        assert [path.name for path in tmp_path.iterdir()] == ["figure.pdf"]
        assert (tmp_path / "figure.pdf").read_text() == "old"

    def test_two_processes_draft_the_same_file_apart(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        names = set()
        for process in (1, 2):
            monkeypatch.setattr(os, "getpid", lambda process=process: process)
            with tables.draft(tmp_path / "t") as temporary:
                temporary.write_text("")
                names.add(temporary)
        assert len(names) == 2

    def test_a_job_that_is_killed_leaves_the_old_file(self, tmp_path: Path) -> None:
        path = tmp_path / "t.json"
        tables.write_json(path, {"a": 1}, {})
        program = (
            "import os, signal, sys; from pathlib import Path; from candor.tables import draft\n"
            "with draft(Path(sys.argv[1])) as temporary:\n"
            "    temporary.write_text('half')\n"
            "    os.kill(os.getpid(), signal.SIGKILL)\n"
        )
        done = subprocess.run(
            [sys.executable, "-c", program, path], env=os.environ | {"PYTHONPATH": str(SCRIPTS)}, check=False
        )
        assert done.returncode == -signal.SIGKILL
        assert tables.read_json(path)["a"] == 1
        tables.write_json(path, {"a": 2}, {})
        assert tables.read_json(path)["a"] == 2


class TestJson:
    def test_an_object_comes_back_with_its_provenance(self, tmp_path: Path) -> None:
        value: Mapping[str, Any] = {"z": [1, None, 0.1], "a": "über"}
        tables.write_json(tmp_path / "x.json", value, {"code": "c"})
        assert tables.read_json(tmp_path / "x.json") == {**value, "provenance": {"code": "c"}}
        assert "über" in (tmp_path / "x.json").read_text(encoding="utf-8")

    @pytest.mark.parametrize("number", [float("nan"), float("inf")])
    def test_what_json_cannot_say_is_not_written(self, tmp_path: Path, number: float) -> None:
        with pytest.raises(ValueError, match="JSON"):
            tables.write_json(tmp_path / "x.json", {"a": number}, {})
        assert not list(tmp_path.iterdir())

    @pytest.mark.parametrize(
        ("content", "sentence"),
        [
            (b"", "not valid JSON"),
            (b'{"a": 1', "not valid JSON"),
            (b'{"a": "\xff"}', "not valid JSON"),
            (json.dumps([["a", 1]]).encode(), "is JSON, but not an object"),
            (b"null", "is JSON, but not an object"),
        ],
    )
    def test_anything_else_is_one_sentence(self, tmp_path: Path, content: bytes, sentence: str) -> None:
        (tmp_path / "x.json").write_bytes(content)
        with pytest.raises(TableError, match=rf"x\.json: {sentence}.*delete it to make it again"):
            tables.read_json(tmp_path / "x.json")

    def test_a_file_that_is_not_there(self, tmp_path: Path) -> None:
        with pytest.raises(TableError, match=r"x\.json: no such file\.$"):
            tables.read_json(tmp_path / "x.json")
