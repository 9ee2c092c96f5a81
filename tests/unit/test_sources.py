"""Sources: raw rows of files of several kinds, pinned by digest, and what is wrong with a file that cannot be read."""

import gzip
import hashlib
import http.client
import io
import json
import urllib.error
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pydantic import ValidationError

from candor import sources
from candor.config.sources import HubSource, LocalSource, ResourceSource, UrlSource
from candor.sources import Fetched, SourceError, fetch, local_files

ROWS = [{"id": 1, "text": "first"}, {"id": 2, "text": "zweite Zeile, é"}]
LINES = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in ROWS).encode()


def local(path: Path, content: bytes) -> Fetched:
    """Fetch one local file of this content."""
    path.write_bytes(content)
    return fetch(LocalSource(kind="local", files=[str(path)]))


def fields(fetched: Fetched) -> list[Any]:
    return [json.loads(row["row"]) for row in fetched.rows]


class TestFiles:
    @pytest.mark.parametrize(
        ("name", "content"),
        [
            ("rows.jsonl", LINES),
            ("rows.jsonl", b"\xef\xbb\xbf" + LINES.replace(b"\n", b"\r\n\r\n")),
            ("rows.json", json.dumps(ROWS).encode()),
            ("rows.jsonl.gz", gzip.compress(LINES, mtime=0)),
        ],
    )
    def test_rows_come_as_they_are(self, tmp_path: Path, name: str, content: bytes) -> None:
        assert fields(local(tmp_path / name, content)) == ROWS

    def test_parquet(self, tmp_path: Path) -> None:
        pq.write_table(pa.Table.from_pylist(ROWS), tmp_path / "rows.parquet")
        assert fields(local(tmp_path / "rows.parquet", (tmp_path / "rows.parquet").read_bytes())) == ROWS

    def test_csv_fields_are_text_of_any_length(self, tmp_path: Path) -> None:
        long = "word " * 40_000
        found = fields(local(tmp_path / "rows.csv", f'id,text\n1,"two\nlines, {long}"\n'.encode()))
        assert found == [{"id": "1", "text": f"two\nlines, {long}"}]

    def test_one_json_object_is_one_row(self, tmp_path: Path) -> None:
        assert fields(local(tmp_path / "row.json", b'{"id": 1}')) == [{"id": 1}]

    def test_a_line_separator_inside_a_text_ends_no_row(self, tmp_path: Path) -> None:
        assert fields(local(tmp_path / "rows.jsonl", '{"text": "a\u2028b"}\n'.encode())) == [{"text": "a\u2028b"}]

    @pytest.mark.parametrize("name", ["eval_aware.txt", "eval_aware.txt.gz"])
    def test_a_text_file_has_a_row_a_line_that_names_the_file(self, tmp_path: Path, name: str) -> None:
        content = "\ufeffIs it safe? \r\n\n  Größer als 3,\u202814?\n".encode()
        found = local(tmp_path / name, gzip.compress(content, mtime=0) if name.endswith(".gz") else content)
        assert fields(found) == [
            {"text": "Is it safe?", "file": "eval_aware"},
            {"text": "Größer als 3,\u202814?", "file": "eval_aware"},
        ]
        assert [row["origin"].rsplit(":", 1)[1] for row in found.rows] == ["1", "2"]

    def test_each_row_knows_where_it_stood_and_each_file_its_digest(self, tmp_path: Path) -> None:
        first, second = tmp_path / "a.jsonl", tmp_path / "b.jsonl"
        first.write_bytes(LINES)
        second.write_bytes(LINES)
        fetched = fetch(LocalSource(kind="local", files=[str(first), str(second)]))
        assert [row["origin"] for row in fetched.rows] == [f"{first}:1", f"{first}:2", f"{second}:1", f"{second}:2"]
        assert fetched.sha256[str(first)] == hashlib.sha256(LINES).hexdigest() and fetched.revision is None

    @pytest.mark.parametrize(
        ("name", "content", "message"),
        [
            ("rows.jsonl", b'{"id": 1}\n{"id": \n', "line 2: not valid JSON"),
            ("rows.jsonl", b"[1]\n", "line 1: holds a list, not an object"),
            ("rows.json", b'[{"id": 1}, "text"]', "row 2: holds a str, not an object"),
            ("rows.json", b"[", "not valid JSON"),
            ("rows.jsonl", b'{"a": "\xff"}', "not UTF-8 text .byte 7"),
            ("rows.csv", b"a,b\n1,2\n3\n", "line 3: has not as many fields as the first line names"),
            ("rows.csv", b"a,b\n1,2,3\n", "line 2: has not as many fields"),
            ("rows.jsonl.gz", gzip.compress(LINES, mtime=0)[:-9], "not a whole gzip file"),
            ("rows.jsonl.gz", gzip.compress(LINES, mtime=0)[:12] + b"\xff" * 40, "not a whole gzip file"),
            ("rows.jsonl.gz", LINES, "not a whole gzip file"),
            ("rows.parquet", b"PAR1 and no more", "not a whole parquet file"),
            ("rows.doc", b"text", "unknown kind of file; give .parquet, .jsonl"),
            ("normal.txt", b" \n\n", "the source holds no rows"),
            ("rows.jsonl", b"\n", "the source holds no rows"),
        ],
    )
    def test_what_cannot_be_read_is_one_sentence(self, tmp_path: Path, name: str, content: bytes, message: str) -> None:
        with pytest.raises(SourceError, match=message):
            local(tmp_path / name, content)

    def test_a_value_that_is_not_json_is_named(self, tmp_path: Path) -> None:
        pq.write_table(pa.table({"raw": [b"\x00\x01"]}), tmp_path / "rows.parquet")
        with pytest.raises(SourceError, match=r"rows\.parquet:1: holds something that is not text"):
            local(tmp_path / "rows.parquet", (tmp_path / "rows.parquet").read_bytes())


class TestPaths:
    def test_the_environment_may_name_the_folder(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        (tmp_path / "rows.jsonl").write_bytes(LINES)
        monkeypatch.setenv("SOME_FOLDER", str(tmp_path))
        for file in ("$SOME_FOLDER/rows.jsonl", "${SOME_FOLDER}/rows.jsonl"):
            fetched = fetch(LocalSource(kind="local", files=[file]))
            assert fields(fetched) == ROWS and fetched.rows[0]["origin"] == f"{file}:1"

    def test_a_variable_that_is_not_set_is_named(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.delenv("SOME_FOLDER", raising=False)
        with pytest.raises(SourceError, match="the environment has no SOME_FOLDER; set it"):
            fetch(LocalSource(kind="local", files=["$SOME_FOLDER/rows.jsonl"]))

    def test_a_missing_file_is_named(self, tmp_path: Path) -> None:
        with pytest.raises(SourceError, match=r"none\.jsonl: cannot be read .*check the path"):
            fetch(LocalSource(kind="local", files=[str(tmp_path / "none.jsonl")]))

    def test_resources_lie_in_the_project(self) -> None:
        assert local_files(ResourceSource(kind="resources", files=["a/b.jsonl"]).model_dump()) == [
            "resources/a/b.jsonl"
        ]
        assert local_files(UrlSource(kind="url", urls=["https://example.org/a.jsonl"]).model_dump()) == []


class TestUrls:
    URL = "https://example.org/data/rows.jsonl?download=1"

    @pytest.fixture
    def web(self, monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[str]]:
        """Say what the web answers, in order: bytes, or an error to raise; gives the addresses asked."""

        def answer(*replies: bytes | Exception) -> list[str]:
            asked: list[str] = []

            def urlopen(url: str, timeout: float) -> io.BytesIO:
                reply = replies[len(asked)]
                asked.append(url)
                if isinstance(reply, Exception):
                    raise reply
                return io.BytesIO(reply)

            monkeypatch.setattr(sources.urllib.request, "urlopen", urlopen)
            monkeypatch.setattr(sources, "RETRY_WAITS_S", (0, 0))
            return asked

        return answer

    def test_a_download_is_pinned_by_its_digest(self, web: Callable[..., list[str]]) -> None:
        web(LINES)
        digest = hashlib.sha256(LINES).hexdigest()
        fetched = fetch(UrlSource(kind="url", urls=[self.URL], sha256=[digest]))
        assert fields(fetched) == ROWS and fetched.sha256 == {self.URL: digest}

    def test_another_content_stops_with_both_digests(self, web: Callable[..., list[str]]) -> None:
        web(LINES)
        with pytest.raises(
            SourceError, match=f"has sha256 {hashlib.sha256(LINES).hexdigest()}, but the config says 0000"
        ):
            fetch(UrlSource(kind="url", urls=[self.URL], sha256=["0" * 64]))

    def test_a_passing_failure_is_tried_again(self, web: Callable[..., list[str]]) -> None:
        asked = web(http.client.IncompleteRead(b"{"), urllib.error.URLError("timed out"), LINES)
        assert fields(fetch(UrlSource(kind="url", urls=[self.URL]))) == ROWS and len(asked) == 3

    def test_a_lasting_failure_is_one_sentence_at_once(self, web: Callable[..., list[str]]) -> None:
        asked = web(urllib.error.HTTPError(self.URL, 404, "Not Found", http.client.HTTPMessage(), None))
        with pytest.raises(SourceError, match=r"cannot be downloaded \(Not Found\)"):
            fetch(UrlSource(kind="url", urls=[self.URL]))
        assert len(asked) == 1

    @pytest.mark.parametrize(
        ("keys", "message"),
        [
            ({"urls": ["ftp://example.org/a.jsonl"]}, "is not an http or https address"),
            ({"urls": ["https://me:secret@example.org/a.jsonl"]}, "example.org holds credentials"),
            ({"urls": ["https://example.org/a.jsonl"], "sha256": ["0" * 64] * 2}, "1 urls and 2 digests"),
        ],
    )
    def test_the_config_refuses(self, keys: dict[str, Any], message: str) -> None:
        with pytest.raises(ValidationError, match=message):
            UrlSource.model_validate({"kind": "url", **keys})


class TestHub:
    COMMIT = "c" * 40

    def source(self, **keys: Any) -> HubSource:
        return HubSource(kind="hub", id="owner/set", revision=self.COMMIT, files=["data/rows.jsonl"], **keys)

    def test_files_of_a_pinned_commit(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        (tmp_path / "rows.jsonl").write_bytes(LINES)
        asked = []

        def download(id: str, file: str, repo_type: str, revision: str) -> str:
            asked.append((id, file, repo_type, revision))
            return str(tmp_path / "rows.jsonl")

        monkeypatch.setattr("huggingface_hub.hf_hub_download", download)
        fetched = fetch(self.source())
        assert asked == [("owner/set", "data/rows.jsonl", "dataset", self.COMMIT)]
        assert fields(fetched) == ROWS and fetched.revision == self.COMMIT

    def test_a_refusal_is_one_sentence(self, monkeypatch: pytest.MonkeyPatch) -> None:
        from huggingface_hub.errors import LocalEntryNotFoundError

        def download(*_: Any, **__: Any) -> str:
            raise LocalEntryNotFoundError("no network")

        monkeypatch.setattr("huggingface_hub.hf_hub_download", download)
        with pytest.raises(
            SourceError, match=r"hub dataset owner/set, file data/rows\.jsonl: the hub cannot be reached"
        ):
            fetch(self.source())
