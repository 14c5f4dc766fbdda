"""One answer with what is known of it, and what an assertion finds in it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal

Status = Literal["passed", "failed", "skipped"]


@dataclass(frozen=True, slots=True)
class CheckedAnswer:
    """An answer, and what assertions may look at beside it; None is what is not known."""

    text: str
    expected: tuple[str, ...] = ()
    """Right answers; any of them will do."""
    inputs: Mapping[str, str] = field(default_factory=dict)
    probabilities: Mapping[str, float] | None = None
    """Of each label."""
    latency_seconds: float | None = None
    """Of this row, run alone."""
    cost: float | None = None
    """Money for this call."""
    count_tokens: Callable[[str], int] | None = None
    """Tokens of a text, as the model counts them."""


@dataclass(frozen=True, slots=True)
class Found:
    """What an assertion found: from 0, not at all, to 1, wholly, unless its kind has a scale of its own."""

    score: float
    says: str
    """The fact, as in "has 341 characters, at most 300 are allowed"."""


@dataclass(frozen=True, slots=True)
class Skipped:
    """The assertion cannot be checked here, and does not count."""

    reason: str


@dataclass(frozen=True, slots=True)
class Undecided:
    """The assertion could not be decided because of the answer or of its own code, and has failed."""

    reason: str


Finding = Found | Skipped | Undecided
Check = Callable[[CheckedAnswer], Finding]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of one assertion on one answer."""

    assertion: str
    """The assertion in a few words."""
    status: Status
    reason: str
    """One line: what was found, or why it was not checked."""
    weight: float = 1.0


@dataclass(frozen=True, slots=True)
class Checked:
    """What came of all assertions on one answer."""

    status: Status
    """Skipped if no assertion could be checked."""
    score: float | None
    """The weighted share of the checked assertions that passed; None if none could be checked."""
    threshold: float
    outcomes: tuple[Outcome, ...]

    @property
    def reasons(self) -> tuple[str, ...]:
        """Of the assertions that failed."""
        return tuple(outcome.reason for outcome in self.outcomes if outcome.status == "failed")


def shown(text: str, length: int = 60) -> str:
    """Return `text` in quotes, on one line, cut where it is longer than `length` characters."""
    flat = " ".join(text.split())
    return repr(flat if len(flat) <= length else flat[: length - 1] + "…")
