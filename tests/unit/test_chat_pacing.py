"""Rates: how long a request must wait, on a clock that the test turns."""

from candor.chat.pacing import Pace


class Clock:
    """A clock that stands still between turns."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def test_without_limits_nothing_waits() -> None:
    pace = Pace(None, None)
    assert [pace.take(10**9) for _ in range(3)] == [0, 0, 0]


def test_requests_follow_each_other_at_the_rate() -> None:
    pace = Pace(60, None, clock=Clock())
    assert [pace.take(1) for _ in range(4)] == [0, 1, 2, 3]


def test_jobs_that_may_run_at_once_share_the_rate() -> None:
    pace = Pace(60, None, jobs=4, clock=Clock())
    assert [pace.take(1) for _ in range(3)] == [0, 4, 8]


def test_a_limit_is_not_saved_up_over_idle_minutes() -> None:
    clock = Clock()
    pace = Pace(600, None, clock=clock)
    clock.now = 3600
    waits = [pace.take(1) for _ in range(20)]
    assert sum(wait == 0 for wait in waits) == 10  # one second's worth
    assert abs(waits[-1] - 1.0) < 1e-9


def test_tokens_wait_for_those_before_them() -> None:
    clock = Clock()
    pace = Pace(None, 6000, clock=clock)  # 100 a second
    assert pace.take(300) == 2  # the bucket holds 100
    assert pace.take(100) == 3
    clock.now = 3
    assert pace.take(100) == 1


def test_tokens_that_were_not_used_are_given_back() -> None:
    pace = Pace(None, 6000, clock=Clock())
    assert pace.take(1100) == 10
    pace.correct(1100, 100)
    assert pace.take(50) == 0.5


def test_the_stricter_limit_holds() -> None:
    pace = Pace(60, 6000, clock=Clock())
    assert pace.take(1000) == 9
    assert Pace(60, 6000, clock=Clock()).take(1) == 0
