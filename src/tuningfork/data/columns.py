"""Which columns are the input and which is the answer: guessing it, and making examples of rows."""

import difflib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, datetime, time
from decimal import Decimal
from typing import Any

from tuningfork.data.example import Example, Message, Role
from tuningfork.data.rows import RawRow, describe_place, excerpt
from tuningfork.data.word_tags import read_tags, read_words
from tuningfork.errors import DataError

_ROLES: dict[str, Role] = {
    "system": "system",
    "user": "user",
    "assistant": "assistant",
    "human": "user",
    "gpt": "assistant",
}


@dataclass(frozen=True, slots=True)
class ColumnMap:
    """Which columns of a row become the parts of an example."""

    inputs: Mapping[str, str] = field(default_factory=dict)
    """Template variable -> column."""
    target: str | None = None
    """Column of the answer. None for rows that are only predicted, or whose answer is in `messages`."""
    messages: str | None = None
    """Column of a conversation: a list of `role` and `content`, or of `from` and `value`."""
    is_json_target: bool = False
    """A list in the target column is one JSON answer, even `[]`, rather than several references."""
    has_tags: bool = False
    """The input columns hold words, and the target column a list with a tag for each of them."""
    optional: frozenset[str] = frozenset()
    """Template variables whose column a row may lack; their text is then empty."""
    explanation: str = ""
    """One sentence on how the columns were guessed; empty if they were named."""


def to_example(row: RawRow, columns: ColumnMap, *, needs_target: bool = True) -> Example:
    """Returns the example that `row` holds.

    Values become text: numbers and booleans as in JSON, dates in ISO form, dicts and lists as compact JSON
    with their keys in the order given, null and NaN as empty text. A list of texts or numbers in the target
    column holds several references; targets lose the white space around them and empty ones are left out.
    Without a target column, the last assistant turn of the conversation is the target and the turns before
    it are the messages; when no target is needed, a conversation without one is kept whole.

    Words and tags become texts with single spaces between; where no target is needed, tags are not read.

    Raises:
        DataError: If a column is missing or holds a value that cannot become text, or a conversation has an
            unknown role, a malformed turn, or no assistant turn although a target is needed; or if a row has
            not one tag for each of its words.
    """
    if columns.has_tags:
        return _tagged_example(row, columns, needs_target=needs_target)
    inputs = {
        variable: ""
        if variable in columns.optional and column not in row.values
        else _as_text(_value(row, column, "input"), row, column)
        for variable, column in columns.inputs.items()
    }
    targets: tuple[str, ...] = ()
    messages: tuple[Message, ...] = ()
    if columns.messages is not None:
        messages = _read_messages(row, columns.messages)
    if columns.target is not None:
        if needs_target or columns.target in row.values:
            targets = _read_targets(row, columns.target, is_json=columns.is_json_target)
    elif messages:
        messages, targets = _split_answer(messages, row, needs_target=needs_target)
    return Example(inputs, tuple(text for text in targets if text), messages, row.source)


def _tagged_example(row: RawRow, columns: ColumnMap, *, needs_target: bool) -> Example:
    inputs = {
        variable: _as_text(read_words(_value(row, column, "input"), _place(row, column)), row, column)
        for variable, column in columns.inputs.items()
    }
    if columns.target is None or not needs_target:
        return Example(inputs, source=row.source)
    (words,) = inputs.values()
    value = _value(row, columns.target, "target")
    tags = read_tags(value, _place(row, columns.target), len(words.split()))
    return Example(inputs, (_as_text(tags, row, columns.target),), source=row.source)


def _place(row: RawRow, column: str) -> str:
    return f"{describe_place(row.source)}: column {column!r}"


def _value(row: RawRow, column: str, purpose: str) -> Any:
    if column in row.values:
        return row.values[column]
    found = ", ".join(map(repr, row.values)) or "no columns"
    close = difflib.get_close_matches(column, row.values, n=1)
    hint = f"Did you mean {close[0]!r}? " if close else ""
    raise DataError(
        f"{describe_place(row.source)}: no column {column!r}, the {purpose}; found {found}. "
        f"{hint}Correct the row or name the column to use."
    )


def _as_text(value: Any, row: RawRow, column: str) -> str:
    match value:
        case None:
            text = ""
        case str():
            text = value
        case float() if math.isnan(value):
            text = ""
        case bool() | int() | float() | dict() | list():
            text = _as_json(value, row, column)
        case datetime() | date() | time():
            text = value.isoformat()
        case Decimal():
            text = str(value)
        case _:
            raise _unusable(row, column, f"holds {type(value).__name__}; expected text, a number or JSON")
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError as error:
            what = f"holds half of a surrogate pair at character {error.start + 1}"
            raise _unusable(row, column, f"{what}; expected complete characters") from error
    return text


def _as_json(value: Any, row: RawRow, column: str) -> str:
    try:
        return json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    except (TypeError, ValueError, RecursionError) as error:
        raise _unusable(row, column, f"cannot be written as JSON ({error})") from error


def _unusable(row: RawRow, column: str, what: str) -> DataError:
    return DataError(f"{describe_place(row.source)}: column {column!r} {what}. Correct the row.")


def _read_targets(row: RawRow, column: str, *, is_json: bool) -> tuple[str, ...]:
    value = _value(row, column, "target")
    is_references = isinstance(value, list) and not is_json and not _has_structure(value)
    values = value if is_references else [value]
    return tuple(_as_text(each, row, column).strip() for each in values)


def _has_structure(values: list[Any]) -> bool:
    return any(isinstance(value, dict | list) for value in values)


def _read_messages(row: RawRow, column: str) -> tuple[Message, ...]:
    turns = _value(row, column, "conversation")
    if not isinstance(turns, list):
        raise _unusable(row, column, f"holds {excerpt(repr(turns), 30)}; expected a list of role and content")
    if not turns:
        raise _unusable(row, column, "holds an empty conversation; expected at least one turn")
    return tuple(_read_turn(turn, number, row, column) for number, turn in enumerate(turns, start=1))


def _read_turn(turn: Any, number: int, row: RawRow, column: str) -> Message:
    fields = turn if isinstance(turn, Mapping) else {}
    role, content = fields.get("role", fields.get("from")), fields.get("content", fields.get("value"))
    if not (isinstance(role, str) and isinstance(content, str)):
        what = f"turn {number} is {excerpt(repr(turn), 40)}; expected texts for role and content"
        raise _unusable(row, column, what)
    if role not in _ROLES:
        what = f"turn {number} has the role {role!r}; expected one of {', '.join(_ROLES)}"
        raise _unusable(row, column, what)
    return Message(_ROLES[role], _as_text(content, row, column))


def _split_answer(
    messages: tuple[Message, ...], row: RawRow, *, needs_target: bool
) -> tuple[tuple[Message, ...], tuple[str, ...]]:
    """Returns the turns before the last assistant turn, and that turn's text as the target."""
    answers = [at for at, message in enumerate(messages) if message.role == "assistant"]
    if not needs_target and (not answers or answers[-1] != len(messages) - 1):
        return messages, ()
    place = describe_place(row.source)
    if not answers:
        raise DataError(
            f"{place}: the conversation has no assistant turn to learn from. Add one or drop the row."
        )
    if answers[-1] == 0:
        raise DataError(
            f"{place}: the conversation starts with its only assistant turn; expected a user turn first."
        )
    return messages[: answers[-1]], (messages[answers[-1]].content.strip(),)
