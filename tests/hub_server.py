"""A small Hugging Face hub on loopback, with repositories held in memory, for tests without the network.

It speaks what huggingface_hub 2 and datasets 5 ask for when they fetch a repository: its description, its tree, facts
of some paths, and files. Start it with `with Hub([Repository(...)]) as hub`, and give its `url` as HF_ENDPOINT.
"""

import hashlib
import json
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from urllib.parse import parse_qs, unquote, urlsplit


@dataclass
class Repository:
    """A `model` or `dataset`: commit -> path -> content; `branches` name commits, main among them."""

    kind: str
    id: str
    commits: Mapping[str, Mapping[str, bytes]]
    branches: dict[str, str]
    gated: bool = False

    def files(self, revision: str) -> tuple[str, Mapping[str, bytes]] | None:
        """The commit of a revision and its files."""
        commit = self.branches.get(revision, revision)
        return (commit, self.commits[commit]) if commit in self.commits else None


class Hub:
    """The server; `requests` holds method and path of all that was asked, in order."""

    def __init__(self, repositories: Sequence[Repository]) -> None:
        self.repositories = {(repository.kind, repository.id): repository for repository in repositories}
        self.requests: list[str] = []
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> "Hub":
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        self._server.shutdown()
        self._server.server_close()


class _Refusal(Exception):
    """An answer without content: HTTP status, and the hub's own name of the reason."""

    def __init__(self, status: int, code: str) -> None:
        self.status, self.code = status, code


class _Request(BaseHTTPRequestHandler):
    hub: Hub

    def do_GET(self) -> None:
        self._answer()

    def do_HEAD(self) -> None:
        self._answer()

    def do_POST(self) -> None:
        self._answer()

    def _answer(self) -> None:
        self.hub.requests.append(f"{self.command} {self.path}")
        asked = self.rfile.read(int(self.headers.get("Content-Length", 0))).decode()
        headers = {}
        try:
            address = urlsplit(self.path)
            parts = [unquote(part) for part in address.path.strip("/").split("/")]
            if parts[0] == "api":
                query = parse_qs(address.query if self.command == "GET" else asked)
                status, content = 200, json.dumps(self._api(parts[1:], query)).encode()
            else:
                status, content, headers = self._file(parts)
        except _Refusal as refusal:
            status, content, headers = refusal.status, b"", {"X-Error-Code": refusal.code}
        self.send_response(status)
        for name, value in {"Content-Length": str(len(content)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def _api(self, parts: Sequence[str], query: Mapping[str, Sequence[str]]) -> object:
        """api/models/OWNER/NAME, then nothing, or revision/R, tree/R/FOLDER or paths-info/R."""
        repository = self._repository(parts[0].removesuffix("s"), "/".join(parts[1:3]))
        what, revision, *folder = [*parts[3:], *("revision", "main")[len(parts) - 3 :]]
        commit, files = self._files(repository, revision)
        if what == "revision":
            siblings = [{"rfilename": path} for path in sorted(files)]
            tags: list[str] = []
            return {
                "_id": "0",
                "id": repository.id,
                "sha": commit,
                "siblings": siblings,
                "tags": tags,
                "private": False,
            }
        if repository.gated:
            raise _Refusal(403, "GatedRepo")
        if what == "tree":
            return _tree(files, "/".join(folder), recursive=query.get("recursive") == ["true"])
        if what == "paths-info":
            return [entry for entry in _tree(files, "", recursive=True) if entry["path"] in query.get("paths", [])]
        raise _Refusal(404, "EntryNotFound")

    def _file(self, parts: Sequence[str]) -> tuple[int, bytes, dict[str, str]]:
        """[datasets/]OWNER/NAME/resolve/REVISION/PATH."""
        kind, rest = ("dataset", parts[1:]) if parts[0] == "datasets" else ("model", parts)
        repository = self._repository(kind, "/".join(rest[:2]))
        commit, files = self._files(repository, rest[3] if len(rest) > 3 else "main")
        if repository.gated:
            raise _Refusal(403, "GatedRepo")
        path = "/".join(rest[4:])
        if path not in files:
            raise _Refusal(404, "EntryNotFound")
        content, status = files[path], 200
        headers = {"ETag": f'"{_oid(content)}"', "X-Repo-Commit": commit, "Accept-Ranges": "bytes"}
        if asked := self.headers.get("Range"):
            start, _, end = asked.removeprefix("bytes=").partition("-")
            headers["Content-Range"] = f"bytes {start}-{end or len(content) - 1}/{len(content)}"
            content, status = content[int(start) : int(end) + 1 if end else None], 206
        return status, content, headers

    def _repository(self, kind: str, id: str) -> Repository:
        if (kind, id) not in self.hub.repositories:
            raise _Refusal(404, "RepoNotFound")
        return self.hub.repositories[kind, id]

    def _files(self, repository: Repository, revision: str) -> tuple[str, Mapping[str, bytes]]:
        found = repository.files(revision)
        if found is None:
            raise _Refusal(404, "RevisionNotFound")
        return found

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing; `Hub.requests` holds it."""


def _handler(hub: Hub) -> type[_Request]:
    return type("_HubRequest", (_Request,), {"hub": hub})


def _tree(files: Mapping[str, bytes], folder: str, recursive: bool) -> list[dict[str, object]]:
    """Files and folders below a folder, or, if not recursive, those right in it."""
    start = f"{folder}/" if folder else ""
    inside = [path for path in files if path.startswith(start)]
    if folder and not inside:
        raise _Refusal(404, "EntryNotFound")
    folders = {path[:at] for path in inside for at, letter in enumerate(path) if letter == "/" and at > len(folder)}
    entries: list[dict[str, object]] = [
        {"type": "directory", "path": path, "size": 0, "oid": _oid(path.encode())} for path in folders
    ]
    entries += [{"type": "file", "path": path, "size": len(files[path]), "oid": _oid(files[path])} for path in inside]
    found = [entry for entry in entries if recursive or "/" not in str(entry["path"]).removeprefix(start)]
    return sorted(found, key=lambda entry: str(entry["path"]))


def _oid(content: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()
