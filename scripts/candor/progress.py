"""One line of progress at a time, for the person at the terminal; the log is kept apart.

A rule opens the terminal as file descriptor 3 before it sends everything else to the log: `3>&2 &>{log:q}`, and says
`--progress 3`.
"""

import os
import time
from contextlib import suppress


class Progress:
    """Says how far a job is: at the end, and before it no more often than every few seconds."""

    def __init__(
        self, name: str, total: int, unit: str, descriptor: int = 2, done: int = 0, seconds: float = 5
    ) -> None:
        self._name, self._total, self._unit = name, total, unit
        self._descriptor, self._seconds, self._before = descriptor, seconds, done
        self._start = self._said = time.monotonic()

    def update(self, done: int, note: str = "") -> None:
        """Say that `done` of the total are through."""
        now = time.monotonic()
        if done < self._total and now - self._said < self._seconds:
            return
        self._said = now
        left = (now - self._start) * (self._total - done) / max(done - self._before, 1)
        tail = f", about {left:.0f} s left" if done < self._total else f" in {now - self._start:.1f} s"
        line = f"  {self._name}: {done:,} of {self._total:,} {self._unit}{tail}{note and ', ' + note}\n"
        with suppress(OSError):  # nobody listens; the work goes on
            os.write(self._descriptor, line.encode())
