"""Typed events and the sink that receives them.

Lower layers report what happens by emitting an event to the `EventSink` they were given; they never import
whoever listens (progress bars, metrics files, oversight).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Event:
    """Base of all events."""


@dataclass(frozen=True, slots=True)
class Notice(Event):
    """Something the user should read once: a guess that was made, a slower path that was taken."""

    message: str


@dataclass(frozen=True, slots=True)
class StageStarted(Event):
    """A stage begins: `total` is its amount of work in `unit`s, None if that is not known."""

    name: str
    total: int | None
    unit: str


@dataclass(frozen=True, slots=True)
class StageAdvanced(Event):
    """The current stage moved to `done` of its total."""

    name: str
    done: int
    detail: str = ""


@dataclass(frozen=True, slots=True)
class StageFinished(Event):
    """A stage ended after `seconds`."""

    name: str
    seconds: float


@dataclass(frozen=True, slots=True)
class StepFinished(Event):
    """One optimizer step of candidate `candidate` ended."""

    candidate: str
    step: int
    total_steps: int
    loss: float
    learning_rate: float
    gradient_norm: float
    seconds: float


@dataclass(frozen=True, slots=True)
class Validated(Event):
    """Candidate `candidate` was scored on held-out rows after `step` steps."""

    candidate: str
    step: int
    metric: str
    score: float | None
    """The metric; None where only the log-loss was measured."""
    log_loss: float
    is_best: bool


@dataclass(frozen=True, slots=True)
class RequestQueued(Event):
    """Request `id` for `prompt` waits behind `num_waiting` others."""

    id: str
    prompt: str
    num_waiting: int


@dataclass(frozen=True, slots=True)
class FirstTokenMade(Event):
    """Request `id` has its first token, `seconds` after it came; for `queue_seconds` of them it waited."""

    id: str
    prompt: str
    seconds: float
    queue_seconds: float
    num_prompt_tokens: int
    """Tokens in front of the answer, those of the prompt and the row."""
    num_cached_tokens: int
    """How many of these had been read for an earlier request."""


@dataclass(frozen=True, slots=True)
class RequestFinished(Event):
    """Request `id` ended `seconds` after it came, with `num_tokens` in its answer."""

    id: str
    prompt: str
    reason: str
    """How it ended: a finish reason, or "error"."""
    num_prompt_tokens: int
    num_cached_tokens: int
    num_tokens: int
    seconds: float


@dataclass(frozen=True, slots=True)
class RowsStepped(Event):
    """One token of each of `num_rows` answers was made in `seconds`; `num_waiting` requests wait."""

    num_rows: int
    num_waiting: int
    seconds: float


@dataclass(frozen=True, slots=True)
class FromSource(Event):
    """`event` happened in `source`, one of several things that run at once."""

    source: str
    event: Event


class EventSink(Protocol):
    """Receives events; never raises into the caller and never blocks it for long."""

    def emit(self, event: Event) -> None:
        """Take one event."""


class NullSink:
    """Drops every event."""

    def emit(self, event: Event) -> None:
        """Drop `event`."""


class FanOutSink:
    """Hands every event to several sinks, in order."""

    def __init__(self, sinks: Sequence[EventSink]) -> None:
        self._sinks = tuple(sinks)

    def emit(self, event: Event) -> None:
        """Hand `event` to each sink."""
        for sink in self._sinks:
            sink.emit(event)
