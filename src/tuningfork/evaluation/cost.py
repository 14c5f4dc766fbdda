"""What making and using a prompt or a model costs: time, memory, energy."""

import os
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import cycle, islice
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np
import torch

from tuningfork.data.example import Example
from tuningfork.evaluation.energy import POWER_ZONES, EnergyCounter
from tuningfork.models.machine import peak_memory_bytes

_CLEAR_REFERENCES = Path("/proc/self/clear_refs")
_RESET_PEAK = "5"


@dataclass(frozen=True, slots=True)
class Spent:
    """What something took; None is what could not be measured here."""

    seconds: float
    """Wall time."""
    processor_seconds: float
    """Of all threads of this process, and of its child processes that have ended and were waited for."""
    accelerator_seconds: float | None
    """Between two events on the current CUDA stream, idle time of the device included; None without CUDA."""
    energy_joules: float | None
    """Of the whole machine, other processes included: processors, their memory and, if used, accelerator."""
    peak_memory_bytes: int
    """Most memory that this process held (of a CUDA device: that torch had allocated there)."""
    has_earlier_peak: bool = False
    """Whether the peak may be older than what was measured, as the system's mark cannot be set back here."""


class Meter:
    """Measures from when it is made until it is stopped."""

    def __init__(self, device: torch.device | str, root: Path) -> None:
        self._device = torch.device(device)
        self._has_cuda = self._device.type == "cuda"
        self._events = [self._mark()] if self._has_cuda else []
        self._energy = EnergyCounter(self._device, root=root)
        self._peak = _PEAKS.watch(self._device)
        self._processor_start = _processor_seconds()
        self._start = time.perf_counter()
        self._spent: Spent | None = None

    @property
    def spent(self) -> Spent:
        """What was spent in the block.

        Raises:
            ValueError: The block has not ended.
        """
        if self._spent is None:
            raise ValueError("what was spent is known when the block ends")
        return self._spent

    def stop(self) -> None:
        """End the measurement."""
        try:
            accelerator_seconds = None
            if self._has_cuda:
                self._events.append(self._mark())
                torch.cuda.synchronize(self._device)
                accelerator_seconds = self._events[0].elapsed_time(self._events[1]) / 1e3
            seconds = time.perf_counter() - self._start
            processor_seconds = _processor_seconds() - self._processor_start
            joules = self._energy.joules()
        finally:
            self._energy.close()
            peak = _PEAKS.leave(self._peak)
        self._spent = Spent(
            seconds, processor_seconds, accelerator_seconds, joules, peak, not self._peak.could_be_reset
        )

    def _mark(self) -> torch.cuda.Event:
        event = torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]
        event.record(torch.cuda.current_stream(self._device))
        return event


@contextmanager
def metering(device: torch.device | str = "cpu", *, root: Path = POWER_ZONES) -> Iterator[Meter]:
    """Measure what runs inside; `meter.spent` says it afterwards, also if the block ended in an error.

    Blocks may lie inside each other. `root` is where the energy counters of processors lie.
    """
    meter = Meter(device, root)
    try:
        yield meter
    finally:
        meter.stop()


@dataclass(frozen=True, slots=True)
class Use:
    """What answering single rows, one after the other, took."""

    num_calls: int
    """Rows that were timed."""
    latency_p50_seconds: float
    latency_p95_seconds: float
    tokens_per_second: float | None
    """Tokens read and said; None where no model reads tokens."""
    input_tokens_per_call: float | None
    output_tokens_per_call: float | None
    seconds_per_call: float
    """Mean."""
    processor_seconds_per_call: float
    joules_per_call: float | None = None


@runtime_checkable
class Counted(Protocol):
    """Answers that know how long they took where they were made, and how many tokens were counted there."""

    seconds: float
    input_tokens: float
    output_tokens: float


def measure_use(
    answer: Callable[[Sequence[Example]], object],
    examples: Sequence[Example],
    *,
    count_tokens: Callable[[Example], tuple[int, int]] | None,
    num_calls: int = 32,
    seconds: float = 10.0,
    device: torch.device | str = "cpu",
) -> Use:
    """Time `answer` on single rows of `examples`, one after the other, after one that is not timed.

    At most `num_calls` rows, and none is begun after `seconds`; few examples are taken again from the first.
    `count_tokens` gives the tokens read and said for an example. Answers that are `Counted`, such as those of
    a model behind an address, which may come from a cache, say both themselves: their time counts if it is
    longer than what passed here. Nothing is batched, so a busy server is cheaper for each row.

    Raises:
        ValueError: There is no example, or `num_calls` is below 1.
    """
    if not examples or num_calls < 1:
        raise ValueError(f"timing needs rows and calls, found {len(examples)} rows and {num_calls} calls")
    answer(examples[:1])
    latencies: list[float] = []
    tokens: list[tuple[float, float]] = []
    with metering(device) as meter:
        end = time.perf_counter() + seconds
        for position in islice(cycle(range(len(examples))), num_calls):
            started = time.perf_counter()
            answered = answer(examples[position : position + 1])
            latencies.append(time.perf_counter() - started)
            if isinstance(answered, Counted):
                latencies[-1] = max(latencies[-1], answered.seconds)
                tokens.append((answered.input_tokens, answered.output_tokens))
            elif count_tokens is not None:
                tokens.append(count_tokens(examples[position]))
            if time.perf_counter() >= end:
                break
    count, total = len(latencies), sum(latencies)
    middle, late = np.percentile(latencies, (50, 95)).tolist()
    read, said = (sum(column) for column in zip(*tokens, strict=True)) if tokens else (None, None)
    joules = meter.spent.energy_joules
    return Use(
        num_calls=count,
        latency_p50_seconds=middle,
        latency_p95_seconds=late,
        tokens_per_second=None if read is None or said is None else (read + said) / total,
        input_tokens_per_call=None if read is None else read / count,
        output_tokens_per_call=None if said is None else said / count,
        seconds_per_call=total / count,
        processor_seconds_per_call=meter.spent.processor_seconds / count,
        joules_per_call=None if joules is None else joules / count,
    )


@dataclass(slots=True, eq=False)
class _Peak:
    """The highest mark that one measurement has seen."""

    device: torch.device
    could_be_reset: bool
    highest: int = 0


class _Peaks:
    """All measurements of memory that run: the system has one mark for the process, which each sets back."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._running: list[_Peak] = []

    def watch(self, device: torch.device) -> _Peak:
        """Begin a measurement; what those that run have seen is kept for them."""
        with self._lock:
            for other in self._running:
                if other.device == device:
                    other.highest = max(other.highest, peak_memory_bytes(device))
            peak = _Peak(device, _reset_peak(device))
            self._running.append(peak)
            return peak

    def leave(self, peak: _Peak) -> int:
        """End a measurement; return its highest mark in bytes."""
        with self._lock:
            self._running.remove(peak)
            return max(peak.highest, peak_memory_bytes(peak.device))


_PEAKS = _Peaks()


def _reset_peak(device: torch.device) -> bool:
    """Set the mark of the most memory back to what is held now; False where the system cannot."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        return True
    if sys.platform != "linux":
        return False
    try:
        _CLEAR_REFERENCES.write_text(_RESET_PEAK, encoding="ascii")
    except OSError:
        return False
    return True


def _processor_seconds() -> float:
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system
