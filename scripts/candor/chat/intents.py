"""Batches that were made, or are about to be: one small file each below CANDOR_CACHE/batches/, found by any later job.

A batch's file is written before the batch is made and gets the id that the service gives it right after. So a file
without an id that is there while nobody holds the lock tells of a job that was killed in between, or lost the answer:
the batch may exist, and must be looked for before another is made. No key and no text is in it.
"""

import fcntl
import json
import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from candor.chat.messages import digest


@dataclass(frozen=True)
class Intent:
    """A batch. `rows` are its requests whose replies nobody has fetched yet: identity -> its worst case in dollars.

    `size` is how many requests it was made with, at the time `made` (seconds since 1970, by this machine's clock).
    `ledger` is the file in which the worst cases are set aside; `id` is the service's, None where it is not known.
    """

    mark: str
    made: float
    size: int
    rows: Mapping[str, float]
    ledger: str | None
    id: str | None = None


class Intents:
    """The batches of one service: `provider` and `service` name it, so that all its clients find each other's."""

    def __init__(self, folder: Path, provider: str, service: str | None) -> None:
        self.folder = folder / digest(json.dumps([provider, service]))[:16]

    @contextmanager
    def alone(self) -> Iterator[None]:
        """While this holds, no other job makes a batch at the service, or fetches one's results."""
        self.folder.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(self.folder / "lock", os.O_RDWR | os.O_CREAT, 0o644)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)  # and with it the lock

    def all(self) -> list[Intent]:
        """Every batch of which something is to be fetched, the oldest first."""
        found = []
        for path in self.folder.glob("*.json"):
            try:
                found.append(Intent(**json.loads(path.read_bytes())))
            except (ValueError, TypeError):
                print(f"{path} is damaged and will be passed over; its batch may be paid for twice.", file=sys.stderr)
        return sorted(found, key=lambda intent: (intent.made, intent.mark))

    def write(self, intent: Intent) -> Intent:
        """Write a batch's file, whole or not at all; one with no rows left is taken away."""
        path = self.path(intent)
        if not intent.rows:
            path.unlink(missing_ok=True)
            return intent
        draft = path.with_name(f".{path.name}.part")  # only the holder of the lock writes
        with draft.open("w", encoding="utf-8") as file:
            json.dump(asdict(intent), file)
            file.flush()
            os.fsync(file.fileno())  # it must outlive the machine: the batch does
        draft.replace(path)
        return intent

    def named(self, intent: Intent, id: str) -> Intent:
        """Write the id that the service has given a batch."""
        return self.write(replace(intent, id=id))

    def without(self, intent: Intent, identities: Mapping[str, object]) -> Intent:
        """Take rows out of a batch's file."""
        return self.write(
            replace(intent, rows={row: worst for row, worst in intent.rows.items() if row not in identities})
        )

    def path(self, intent: Intent) -> Path:
        """A batch's file."""
        return self.folder / f"{intent.mark}.json"
