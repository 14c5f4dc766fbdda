"""What policies may say of gates: settings with their meanings, checked in one way."""

import math
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any

from tuningfork.errors import LibraryError
from tuningfork.library.gates.gate import Settings


@dataclass(frozen=True, slots=True)
class Setting:
    """One setting of a gate."""

    meaning: str
    expected: str
    """What it must be, as messages say it."""
    accepts: Callable[[Any], bool]


def number(meaning: str, *, low: float = 0.0, high: float = math.inf, excludes_low: bool = False) -> Setting:
    """A setting that is a number from `low` to `high`."""

    def accepts(value: Any) -> bool:
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            return False
        return low <= value <= high and not (excludes_low and value == low)

    first = f"a number above {low:g}" if excludes_low else f"a number from {low:g}"
    return Setting(meaning, first if math.isinf(high) else f"{first} to {high:g}", accepts)


def count(meaning: str, *, low: int = 1) -> Setting:
    """A setting that is a whole number."""
    return Setting(
        meaning,
        f"a whole number from {low}",
        lambda value: isinstance(value, int) and not isinstance(value, bool) and value >= low,
    )


def choice(meaning: str, *words: str) -> Setting:
    """A setting that is one of some words."""
    return Setting(meaning, " or ".join(words), lambda value: isinstance(value, str) and value in words)


def text(meaning: str) -> Setting:
    """A setting that is any text."""
    return Setting(meaning, "a text", lambda value: isinstance(value, str) and value.strip() == value != "")


LEVEL = Setting(
    "confidence of the interval",
    "a number above 0.5 and below 1",
    lambda value: isinstance(value, float) and 0.5 < value < 1,
)
TEST_SET = text("name or hash of the set of rows that counts, in place of all frozen ones")
DEFAULT_LEVEL = 0.95


def check_settings(
    gate: str,
    settings: Settings,
    known: Mapping[str, Setting],
    *,
    needs_one_of: Collection[str] = (),
) -> None:
    """Check what a policy says of a gate.

    Raises:
        LibraryError: if a setting is unknown, impossible, or none is there of those that one is needed of.
    """
    for name, value in settings.items():
        if name not in known:
            raise LibraryError(f"gate {gate}: {name!r:.40} is no setting of it; there are {', '.join(known)}")
        if not known[name].accepts(value):
            raise LibraryError(f"gate {gate}: {name} must be {known[name].expected}, found {value!r:.40}")
    if needs_one_of and not set(needs_one_of) & set(settings):
        raise LibraryError(f"gate {gate}: needs {' or '.join(needs_one_of)}, found {dict(settings)}")
