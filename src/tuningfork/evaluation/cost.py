"""What it takes to make something, and to use it."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
import torch

from tuningfork.data.example import Example
from tuningfork.models.machine import peak_memory_bytes

_CLEAR_REFS = Path("/proc/self/clear_refs")
_RESET_PEAK = "5"
"""What resets the peak of a process's resident memory on Linux: proc(5)."""


@dataclass(frozen=True, slots=True)
class Spent:
    """What something took; None is what could not be measured here."""

    seconds: float
    processor_seconds: float
    accelerator_seconds: float | None
    energy_joules: float | None
    peak_memory_bytes: int


@dataclass(frozen=True, slots=True)
class Use:
    """What single rows take, one after the other."""

    num_calls: int
    latency_p50_seconds: float
    latency_p95_seconds: float
    tokens_per_second: float
    input_tokens_per_call: float
    output_tokens_per_call: float


class Meter:
    """Measures what happens while it is open."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._ended: Spent | None = None

    def __enter__(self) -> Self:
        _reset_peak(self._device)
        self._started = time.perf_counter()
        self._processor_started = time.process_time()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended = self.spent

    @property
    def spent(self) -> Spent:
        """Until now, or until it was closed."""
        return self._ended or Spent(
            seconds=time.perf_counter() - self._started,
            processor_seconds=time.process_time() - self._processor_started,
            accelerator_seconds=None,
            energy_joules=None,
            peak_memory_bytes=peak_memory_bytes(self._device),
        )


def metering(device: torch.device) -> Meter:
    """A meter to open with `with`; the peak of memory starts at what is in use then, where that can be."""
    return Meter(device)


def measure_use(
    answer: Callable[[Sequence[Example]], object],
    examples: Sequence[Example],
    *,
    count_tokens: Callable[[Example, object], tuple[int, int]],
    num_calls: int,
) -> Use:
    """Time `answer` on single rows, the first of which is answered once more before.

    `count_tokens` says of a row and what was answered how many tokens were read and said.
    """
    rows = [examples[place % len(examples)] for place in range(num_calls)]
    answer(rows[:1])
    seconds, tokens = [], []
    for row in rows:
        started = time.perf_counter()
        answered = answer([row])
        seconds.append(time.perf_counter() - started)
        tokens.append(count_tokens(row, answered))
    read, said = (float(np.mean(counts)) for counts in zip(*tokens, strict=True))
    return Use(
        num_calls=len(rows),
        latency_p50_seconds=float(np.quantile(seconds, 0.5)),
        latency_p95_seconds=float(np.quantile(seconds, 0.95)),
        tokens_per_second=(read + said) * len(rows) / sum(seconds),
        input_tokens_per_call=read,
        output_tokens_per_call=said,
    )


def _reset_peak(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        return
    try:
        _CLEAR_REFS.write_text(_RESET_PEAK, encoding="ascii")
    except OSError:
        # Elsewhere the peak is that of the whole process so far, which is what is reported then.
        return
