"""Short ways to an assertion and to what it finds."""

from pathlib import Path
from typing import Any

from tuningfork.tasks.assertions.answer import CheckedAnswer, Outcome
from tuningfork.tasks.assertions.assertion import read_assertion
from tuningfork.tasks.assertions.declaration import Source


def outcome(
    declared: dict[str, Any], text: str, *, folder: Path | None = None, trusted: bool = False, **known: Any
) -> Outcome:
    """What an assertion as declared finds in an answer."""
    return read_assertion(declared, Source(folder, trusted)).outcome(CheckedAnswer(text, **known))


def status(declared: dict[str, Any], text: str, **known: Any) -> str:
    """Its status alone."""
    return outcome(declared, text, **known).status
