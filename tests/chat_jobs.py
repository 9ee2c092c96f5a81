"""Runs of tests/chat_job.py as processes of their own, with a folder that they share: cache, table and log."""

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from tests.chat_server import ChatServer, Count

SCRIPT = Path(__file__).with_name("chat_job.py")
ROWS = 500 if os.environ.get("CANDOR_TEST_FULL") else 40
CONCURRENCY = 4
KEY = "sk-planted-0123456789abcdef"
PROVIDERS = ("anthropic", "openai")


class Ended(NamedTuple):
    """A job that has ended: its exit code, what it said, and its table where it wrote one."""

    code: int
    said: str
    rows: list[dict[str, Any]] | None


def client_of(server: ChatServer, provider: str, **keys: Any) -> dict[str, Any]:
    """The config of a client; it gives up on a request only after very many tries."""
    return {
        "provider": provider,
        "model": "judge-1",
        "service": "test",
        "base_url": server.url + ("/v1" if provider == "openai" else ""),
        "key_variable": "PLANTED_KEY",
        "concurrency": CONCURRENCY,
        "timeout_s": 0.5,
        "retries": 15,
        "price": {"input": 1, "output": 2},
        **keys,
    }


class Job:
    """A job below a folder, with the cache, table and log that its runs share."""

    def __init__(
        self, folder: Path, client: Mapping[str, Any], *more: str, environment: Mapping[str, str] = {}
    ) -> None:
        self.folder, self.output = folder, folder / "results" / "table.json"
        folder.mkdir()
        self.output.parent.mkdir()
        options = {"--client": json.dumps(client), "--rows": str(ROWS), "--cache": str(folder / "cache")}
        self.command = [sys.executable, str(SCRIPT), "--output", str(self.output), *more]
        self.command += [each for option in options.items() for each in option]
        self.environment = {**os.environ, "PLANTED_KEY": KEY, "CANDOR_CACHE": str(folder / "cache"), **environment}

    def start(self) -> "subprocess.Popen[bytes]":
        """Start a run, whose words go to the log."""
        with (self.folder / "log").open("ab") as log:
            return subprocess.Popen(
                self.command, stdout=log, stderr=log, env=self.environment, cwd=self.folder, start_new_session=True
            )

    def run(self) -> Ended:
        """A run from start to end."""
        return self.end(self.start())

    def end(self, process: "subprocess.Popen[bytes]") -> Ended:
        """What a run has come to, when it has ended."""
        code = process.wait(timeout=300)
        rows = json.loads(self.output.read_bytes()) if self.output.exists() else None
        return Ended(code, (self.folder / "log").read_text(errors="replace"), rows)


def paid_again(counts: Mapping[str, Count]) -> int:
    """Replies that were given whole more than once."""
    return sum(count.answered - 1 for count in counts.values() if count.answered > 1)
