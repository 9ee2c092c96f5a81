"""Progress: a line now and then to a descriptor of its own, and never a reason to stop."""

import os
from collections.abc import Iterator
from types import SimpleNamespace

import pytest

from candor import progress
from candor.progress import Progress


class Clock:
    """Seconds that pass when the test says so."""

    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    found = Clock()
    monkeypatch.setattr(progress, "time", SimpleNamespace(monotonic=found))
    return found


class Terminal:
    """A pipe that stands for the terminal."""

    def __init__(self) -> None:
        self.reader, self.descriptor = os.pipe()
        os.set_blocking(self.reader, False)

    def lines(self) -> list[str]:
        """What was said since the last call."""
        try:
            return os.read(self.reader, 10_000).decode().splitlines()
        except BlockingIOError:
            return []


@pytest.fixture
def terminal() -> Iterator[Terminal]:
    found = Terminal()
    yield found
    os.close(found.reader)
    os.close(found.descriptor)


def test_it_speaks_every_few_seconds_and_at_the_end(clock: Clock, terminal: Terminal) -> None:
    progress = Progress("extract pairs", 4000, "tokens", terminal.descriptor, seconds=5)
    for now, done in ((100.1, 10), (104.9, 500), (105.0, 1000), (109.0, 1500), (110.0, 2000), (110.1, 4000)):
        clock.now = now
        progress.update(done)
    assert terminal.lines() == [
        "  extract pairs: 1,000 of 4,000 tokens, about 15 s left",
        "  extract pairs: 2,000 of 4,000 tokens, about 10 s left",
        "  extract pairs: 4,000 of 4,000 tokens in 10.1 s",
    ]


def test_what_was_done_before_does_not_count_for_the_speed(clock: Clock, terminal: Terminal) -> None:
    progress = Progress("judge", 100, "texts", terminal.descriptor, done=80)
    clock.now += 10
    progress.update(90)
    assert terminal.lines() == ["  judge: 90 of 100 texts, about 10 s left"]


def test_a_note_stands_at_the_end_of_the_line(clock: Clock, terminal: Terminal) -> None:
    Progress("train", 3, "layers", terminal.descriptor).update(3, "AUROC .93")
    assert terminal.lines() == ["  train: 3 of 3 layers in 0.0 s, AUROC .93"]


def test_before_anything_is_done_no_speed_is_needed(clock: Clock, terminal: Terminal) -> None:
    progress = Progress("train", 3, "layers", terminal.descriptor)
    clock.now += 6
    progress.update(0)
    assert terminal.lines() == ["  train: 0 of 3 layers, about 18 s left"]
    Progress("train", 0, "layers", terminal.descriptor).update(0)
    assert terminal.lines() == ["  train: 0 of 0 layers in 0.0 s"]


def test_the_work_goes_on_when_nobody_listens(clock: Clock) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    Progress("train", 1, "layers", writer).update(1)
    os.close(writer)
    Progress("train", 1, "layers", writer).update(1)
