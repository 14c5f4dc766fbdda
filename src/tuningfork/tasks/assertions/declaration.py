"""One assertion as it is declared in a file: its kind, what it is given, and its options."""

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tuningfork.errors import TaskError
from tuningfork.tasks.assertions.answer import Check

_LARGEST_FILE = 10 * 2**20


@dataclass(frozen=True, slots=True)
class Source:
    """Where assertions are declared, and what that allows."""

    folder: Path | None = None
    """Files and code that they name lie in it; None if there is none, and code is not looked at yet."""
    trusted: bool = False
    """Whether Python code that they name may run."""


@dataclass(frozen=True, slots=True)
class Declared:
    """The value and the options of an assertion, read with errors that say what was expected."""

    kind: str
    value: Any
    options: Mapping[str, Any] = field(default_factory=dict)
    source: Source = field(default_factory=Source)

    def texts(self) -> tuple[str, ...]:
        """The value as one text or more.

        Raises:
            TaskError: It is neither a text nor a list of texts, or a text is empty.
        """
        return self.as_texts(self.value, "")

    def as_texts(self, value: object, place: str) -> tuple[str, ...]:
        """`value` as one text or more; `place` names it in errors.

        Raises:
            TaskError: It is neither a text nor a list of texts, or a text is empty.
        """
        items = value if isinstance(value, list) else [value]
        texts = tuple(_as_text(item) for item in items)
        if not texts or not all(texts):
            raise TaskError(f"{self.kind}{place}: expected a text or a list of texts, found {_brief(value)}")
        return tuple(text for text in texts if text)

    def number(self, *, least: float = 0.0, most: float = math.inf) -> float:
        """The value as a number from `least` to `most`.

        Raises:
            TaskError: It is none, or out of range.
        """
        return self.as_number(self.value, "", least=least, most=most)

    def as_number(self, value: object, place: str, *, least: float = 0.0, most: float = math.inf) -> float:
        """`value` as a number from `least` to `most`; `place` names it in errors.

        Raises:
            TaskError: It is none, or out of range.
        """
        number = _as_number(value)
        if number is None or not least <= number <= most:
            bounds = f"of at least {least:g}" if most == math.inf else f"from {least:g} to {most:g}"
            raise TaskError(f"{self.kind}{place}: expected a number {bounds}, found {_brief(value)}")
        return number

    def flag(self, name: str) -> bool:
        """The option `name`, which is off by default.

        Raises:
            TaskError: It is neither true nor false.
        """
        value = self.options.get(name, False)
        if not isinstance(value, bool):
            raise TaskError(f"{self.kind}: {name}: expected true or false, found {_brief(value)}")
        return value

    def choice(self, name: str, known: tuple[str, ...]) -> str:
        """The option `name`, one of `known`, by default the first.

        Raises:
            TaskError: It is none of them.
        """
        value = self.options.get(name, known[0])
        if value not in known:
            raise TaskError(f"{self.kind}: {name}: expected one of {', '.join(known)}, found {_brief(value)}")
        return str(value)

    def is_on(self) -> None:
        """Check that the value is `true`, as of an assertion that needs nothing else.

        Raises:
            TaskError: It is something else.
        """
        if self.value is not True:
            raise TaskError(
                f"{self.kind}: expected true, found {_brief(self.value)}; what must not hold is not: true"
            )

    def file(self, name: object) -> str:
        """The text of the file `name` in the folder of the declaration.

        Raises:
            TaskError: It is not in the folder, or cannot be read.
        """
        if not isinstance(name, str) or not name.strip():
            raise TaskError(f"{self.kind}: file: expected the name of a file, found {_brief(name)}")
        if self.source.folder is None:
            raise TaskError(f"{self.kind}: file: {name} can only be named in a file that lies beside it")
        try:
            path = (self.source.folder / name).resolve()
            if not path.is_relative_to(self.source.folder.resolve()):
                raise TaskError(f"{self.kind}: file: {name} leads out of {self.source.folder}; put it there")
            if path.stat().st_size > _LARGEST_FILE:
                raise TaskError(f"{self.kind}: file: {path} has more than {_LARGEST_FILE >> 20} MB")
            return path.read_text(encoding="utf-8-sig")
        except (OSError, ValueError) as error:
            problem = getattr(error, "strerror", None) or str(error)
            raise TaskError(f"{self.kind}: file: {name} cannot be read: {problem}") from error


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of assertion: how its declaration is read, and what it may say."""

    name: str
    read: Callable[[Declared], Check]
    options: frozenset[str] = frozenset()
    """Besides those that all kinds have."""
    default_threshold: float | None = None
    """The score from which a graded kind passes; None for kinds that only hold or do not."""
    needs_expected: Callable[[Declared], bool] = lambda declared: False
    """Whether the declaration compares with the expected answer of a case."""
    parse_file: Callable[[str], Any] | None = None
    """Makes the value of the text of a file, for kinds whose value may be `file: NAME`."""

    def value_without_file(self, declared: Declared) -> Any:
        """The value of `declared` with what its file says, where it names one.

        Raises:
            TaskError: The file is not in the folder of the declaration, or cannot be used.
        """
        value = declared.value
        if self.parse_file is None or not isinstance(value, dict) or value.keys() != {"file"}:
            return value
        text = declared.file(value["file"])
        try:
            return self.parse_file(text)
        except ValueError as error:
            raise TaskError(f"{declared.kind}: file: {value['file']} cannot be used: {error}") from error


def _as_text(value: object) -> str | None:
    # YAML reads an unquoted 24 or 7.5 as a number where a text is meant.
    if isinstance(value, int | float) and not isinstance(value, bool):
        return json.dumps(value)
    return value if isinstance(value, str) else None


def _as_number(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None


def _brief(value: object) -> str:
    if value is None:
        return "nothing"
    return f"{value!r:.60}" if isinstance(value, str | bool | int | float) else f"a {type(value).__name__}"
