"""A budget: one small file that all jobs of a judge share, with the dollars that are spent or set aside."""

import fcntl
import math
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from candor.errors import CandorError

NANO = 10**9
"""The file counts in billionths of a dollar, so that sums are exact."""
WIDTH = 24


class LedgerError(CandorError):
    """The file cannot be read; the message says what to do."""


class Ledger:
    """Dollars spent or set aside of a budget, safe for any number of processes.

    The most that a request can cost is set aside before it is sent (`reserve`), and what it did cost takes that place
    when its reply is there (`settle`). What nobody settles counts as spent: requests under way when a job is killed,
    and those that timed out or were cut off after they were sent, since a service may charge for them. So the file may
    say more than the bill, never less, as long as the prices are right. Over a budget's whole life it only grows;
    raise `budget_usd` to go on, or delete the file to begin anew.
    """

    def __init__(self, path: Path, budget_usd: float) -> None:
        self.path, self.budget_usd = path, budget_usd
        self._budget = math.floor(budget_usd * NANO + 1e-3)

    def spent(self) -> float:
        """Dollars spent or set aside so far."""
        if not self.path.exists():
            return 0.0
        with self._locked() as descriptor:
            return self._read(descriptor) / NANO

    def reserve(self, worst_usd: float) -> bool:
        """Set aside the most that requests can cost; False, and nothing done, where the budget would be passed."""
        worst = _up(worst_usd)
        with self._locked() as descriptor:
            total = self._read(descriptor) + worst
            if total > self._budget and worst:
                return False
            self._write(descriptor, total)
        return True

    def settle(self, worst_usd: float, actual_usd: float) -> None:
        """Put what requests did cost in the place of what was set aside for them."""
        change = _up(actual_usd) - _up(worst_usd)
        if change:
            with self._locked() as descriptor:
                self._write(descriptor, max(self._read(descriptor) + change, 0))

    @contextmanager
    def _locked(self) -> Iterator[int]:
        flags = os.O_RDWR | os.O_CREAT
        try:
            descriptor = os.open(self.path, flags, 0o644)
        except FileNotFoundError:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(self.path, flags, 0o644)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield descriptor
        finally:
            os.close(descriptor)  # and with it the lock

    def _read(self, descriptor: int) -> int:
        content = os.pread(descriptor, 2 * WIDTH, 0)
        if not content:
            return 0
        whole, _, part = content.decode("ascii", "replace").strip().partition(".")
        if len(content) != WIDTH or not (whole.isdecimal() and part.isdecimal() and len(part) == 9):
            raise LedgerError(
                f"{self.path} should hold the dollars that are spent, and does not; write them into it as "
                f"{_text(12_500_000_000).decode().strip()!r} with spaces before, {WIDTH - 1} characters and a new "
                "line, or delete it to begin anew."
            )
        return int(whole) * NANO + int(part)

    def _write(self, descriptor: int, total: int) -> None:
        os.pwrite(descriptor, _text(total), 0)  # one length always, so nothing is left of an earlier number


def _up(dollars: float) -> int:
    return math.ceil(round(dollars * NANO, 3))


def _text(total: int) -> bytes:
    return f"{total // NANO}.{total % NANO:09d}".rjust(WIDTH - 1).encode() + b"\n"
