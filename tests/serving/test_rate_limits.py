import pytest
from hypothesis import given
from hypothesis import strategies as st

from tuningfork.serving.rate_limits import RateLimit


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_an_allowance_fills_evenly() -> None:
    clock = Clock()
    limit = RateLimit(6, clock=clock)
    for _ in range(6):
        assert limit.seconds_until("a") == 0
        limit.take("a")
    assert limit.seconds_until("a") == pytest.approx(10)
    clock.now = 4.0
    assert limit.seconds_until("a") == pytest.approx(6)
    clock.now = 10.0
    assert limit.seconds_until("a") == 0
    limit.take("a")
    assert limit.seconds_until("a") == pytest.approx(10)
    clock.now = 1000.0
    found = limit.allowance("a")
    assert found is not None
    assert (found.limit, found.remaining, found.reset_seconds) == (6, 6, 0)


def test_one_caller_takes_nothing_from_another() -> None:
    limit = RateLimit(1, clock=Clock())
    limit.take("a")
    assert limit.seconds_until("a") > 0
    assert limit.seconds_until("b") == 0


def test_what_was_taken_too_much_is_paid_back() -> None:
    clock = Clock()
    limit = RateLimit(60, clock=clock)
    limit.take("a", 100)
    assert limit.seconds_until("a") == pytest.approx(41)
    found = limit.allowance("a")
    assert found is not None
    assert found.remaining == 0
    assert found.reset_seconds == pytest.approx(100)


def test_more_than_an_allowance_may_be_taken_when_all_of_it_is_there() -> None:
    limit = RateLimit(10, clock=Clock())
    assert limit.seconds_until("a", 50) == 0
    limit.take("a", 1)
    assert limit.seconds_until("a", 50) == pytest.approx(6)


def test_without_a_limit_everything_is_allowed() -> None:
    limit = RateLimit(None)
    limit.take("a", 10**9)
    assert limit.seconds_until("a") == 0
    assert limit.allowance("a") is None
    with pytest.raises(ValueError, match="an allowance is at least 1 a minute, found 0"):
        RateLimit(0)


@given(st.integers(1, 50), st.lists(st.floats(0.01, 30), max_size=60))
def test_no_minute_has_more_than_two_allowances(per_minute: int, waits: list[float]) -> None:
    clock, taken = Clock(), []
    limit = RateLimit(per_minute, clock=clock)
    for wait in waits:
        clock.now += wait
        while limit.seconds_until("a") == 0:
            limit.take("a")
            taken.append(clock.now)
    for start in taken:
        # A burst of all that was there, and what fills within the minute.
        assert sum(start <= moment < start + 60 for moment in taken) <= 2 * per_minute
