"""A Kubernetes API on loopback: keeps the jobs that it is asked for, and may run each as a pod would.

A pod is an empty folder and a process in it, with the environment that the job's manifest and its secret give, and with
this environment's programs in place of an image's.
"""

import base64
import json
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Lock, Thread
from typing import Any

from tests import plugins

Manifest = dict[str, Any]


class Cluster:
    """What a cluster was asked for: jobs and secrets, by name; and what became of each job."""

    def __init__(self, folder: Path, runs: bool = True) -> None:
        self.folder = folder
        self.runs = runs
        self.jobs: dict[str, Manifest] = {}
        self.secrets: dict[str, Manifest] = {}
        self.deleted: set[str] = set()
        self.said: dict[str, str] = {}
        """What a pod wrote, by job."""
        self._pods: dict[str, subprocess.Popen[str]] = {}
        self._lock = Lock()

    @property
    def kubeconfig(self) -> Path:
        """The file that KUBECONFIG names."""
        return self.folder / "kubeconfig.json"

    def create(self, kind: str, manifest: Manifest) -> tuple[int, Manifest]:
        """Take a manifest, or refuse it as the API does."""
        name = manifest["metadata"]["name"]
        if kind == "secrets":
            self.secrets[name] = manifest
            return 201, manifest
        refused = refusal(manifest)
        if refused:
            return 422, {"kind": "Status", "status": "Failure", "reason": "Invalid", "code": 422, "message": refused}
        with self._lock:
            self.jobs[name] = manifest
            if self.runs:
                self._start(name, manifest)
        return 201, manifest

    def status(self, name: str) -> Manifest:
        """A job with what became of it."""
        with self._lock:
            code = self._pods[name].poll() if name in self._pods else None
        ended = {} if code is None else {"failed": 1} if code else {"succeeded": 1}
        return {**self.jobs[name], "status": ended or {"active": 1}}

    def environment_of(self, manifest: Manifest) -> dict[str, str]:
        """The variables that a pod of a job has, with what their secrets hold."""
        [container] = manifest["spec"]["template"]["spec"]["containers"]
        found = {}
        for variable in container.get("env", []):
            if "value" in variable:
                found[variable["name"]] = variable["value"]
            else:
                told = variable["valueFrom"]["secretKeyRef"]
                found[variable["name"]] = base64.b64decode(self.secrets[told["name"]]["data"][told["key"]]).decode()
        return found

    def _start(self, name: str, manifest: Manifest) -> None:
        """Run a job's container in an empty folder."""
        [container] = manifest["spec"]["template"]["spec"]["containers"]
        pod = self.folder / "pods" / name
        (pod / "workdir").mkdir(parents=True)
        with (pod / "log").open("w") as log:
            self._pods[name] = subprocess.Popen(
                [*container["command"], *container["args"]],
                cwd=pod / "workdir",
                env={**self._image(), **self.environment_of(manifest), "HOME": str(pod)},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                text=True,
            )

    def _image(self) -> Mapping[str, str]:
        """The environment of the image: this one's programs, and a pip that has nothing to do."""
        programs = self.folder / "image"
        programs.mkdir(exist_ok=True)
        pip = programs / "pip"
        pip.write_text(f'#!/bin/sh\necho "$@" >> {self.folder / "installed"}\n')
        pip.chmod(0o755)
        path = f"{programs}:{Path(sys.executable).parent}:/usr/bin:/bin"
        held = {"PATH": path, "PYTHONPATH": plugins.path_of("storage")}
        return {**held, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "PYTHONDONTWRITEBYTECODE": "1"}

    def logs(self) -> str:
        """What all pods wrote."""
        return "\n".join(log.read_text(errors="replace") for log in sorted(self.folder.glob("pods/*/log")))


def refusal(job: Manifest) -> str | None:
    """Why the API refuses a job: what it says of devices that are requested and not limited alike."""
    for container in job["spec"]["template"]["spec"]["containers"]:
        asked, limits = (container["resources"].get(key) or {} for key in ("requests", "limits"))
        for device in filter(lambda name: "/" in name, asked):
            if limits.get(device) != asked[device]:
                return f"{device}: Limit must be set for non overcommitable resources"
    return None


@contextmanager
def served(folder: Path, runs: bool = True) -> Iterator[Cluster]:
    """While the API is there; `folder`/kubeconfig.json says where."""
    folder.mkdir(parents=True, exist_ok=True)
    cluster = Cluster(folder, runs)
    handler = type("Handler", (_Handler,), {"cluster": cluster})
    with _Server(("127.0.0.1", 0), handler) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_address[1]}"
        cluster.kubeconfig.write_text(
            json.dumps(
                {
                    "apiVersion": "v1",
                    "kind": "Config",
                    "current-context": "test",
                    "clusters": [{"name": "test", "cluster": {"server": url}}],
                    "users": [{"name": "test", "user": {}}],
                    "contexts": [{"name": "test", "context": {"cluster": "test", "user": "test"}}],
                }
            )
        )
        try:
            yield cluster
        finally:
            server.shutdown()
            for pod in cluster._pods.values():
                pod.kill()
                pod.wait()


class _Server(ThreadingHTTPServer):
    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that is gone is no error."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    cluster: Cluster
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        manifest = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self._answer(*self.cluster.create(self._parts()[0], manifest))

    def do_GET(self) -> None:
        kind, name = self._parts()
        if kind == "pods":
            return self._answer(200, {"kind": "PodList", "apiVersion": "v1", "items": []})
        if name not in self.cluster.jobs:
            return self._answer(404, {"kind": "Status", "status": "Failure", "code": 404, "message": f"no job {name}"})
        return self._answer(200, self.cluster.status(name))

    def do_DELETE(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.cluster.deleted.add(self._parts()[1])
        self._answer(200, {"kind": "Status", "status": "Success"})

    def _parts(self) -> tuple[str, str]:
        """The kind of thing that the path names, and its name, if any."""
        found = re.fullmatch(r"/apis?/.*namespaces/[^/]+/(\w+)(?:/([^/?]+))?(?:/status)?(?:\?.*)?", self.path)
        assert found is not None, self.path
        return found[1], found[2] or ""

    def _answer(self, status: int, body: Manifest) -> None:
        content = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        """Nothing."""
