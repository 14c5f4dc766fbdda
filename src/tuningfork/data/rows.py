"""A row as it was read, the words for where it was read, and what happens to a row that cannot be used."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tuningfork.errors import DataError

TEXT_EXTENSIONS = (".jsonl", ".ndjson", ".json", ".csv", ".tsv")


@dataclass(frozen=True, slots=True)
class RawRow:
    """One row before its columns are mapped.

    `source` is where it was read: `file.jsonl:812` is line 812 of a text file, `file.parquet:812` its 812th
    row.
    """

    values: dict[str, Any]
    source: str


class BadRows:
    """Decides what a row that cannot be used does: stop the reading, or be recorded and left out.

    `on_bad_row` receives one line of text for each row that is left out.
    """

    def __init__(self, *, are_skipped: bool = False, on_bad_row: Callable[[str], None] | None = None) -> None:
        self.are_skipped = are_skipped
        self.count = 0
        self._on_bad_row = on_bad_row

    def report(self, problem: str, details: str = "", remedy: str = "Fix the row") -> None:
        """Record `problem` when bad rows are skipped, else raise it with what to do about it.

        Raises:
            DataError: If bad rows are not to be skipped. `problem` is its first line.
        """
        if not self.are_skipped:
            advice = f"{remedy}, or pass --skip-bad-rows to leave such rows out and see which."
            # The indent lines up with a first line that starts with "Error: ".
            parts = (problem, details, advice)
            raise DataError("\n       ".join(parts) if details else f"{problem} {advice}")
        self.count += 1
        if self._on_bad_row is not None:
            self._on_bad_row(problem)


def describe_place(source: str) -> str:
    """Returns `source` in words: `tickets.csv:812` is `tickets.csv line 812`."""
    name, colon, number = source.rpartition(":")
    if not (colon and number.isdecimal()):
        return source
    is_text = name.lower().removesuffix(".gz").endswith(TEXT_EXTENSIONS)
    return f"{name} {'line' if is_text else 'row'} {number}"


def excerpt(text: str, length: int = 60) -> str:
    """Returns the first `length` characters of `text` on one line."""
    flat = " ".join(text[: length * 4].split())
    return flat if len(flat) <= length else flat[: length - 1] + "…"
