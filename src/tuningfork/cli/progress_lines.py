"""Progress where nothing can be redrawn, as in a file: now and then a line that says how far the work is."""

import math
import time
from collections.abc import Callable

from tuningfork.events import (
    Event,
    Notice,
    StageAdvanced,
    StageFinished,
    StageStarted,
    StepFinished,
    Validated,
)

SECONDS_BETWEEN_LINES = 30.0
"""Between two lines of a stage, whatever they say."""


class ProgressLines:
    """Keeps account of the running stage, and says what a line about it says when one is due."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._said = clock()
        self._best = math.inf
        self._begin("", None, "")

    def line(self, event: Event) -> str | None:
        """The line to write once `event` is known; None if none is due."""
        match event:
            case Notice():
                self._said = self._clock()
            case StageStarted(name=name, total=total, unit=unit):
                self._begin(name, total, unit)
            case StageFinished():
                self._begin("", None, "")
            case StageAdvanced(done=done, detail=detail):
                self._done, self._detail = done, detail
            case StepFinished(candidate=candidate, loss=loss):
                self._done += 1
                self._detail = f"{candidate}, loss {loss:.2f}"
            case Validated(log_loss=log_loss):
                self._best = min(self._best, log_loss)
            case _:
                return None
        return self._due()

    def _begin(self, name: str, total: int | None, unit: str) -> None:
        self._name, self._total, self._unit = name, total, unit
        self._done, self._detail, self._best = 0, "", math.inf

    def _due(self) -> str | None:
        now = self._clock()
        if not self._name or not self._done or now - self._said < SECONDS_BETWEEN_LINES:
            return None
        self._said = now
        of = "" if self._total is None else f" of {self._total}"
        best = f"best val {self._best:.2f}" if math.isfinite(self._best) else ""
        says = (f"{self._name}: {self._done}{of} {self._unit}".rstrip(), self._detail, best)
        return " " * 10 + ", ".join(filter(None, says))
