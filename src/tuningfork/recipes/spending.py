"""What a contestant of a comparison takes, over all sessions, and how much it may take."""

import json
import math
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from types import TracebackType
from typing import Self

import torch

from tuningfork.atomic import write_text
from tuningfork.errors import RunError
from tuningfork.evaluation.cost import Spent, metering
from tuningfork.events import Event
from tuningfork.models.machine import peak_memory_bytes

_FILE = "spent.json"
_SECONDS_BETWEEN_WRITES = 1.0


class Budget:
    """Wall time that may be taken; without a limit it is never spent."""

    def __init__(
        self,
        seconds: float | None,
        *,
        spent: float = 0.0,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        """A budget of which `spent` seconds are gone."""
        self._seconds = math.inf if seconds is None else seconds
        self._clock = clock
        self._started = clock() - spent

    def is_spent(self, *, reserve: float = 0.0) -> bool:
        """Whether no more than `reserve` seconds are left."""
        return self._clock() - self._started + reserve >= self._seconds


def budget_of(seconds: float | None, work: Path) -> Budget:
    """The budget of a contestant that works in `work`, less what its sessions before this one took."""
    return Budget(seconds, spent=seconds_spent(work))


def seconds_spent(work: Path) -> float:
    """What the sessions before this one took in `work`."""
    return _read(work / _FILE).seconds


class Ledger:
    """Measures a contestant while it is made, and writes that down as it goes.

    An event sink, so that a process that is killed loses a second of the account at most; use it as a
    context manager. Of several sessions, times add up and the highest peak counts.
    """

    def __init__(self, work: Path, device: torch.device) -> None:
        self._path = work / _FILE
        self._before = _read(self._path)
        self._device = device
        self._metering = metering(device)
        self.spent = self._before
        """Of all sessions, as of the last time it was written down."""

    def __enter__(self) -> Self:
        self._meter = self._metering.__enter__()
        self._started = self._written = time.perf_counter()
        self._processor_started = time.process_time()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._metering.__exit__(kind, error, trace)
        self._write(self._meter.spent)

    def emit(self, event: Event) -> None:
        """Write down what was spent until now, if that was some time ago."""
        now = time.perf_counter()
        if now - self._written < _SECONDS_BETWEEN_WRITES:
            return
        # The meter says what it found when it is closed; until then this is what can be read of it.
        processor_seconds = time.process_time() - self._processor_started
        peak = peak_memory_bytes(self._device)
        self._write(Spent(now - self._started, processor_seconds, None, None, peak))

    def _write(self, now: Spent) -> None:
        self._written = time.perf_counter()
        self.spent = _together(self._before, now)
        write_text(self._path, json.dumps(asdict(self.spent)))


def _together(before: Spent, now: Spent) -> Spent:
    is_first = not before.seconds

    def added(one: float | None, other: float | None) -> float | None:
        # What one session could not measure is not known of all.
        if is_first or other is None:
            return other
        return None if one is None else one + other

    return Spent(
        seconds=before.seconds + now.seconds,
        processor_seconds=before.processor_seconds + now.processor_seconds,
        accelerator_seconds=added(before.accelerator_seconds, now.accelerator_seconds),
        energy_joules=added(before.energy_joules, now.energy_joules),
        peak_memory_bytes=max(before.peak_memory_bytes, now.peak_memory_bytes),
        has_earlier_peak=before.has_earlier_peak or now.has_earlier_peak,
    )


def _read(path: Path) -> Spent:
    if not path.exists():
        return Spent(0.0, 0.0, None, None, 0)
    try:
        return Spent(**json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError) as error:
        raise RunError(
            f"{path}: cannot be read ({error}); remove it, and what was spent counts anew"
        ) from error
