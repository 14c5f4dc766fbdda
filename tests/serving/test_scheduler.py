from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tuningfork.errors import QueueFullError
from tuningfork.serving.scheduler import EngineLimits, Scheduler


@dataclass(eq=False)
class Job:
    most_tokens: int = 1


def scheduler(*, bytes_per_token: int = 1, **limits: int) -> Scheduler[Job]:
    return Scheduler(EngineLimits(**limits), bytes_per_token)


def test_first_come_is_first_served() -> None:
    jobs, queue = [Job() for _ in range(5)], scheduler(max_rows=2)
    for job in jobs:
        queue.add(job)
    assert queue.admit() == jobs[:2]
    assert queue.admit() == []
    assert queue.waiting() == jobs[2:]
    queue.remove(jobs[0])
    queue.remove(jobs[2])
    assert queue.admit() == [jobs[3]]
    assert (queue.num_waiting, queue.num_present) == (1, 2)


def test_rows_take_the_memory_of_the_longest() -> None:
    queue = scheduler(cache_bytes=100, bytes_per_token=2)
    short, long, later = Job(10), Job(26), Job(1)
    assert queue.fits_alone(Job(50))
    assert not queue.fits_alone(Job(51))
    for job in (short, long, later):
        queue.add(job)
    # Beside the long one, the short one takes as much: 2 rows of 26 tokens are 104 bytes.
    assert queue.admit() == [short]
    queue.remove(short)
    assert queue.admit() == [long]
    queue.remove(long)
    assert queue.admit() == [later]


@given(st.lists(st.integers(1, 40), max_size=20), st.integers(1, 6), st.integers(40, 200))
def test_every_job_is_served_within_the_limits(sizes: list[int], max_rows: int, cache_bytes: int) -> None:
    queue, served = scheduler(max_rows=max_rows, cache_bytes=cache_bytes), list[Job]()
    jobs, present = [Job(size) for size in sizes], list[Job]()
    for job in jobs:
        queue.add(job)
    while queue.num_waiting or present:
        present += queue.admit()
        assert 0 < len(present) <= max_rows
        assert len(present) * max(job.most_tokens for job in present) <= cache_bytes
        queue.remove(present[0])
        served.append(present.pop(0))
    assert served == jobs


def test_a_full_queue_says_when_to_come_back() -> None:
    queue = scheduler(max_rows=2, max_waiting=4)
    done = Job()
    queue.add(done)
    queue.admit()
    for _ in range(50):
        queue.remove(done, seconds=10.0)
    for _ in range(4):
        queue.add(Job())
    with pytest.raises(QueueFullError, match="4 requests wait already") as raised:
        queue.add(Job())
    # Three rounds of two rows, each as long as requests took.
    assert raised.value.retry_after_seconds == pytest.approx(30, rel=0.01)


@pytest.mark.parametrize("name", ["max_rows", "max_waiting", "cache_bytes", "tokens_read_per_step"])
def test_limits_are_at_least_one(name: str) -> None:
    with pytest.raises(ValueError, match=f"{name} must be at least 1, found 0"):
        EngineLimits(**{name: 0})
