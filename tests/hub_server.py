"""A small Hugging Face hub on loopback, with repositories held in memory, for tests without the network.

It speaks what huggingface_hub 2 and datasets 5 ask for when they fetch a repository (its description, its tree, facts
of some paths, and files) and when they send to one: making it, the check of its card, which files go apart as large
ones (all that hold a zero byte), the store of these by their digest, and commits. Start it with
`with Hub([Repository(...)]) as hub`, and give its `url` as HF_ENDPOINT; HF_HUB_DISABLE_XET=1, since the newer store is
not spoken here. `tokens` say who may write to which owners' repositories; the private ones are shown to them alone.
"""

import base64
import hashlib
import json
import re
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit


@dataclass
class Repository:
    """A `model` or `dataset`: commit -> path -> content; `branches` name commits, main among them."""

    kind: str
    id: str
    commits: dict[str, Mapping[str, bytes]]
    branches: dict[str, str]
    gated: bool = False
    private: bool = False
    messages: list[str] = field(default_factory=list)

    def files(self, revision: str) -> tuple[str, Mapping[str, bytes]] | None:
        """The commit of a revision and its files."""
        commit = self.branches.get(revision, revision)
        return (commit, self.commits[commit]) if commit in self.commits else None

    def commit(self, files: Mapping[str, bytes], message: str) -> str:
        """A new commit of main, named by its content and the one before."""
        digests = {path: _oid(content) for path, content in sorted(files.items())}
        name = hashlib.sha1(json.dumps([self.branches["main"], message, digests]).encode(), usedforsecurity=False)
        self.commits[name.hexdigest()] = files
        self.branches["main"] = name.hexdigest()
        self.messages.append(message)
        return name.hexdigest()


class Hub:
    """The server; `requests` holds method and path of all that was asked, in order, `store` large files by sha256.

    `tokens` is token -> owners whose repositories it may write; any of them may read everything. `fails` gives an
    HTTP status for a request that is refused.
    """

    def __init__(
        self, repositories: Sequence[Repository] = (), tokens: Mapping[str, Sequence[str]] | None = None
    ) -> None:
        self.repositories = {(repository.kind, repository.id): repository for repository in repositories}
        self.tokens = dict(tokens or {})
        self.requests: list[str] = []
        self.store: dict[str, bytes] = {}
        self.fails: Callable[[str], int | None] = lambda request: None
        self._gates: list[tuple[str, threading.Event, threading.Event]] = []
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> "Hub":
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        self._server.shutdown()
        self._server.server_close()

    @contextmanager
    def holding(self, pattern: str) -> Iterator[threading.Event]:
        """Answer no request that a pattern finds, and drop it at the end; the event is set when there is one."""
        gate = (pattern, threading.Event(), threading.Event())
        self._gates.append(gate)
        try:
            yield gate[1]
        finally:
            self._gates.remove(gate)
            gate[2].set()

    def held(self, request: str) -> bool:
        """Whether `holding` is for a request; it is held for as long as that says, and is to be dropped then."""
        for pattern, came, over in list(self._gates):
            if re.search(pattern, request):
                came.set()
                over.wait()
                return True
        return False


class _Refusal(Exception):
    """An answer without content: HTTP status, the hub's own name of the reason, and words."""

    def __init__(self, status: int, code: str = "", message: str = "") -> None:
        self.status, self.headers = status, {"X-Error-Code": code, "X-Error-Message": message}


class _Request(BaseHTTPRequestHandler):
    hub: Hub

    def do_GET(self) -> None:
        self._answer()

    def do_HEAD(self) -> None:
        self._answer()

    def do_POST(self) -> None:
        self._answer()

    def do_PUT(self) -> None:
        self._answer()

    def _answer(self) -> None:
        request = f"{self.command} {self.path}"
        self.hub.requests.append(request)
        if self.hub.held(request):  # unread: what the asker had sent before it died must do nothing
            self.close_connection = True
            return
        length = int(self.headers.get("Content-Length", 0))
        asked = self.rfile.read(length)
        if len(asked) < length:  # whoever asked is gone
            self.close_connection = True
            return
        headers: Mapping[str, str] = {}
        try:
            if failure := self.hub.fails(request):
                raise _Refusal(failure)
            address = urlsplit(self.path)
            parts = [unquote(part) for part in address.path.strip("/").split("/")]
            if parts[0] == "store":
                status, content = 200, self._stored(parts[1], asked)
            elif parts[-3:] == ["lfs", "objects", "batch"]:
                status, content = 200, json.dumps(self._batch(parts[:-4], json.loads(asked))).encode()
            elif parts[0] == "api" and (answer := self._written(parts[1:], asked)) is not None:
                status, content = 200, json.dumps(answer).encode()
            elif parts[0] == "api":
                query = parse_qs(address.query if self.command == "GET" else asked.decode())
                status, content = 200, json.dumps(self._api(parts[1:], query)).encode()
            else:
                status, content, headers = self._file(parts)
        except _Refusal as refusal:
            status, content, headers = refusal.status, b"", refusal.headers
        try:
            self.send_response(status)
            for name, value in {"Content-Length": str(len(content)), **headers}.items():
                self.send_header(name, value)
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(content)
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True

    def _written(self, parts: Sequence[str], asked: bytes) -> object:
        """Answers to what changes repositories: repos/create, validate-yaml, preupload and commit; None for others."""
        if parts == ["validate-yaml"]:
            front = json.loads(asked)["content"].split("---\n")[1]
            errors = [] if "license: " in front else [{"message": "there is no license"}]
            if errors:
                raise _Refusal(400, message=errors[0]["message"])
            return {"errors": [], "warnings": []}
        if parts == ["repos", "create"]:
            told = json.loads(asked)
            kind, id = told.get("type", "model"), f"{told['organization']}/{told['name']}"
            self._refuse_reader(id)
            if (kind, id) in self.hub.repositories:
                raise _Refusal(409, message="You already created this repository")
            private = told.get("visibility") == "private"
            made = Repository(kind, id, {"0" * 40: {}}, {"main": "0" * 40}, private=private)
            self.hub.repositories[kind, id] = made
            return {"url": f"{self.hub.url}/{'datasets/' if kind == 'dataset' else ''}{id}"}
        if len(parts) != 5 or parts[3] not in ("preupload", "commit"):
            return None
        repository = self._repository(parts[0].removesuffix("s"), "/".join(parts[1:3]))
        self._refuse_reader(repository.id)
        _, files = self._files(repository, parts[4])
        if parts[3] == "preupload":
            return {"files": [_mode(file, files) for file in json.loads(asked)["files"]]}
        header, *lines = [json.loads(line) for line in asked.splitlines()]
        new = dict(files)
        for line in lines:
            told = line["value"]
            if line["key"] == "lfsFile" and told["oid"] not in self.hub.store:
                raise _Refusal(400, message=f"{told['path']} was never uploaded")
            large = line["key"] == "lfsFile"
            new[told["path"]] = self.hub.store[told["oid"]] if large else base64.b64decode(told["content"])
        commit = repository.commit(new, header["value"]["summary"])
        return {"success": True, "commitOid": commit, "commitUrl": f"{self.hub.url}/{repository.id}/commit/{commit}"}

    def _batch(self, parts: Sequence[str], asked: Mapping[str, Any]) -> object:
        """[datasets/]OWNER/NAME.git/info/lfs/objects/batch: where large files go; none for those that are here."""
        id = "/".join(parts[-2:]).removesuffix(".git")
        self._repository("dataset" if parts[0] == "datasets" else "model", id)
        self._refuse_reader(id)
        new = [each for each in asked["objects"] if each["oid"] not in self.hub.store]
        here = [each for each in asked["objects"] if each["oid"] in self.hub.store]
        actions = [{**each, "actions": {"upload": {"href": f"{self.hub.url}/store/{each['oid']}"}}} for each in new]
        return {"transfer": "basic", "objects": [*here, *actions]}

    def _stored(self, oid: str, content: bytes) -> bytes:
        if hashlib.sha256(content).hexdigest() != oid:
            raise _Refusal(400, message="is not the file of this digest")
        self.hub.store[oid] = content
        return b""

    def _owners(self) -> Sequence[str] | None:
        """The owners whose repositories the asker may write; None for one without a token that is known."""
        return self.hub.tokens.get(self.headers.get("Authorization", "").removeprefix("Bearer "))

    def _refuse_reader(self, id: str) -> None:
        owners = self._owners()
        if owners is None:
            raise _Refusal(401, message="Invalid credentials in Authorization header")
        if id.split("/")[0] not in owners:
            raise _Refusal(403, message="You don't have the rights to do this")

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
                "private": repository.private,
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
        found = self.hub.repositories.get((kind, id))
        if found is None or (found.private and self._owners() is None):
            raise _Refusal(404, "RepoNotFound")
        return found

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
    entries += [{"type": "file", "path": path, **_facts(files[path])} for path in inside]
    found = [entry for entry in entries if recursive or "/" not in str(entry["path"]).removeprefix(start)]
    return sorted(found, key=lambda entry: str(entry["path"]))


def _facts(content: bytes) -> dict[str, object]:
    """Size and digest of a file; of a large one, that of its own bytes."""
    facts: dict[str, object] = {"size": len(content), "oid": _oid(content)}
    if _is_large(content):
        facts["lfs"] = {"oid": hashlib.sha256(content).hexdigest(), "size": len(content), "pointerSize": 130}
    return facts


def _mode(file: Mapping[str, Any], files: Mapping[str, bytes]) -> dict[str, object]:
    """How a file is to be sent, and the digest of what is in its place."""
    large = _is_large(base64.b64decode(file["sample"]))
    mode = {"path": file["path"], "uploadMode": "lfs" if large else "regular", "shouldIgnore": False}
    if (held := files.get(file["path"])) is None:
        return mode
    return {**mode, "oid": hashlib.sha256(held).hexdigest() if _is_large(held) else _oid(held)}


def _is_large(content: bytes) -> bool:
    return b"\0" in content[:512]


def _oid(content: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()
