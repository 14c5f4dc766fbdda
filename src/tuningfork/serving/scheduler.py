"""Which requests wait, which are worked on, and whose row is read next."""

import threading
from collections import deque
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from tuningfork.errors import QueueFullError

_SHARE_OF_LATEST = 0.2
"""How much the latest request counts in the mean time of one."""


@dataclass(frozen=True, slots=True)
class EngineLimits:
    """How much is done and kept at once."""

    max_rows: int = 32
    """Rows that run side by side."""
    max_waiting: int = 256
    """Requests that wait; further ones are turned away."""
    cache_bytes: int = 2 * 2**30
    """Memory for keys and values of running rows."""
    prefix_bytes: int = 2**30
    """Memory for prompts that were read, beyond those in use."""
    tokens_read_per_step: int = 256
    """Tokens of new rows that are read between two steps of those that run."""

    def __post_init__(self) -> None:
        for name in ("max_rows", "max_waiting", "cache_bytes", "tokens_read_per_step"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, found {getattr(self, name)}")
        if self.prefix_bytes < 0:
            raise ValueError(f"prefix_bytes must be at least 0, found {self.prefix_bytes}")


class Job(Protocol):
    """What is scheduled."""

    @property
    def most_tokens(self) -> int:
        """How long its row can become, with prompt and answer."""


JobType = TypeVar("JobType", bound=Job)


class Scheduler(Generic[JobType]):
    """First come, first served, as far as rows and memory go; safe to be asked from several threads.

    Rows run side by side in memory as long as the longest of them, so a long one counts for all.
    """

    def __init__(self, limits: EngineLimits, bytes_per_token: int) -> None:
        self._limits = limits
        self._bytes_per_token = bytes_per_token
        self._lock = threading.Lock()
        self._waiting: deque[JobType] = deque()
        self._present: list[JobType] = []
        self._mean_seconds = 1.0

    @property
    def num_waiting(self) -> int:
        """Requests that wait."""
        return len(self._waiting)

    @property
    def num_present(self) -> int:
        """Requests that are worked on."""
        return len(self._present)

    def fits_alone(self, job: JobType) -> bool:
        """Whether there is memory enough for `job`, if it were the only one."""
        return self._bytes([job]) <= self._limits.cache_bytes

    def add(self, job: JobType) -> None:
        """Have `job` wait.

        Raises:
            QueueFullError: if too many wait already.
        """
        with self._lock:
            if len(self._waiting) >= self._limits.max_waiting:
                rounds = 1 + len(self._waiting) / self._limits.max_rows
                raise QueueFullError(
                    f"{len(self._waiting)} requests wait already; ask again later",
                    retry_after_seconds=max(1.0, rounds * self._mean_seconds),
                )
            self._waiting.append(job)

    def admit(self) -> list[JobType]:
        """Those that wait and may now be worked on, the longest waiting first."""
        admitted: list[JobType] = []
        with self._lock:
            while self._waiting and len(self._present) < self._limits.max_rows:
                if self._bytes([*self._present, self._waiting[0]]) > self._limits.cache_bytes:
                    break
                job = self._waiting.popleft()
                self._present.append(job)
                admitted.append(job)
        return admitted

    def waiting(self) -> list[JobType]:
        """Those that wait now."""
        with self._lock:
            return list(self._waiting)

    def remove(self, job: JobType, seconds: float | None = None) -> None:
        """`job` is over, after so many `seconds` where that says how long others take."""
        with self._lock:
            if job in self._present:
                self._present.remove(job)
            elif job in self._waiting:
                self._waiting.remove(job)
            if seconds is not None:
                self._mean_seconds += _SHARE_OF_LATEST * (seconds - self._mean_seconds)

    def _bytes(self, jobs: list[JobType]) -> int:
        return len(jobs) * max(job.most_tokens for job in jobs) * self._bytes_per_token
