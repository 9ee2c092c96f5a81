"""Limits on requests and tokens per minute, as token buckets on the monotonic clock."""

import time
from collections.abc import Callable

BURST_SECONDS = 1.0
"""What a bucket holds at the most: this many seconds' worth, and one request at the least."""


class Bucket:
    """Fills at a steady rate up to `burst`; who takes more than it holds must wait until it is full again so far.

    What is taken is taken at once, so waiting times add up in the order in which they were asked for.
    """

    def __init__(self, per_minute: float, burst: float, clock: Callable[[], float]) -> None:
        self._rate, self._burst, self._clock = per_minute / 60, burst, clock
        self._level, self._then = burst, clock()

    def take(self, amount: float) -> float:
        """Take an amount; returns the seconds to wait before using it."""
        now = self._clock()
        self._level = min(self._level + (now - self._then) * self._rate, self._burst) - amount
        self._then = now
        return max(-self._level, 0.0) / self._rate

    def give_back(self, amount: float) -> None:
        """Return what was taken and not used, or take what was used besides (negative)."""
        self._level = min(self._level + amount, self._burst)


class Pace:
    """Keeps to both limits; the jobs that may run at once share them in equal parts. None is no limit."""

    def __init__(
        self,
        requests_per_minute: float | None,
        tokens_per_minute: float | None,
        jobs: int = 1,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._requests = _bucket(requests_per_minute, jobs, clock, least=1.0)
        self._tokens = _bucket(tokens_per_minute, jobs, clock, least=0.0)

    def take(self, tokens: int) -> float:
        """Take the place of one request of about so many tokens; returns the seconds to wait before sending it."""
        waits = [self._requests.take(1) if self._requests else 0.0, self._tokens.take(tokens) if self._tokens else 0.0]
        return max(waits)

    def correct(self, estimated: int, used: int) -> None:
        """Put the tokens that a request used in the place of the estimate."""
        if self._tokens:
            self._tokens.give_back(estimated - used)


def _bucket(per_minute: float | None, jobs: int, clock: Callable[[], float], *, least: float) -> Bucket | None:
    if per_minute is None:
        return None
    share = per_minute / jobs
    return Bucket(share, max(share / 60 * BURST_SECONDS, least), clock)
