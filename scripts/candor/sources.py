"""Raw rows from the project's own files, this machine, the web or the Hugging Face hub, kept as they came.

Each row is stored as JSON beside the place it came from, so that sources of any shape fit one table, and a transform
can name the row that it cannot read.
"""

import csv
import gzip
import hashlib
import http.client
import io
import json
import os
import re
import sys
import tempfile
import time
import urllib.error
import urllib.parse
import urllib.request
import zlib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from candor.config.sources import HubSource, Source, UrlSource
from candor.errors import CandorError
from candor.hub import reason, refusals, resolve

RESOURCES = Path("resources")
TIMEOUT_S = 60
RETRY_WAITS_S = (1.0, 4.0)


class SourceError(CandorError):
    """A source cannot be read; the message says which, why, and what to do."""


class Fetched(NamedTuple):
    """Rows of a source, and what pins them: `revision` (hub) and `sha256` of each file read."""

    rows: list[dict[str, str]]
    revision: str | None
    sha256: dict[str, str]


def fetch(source: Source) -> Fetched:
    """All rows of a source; SourceError when it is missing, empty, changed or unreadable."""
    if isinstance(source, HubSource):
        fetched = _hub_files(source) if source.files else _hub_dataset(source)
    elif isinstance(source, UrlSource):
        fetched = _from_files(_download(url, i, source) for i, url in enumerate(source.urls))
    else:
        paths = local_files(source.model_dump())
        fetched = _from_files((name, _local_bytes(Path(path))) for name, path in zip(source.files, paths, strict=True))
    if not fetched.rows:
        raise SourceError("the source holds no rows")
    return fetched


def local_files(source: Mapping[str, Any]) -> list[str]:
    """The files of a source's config that lie on this machine, as the workflow's inputs; none for other kinds."""
    if source["kind"] == "resources":
        return [str(RESOURCES / file) for file in source["files"]]
    return [_expanded(file) for file in source["files"]] if source["kind"] == "local" else []


def _expanded(path: str) -> str:
    def value(match: re.Match[str]) -> str:
        name = match[1] or match[2]
        if name not in os.environ:
            raise SourceError(f"{path}: the environment has no {name}; set it to the folder that holds the data")
        return os.environ[name]

    return re.sub(r"\$(?:\{(\w+)\}|(\w+))", value, os.path.expanduser(path))


def _local_bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise SourceError(f"{path}: cannot be read ({error.strerror}); check the path in the config") from None


def _download(url: str, index: int, source: UrlSource) -> tuple[str, bytes]:
    content = _bytes_of(url)
    found = hashlib.sha256(content).hexdigest()
    if source.sha256 and found != source.sha256[index]:
        raise SourceError(
            f"{url}: has sha256 {found}, but the config says {source.sha256[index]}; it has changed or was cut off"
        )
    return url, content


def _bytes_of(url: str) -> bytes:
    for wait in (*RETRY_WAITS_S, None):
        try:
            with urllib.request.urlopen(url, timeout=TIMEOUT_S) as reply:
                return bytes(reply.read())
        except (OSError, http.client.HTTPException) as error:
            lasting = isinstance(error, urllib.error.HTTPError) and error.code not in (408, 429) and error.code < 500
            if wait is None or lasting:
                raise SourceError(f"{url}: cannot be downloaded ({getattr(error, 'reason', error)})") from None
        time.sleep(wait)
    raise AssertionError("unreachable")


def _from_files(files: Iterable[tuple[str, bytes]]) -> Fetched:
    rows, digests = [], {}
    for name, content in files:
        digests[name] = hashlib.sha256(content).hexdigest()
        path = urllib.parse.urlsplit(name).path if "://" in name else name
        file = path.rsplit("/", 1)[-1]
        rows += [_row(f"{name}:{i}", row) for i, row in enumerate(_parsed(name, file, content), start=1)]
    return Fetched(rows, None, digests)


def _parsed(name: str, file: str, content: bytes) -> Iterator[Mapping[str, Any]]:
    if file.endswith(".gz"):
        try:
            content = gzip.decompress(content)
        except (OSError, EOFError, zlib.error) as error:
            raise SourceError(f"{name}: not a whole gzip file ({error})") from None
        file = file.removesuffix(".gz")
    if file.endswith(".parquet"):
        yield from _parquet(name, content)
        return
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise SourceError(f"{name}: not UTF-8 text (byte {error.start})") from None
    if file.endswith(".csv"):
        yield from _csv(name, text)
    elif file.endswith(".jsonl"):
        for number, line in enumerate(io.StringIO(text), start=1):
            if line.strip():
                yield _json_object(f"{name} line {number}", line)
    elif file.endswith(".json"):
        try:
            rows = json.loads(text)
        except ValueError as error:
            raise SourceError(f"{name}: not valid JSON ({error})") from None
        for number, row in enumerate(rows if isinstance(rows, list) else [rows], start=1):
            yield _object(f"{name} row {number}", row)
    elif file.endswith(".txt"):
        stem = file.removesuffix(".txt")
        yield from ({"text": line.strip(), "file": stem} for line in io.StringIO(text) if line.strip())
    else:
        raise SourceError(f"{name}: unknown kind of file; give .parquet, .jsonl, .json, .csv or .txt, each also as .gz")


def _json_object(where: str, line: str) -> dict[str, Any]:
    try:
        row = json.loads(line)
    except ValueError as error:
        raise SourceError(f"{where}: not valid JSON ({error})") from None
    return _object(where, row)


def _object(where: str, row: Any) -> dict[str, Any]:
    if not isinstance(row, dict):
        raise SourceError(f"{where}: holds a {type(row).__name__}, not an object")
    return row


def _csv(name: str, text: str) -> Iterator[Mapping[str, Any]]:
    csv.field_size_limit(sys.maxsize)  # the default refuses transcripts of more than 128 KiB
    reader = csv.DictReader(io.StringIO(text, newline=""))
    try:
        for row in reader:
            if None in row or None in row.values():
                raise SourceError(f"{name} line {reader.line_num}: has not as many fields as the first line names")
            yield row
    except csv.Error as error:
        raise SourceError(f"{name} line {reader.line_num}: not valid CSV ({error})") from None


def _parquet(name: str, content: bytes) -> Iterator[Mapping[str, Any]]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        yield from pq.read_table(io.BytesIO(content)).to_pylist()
    except pa.ArrowException as error:
        raise SourceError(f"{name}: not a whole parquet file ({error})") from None


def _hub_files(source: HubSource) -> Fetched:
    from huggingface_hub import hf_hub_download

    revision = resolve("dataset", source.id, source.revision, SourceError)

    def content(file: str) -> tuple[str, bytes]:
        try:
            path = hf_hub_download(source.id, file, repo_type="dataset", revision=revision)
        except refusals() as error:
            raise SourceError(f"hub dataset {source.id}, file {file}: {reason(error)}") from None
        return file, Path(path).read_bytes()

    fetched = _from_files(content(file) for file in source.files or [])
    return fetched._replace(revision=revision)


def _hub_dataset(source: HubSource) -> Fetched:
    from datasets import load_dataset
    from datasets.exceptions import DatasetsError

    revision = resolve("dataset", source.id, source.revision, SourceError)
    try:
        data = load_dataset(source.id, name=source.config, split=source.split, revision=revision)
    except (DatasetsError, ValueError, *refusals()) as error:
        raise SourceError(f"hub dataset {source.id}, split {source.split}: {reason(error)}") from None
    cached = {Path(file["filename"]).parent.name for file in data.cache_files}
    if cached != {revision}:  # offline, datasets takes the latest version that its cache holds for any other
        held = ", ".join(sorted(cached)) or "nothing"
        raise SourceError(f"hub dataset {source.id}: the cache holds {held}, not {revision}; fetch it online once")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "rows.jsonl")
        data.to_json(path, force_ascii=False)
        with path.open(encoding="utf-8") as lines:
            rows = [_row(f"{source.split}:{i}", json.loads(line)) for i, line in enumerate(lines, start=1)]
    return Fetched(rows, revision, {})


def _row(origin: str, row: Mapping[str, Any]) -> dict[str, str]:
    try:
        return {"origin": origin, "row": json.dumps(row, ensure_ascii=False, sort_keys=True)}
    except TypeError as error:
        raise SourceError(f"{origin}: holds something that is not text, number, list or object ({error})") from None
