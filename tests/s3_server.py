"""An S3 server on loopback that checks every signature (SeaweedFS), behind a proxy that can hold an upload half-way.

The server's own ports are free ones; what it keeps is in a folder of the test's.
"""

import json
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from threading import Event, Thread
from typing import Any

from tests import plugins

sys.path.append(plugins.path_of("storage"))  # the server's client comes with Snakemake's

# in pieces, for this file is in the folders that are searched for it
SECRET = "-".join(("planted", "secret", "key", "that", "no", "file", "may", "hold", "0123456789"))
ACCESS = "planted-access-key"
REGION = "auto"
STARTING_S = 60


def free_ports(count: int) -> list[int]:
    """Ports that nobody listens on, all different."""
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [int(each.getsockname()[1]) for each in sockets]


class S3Server:
    """A server that runs, and what lies in its buckets."""

    def __init__(self, port: int) -> None:
        self.gate = Gate(port)
        self.environment = {
            "SNAKEMAKE_STORAGE_S3_ENDPOINT_URL": self.gate.url,
            "SNAKEMAKE_STORAGE_S3_REGION": REGION,
            "SNAKEMAKE_STORAGE_S3_ACCESS_KEY": ACCESS,
            "SNAKEMAKE_STORAGE_S3_SECRET_KEY": SECRET,
            "PYTHONPATH": plugins.path_of("storage"),
        }
        self.client = client(f"http://127.0.0.1:{port}")

    def create(self, *buckets: str) -> None:
        """Make buckets."""
        for bucket in buckets:
            self.client.create_bucket(Bucket=bucket)

    def objects(self, bucket: str) -> dict[str, bytes]:
        """The content of every object, by key."""
        listed = self.client.list_objects_v2(Bucket=bucket).get("Contents", [])
        return {each["Key"]: self.client.get_object(Bucket=bucket, Key=each["Key"])["Body"].read() for each in listed}


def client(url: str) -> Any:
    """A client of the server with the test's own key."""
    import boto3
    from botocore.config import Config

    return boto3.client(
        "s3",
        endpoint_url=url,
        region_name=REGION,
        aws_access_key_id=ACCESS,
        aws_secret_access_key=SECRET,
        config=Config(retries={"max_attempts": 1}, request_checksum_calculation="when_required"),
    )


@contextmanager
def served(folder: Path) -> Iterator[S3Server]:
    """While the server runs, its files in a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    keys = {"credentials": [{"accessKey": ACCESS, "secretKey": SECRET}]}
    actions = ["Admin", "Read", "Write", "List", "Tagging"]
    (folder / "s3.json").write_text(json.dumps({"identities": [{"name": "test", **keys, "actions": actions}]}))
    names = ["master", "volume", "filer", "s3"]
    ports = free_ports(2 * len(names))
    given = [f"-{name}.port={port}" for name, port in zip(names, ports, strict=False)]
    given += [f"-{name}.port.grpc={port}" for name, port in zip(names, ports[len(names) :], strict=True)]
    with (folder / "log").open("wb") as log:
        server = subprocess.Popen(
            [
                *(
                    str(Path(sys.executable).with_name("weed")),
                    "-logtostderr=true",
                    "server",
                    f"-dir={folder}",
                    "-ip=127.0.0.1",
                    "-ip.bind=127.0.0.1",
                ),
                *("-master.telemetry=false", "-master.volumeSizeLimitMB=64", "-volume.max=100"),
                # ports of their own, which a second server would find taken
                *("-s3.port.iceberg=0", "-s3.port.lance=0"),
                *("-filer", "-s3", f"-s3.config={folder / 's3.json'}", *given),
            ],
            stdout=log,
            stderr=log,
            stdin=subprocess.DEVNULL,
            cwd=folder,
        )
    try:
        found = S3Server(ports[names.index("s3")])
        _wait_for(found, server, folder / "log")
        with found.gate.open():
            yield found
    finally:
        server.kill()
        server.wait()
        for port in ports:
            for left in Path("/tmp").glob(f"seaweedfs-*-{port}.sock"):
                left.unlink()


def _wait_for(found: S3Server, server: "subprocess.Popen[bytes]", log: Path) -> None:
    """Until the server has kept something, which takes all of its parts."""
    from botocore.exceptions import BotoCoreError, ClientError

    last = time.monotonic() + STARTING_S
    while True:
        with suppress(BotoCoreError, ClientError):
            found.client.create_bucket(Bucket="started")
            found.client.put_object(Bucket="started", Key="x", Body=b"x")
            return
        assert server.poll() is None and time.monotonic() < last, log.read_text(errors="replace")[-3000:]
        time.sleep(0.1)


class Gate:
    """A proxy before a server: passes everything on, or holds the first upload of a key in its middle."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._held_key: bytes | None = None
        self.holds = Event()
        """Set when an upload is held."""
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"

    @contextmanager
    def open(self) -> Iterator[None]:
        """While connections are taken."""
        Thread(target=self._serve, daemon=True).start()
        try:
            yield
        finally:
            self._listener.close()

    def hold(self, key: str) -> None:
        """Pass on only the half of the next upload of a key, whose name or a part of it is given."""
        self.holds.clear()
        self._held_key = key.encode()

    def _serve(self) -> None:
        with suppress(OSError):
            while True:
                caller, _ = self._listener.accept()
                server = socket.create_connection(("127.0.0.1", self._port))
                Thread(target=self._pass_on, args=(caller, server), daemon=True).start()
                Thread(target=_pump, args=(server, caller), daemon=True).start()

    def _pass_on(self, caller: socket.socket, server: socket.socket) -> None:
        """What a caller sends: the body of an upload comes after its head, once the server said to continue."""
        held = False
        with suppress(OSError), caller, server:
            while data := caller.recv(1 << 16):
                if held:
                    server.sendall(data[: len(data) // 2])
                    self.holds.set()
                    while caller.recv(1 << 16):  # until the caller is gone
                        pass
                    return
                head = data.partition(b"\r\n")[0]
                if self._held_key and head.startswith(b"PUT ") and self._held_key in head:
                    self._held_key, held = None, True
                server.sendall(data)


def _pump(source: socket.socket, sink: socket.socket) -> None:
    with suppress(OSError):
        while data := source.recv(1 << 16):
            sink.sendall(data)
        sink.shutdown(socket.SHUT_WR)
