"""Guessing which columns are the input and which is the answer, from their names or what they hold."""

import json
import re
from collections.abc import Collection, Mapping, Sequence
from enum import Enum, auto
from typing import Any

from tuningfork.data.columns import ColumnMap
from tuningfork.data.rows import RawRow
from tuningfork.errors import DataError

# fmt: off
_MESSAGES_NAMES = frozenset({
    "messages", "conversations", "conversation", "chat", "dialog", "dialogue", "turns",
})
_INPUT_NAMES = frozenset({
    "text", "message", "question", "prompt", "input", "review", "instruction", "query", "context",
    "passage", "premise", "hypothesis", "sentence", "sentence1", "sentence2", "document", "article",
    "comment", "content", "utterance", "ticket", "email", "subject", "title", "body", "description",
    "post", "tweet", "inquiry", "request", "inputs", "problem",
})
_TARGET_NAMES = frozenset({
    "label", "category", "queue", "reply", "answer", "response", "target", "completion", "output",
    "intent", "class", "sentiment", "answers", "labels", "targets", "summary", "translation",
    "highlights", "outputs", "topic", "solution",
})
# Columns that describe the row and are neither asked nor answered.
_BOOKKEEPING_WORDS = frozenset({
    "id", "idx", "index", "uuid", "guid", "timestamp", "date", "time", "url", "created", "updated",
    "row",
})
# fmt: on


def guess_columns(rows: Sequence[RawRow], *, needs_target: bool = True) -> ColumnMap:
    """Returns the columns that look like input and target in a sample of rows, with a sentence that says why.

    Names decide first (`message`, `question`... are inputs; `reply`, `label`... are targets). Of two
    columns whose names do not tell, the one with clearly fewer different or shorter values is the target.
    When no target is needed, only a name makes a column the target.

    Raises:
        DataError: If the sample does not tell. The message lists the columns and how to name them.
    """
    if not rows:
        raise DataError("no rows to guess the columns from; expected at least one.")
    names = list(dict.fromkeys(name for row in rows for name in row.values))
    names = [name for name in names if any(row.values.get(name) not in (None, "") for row in rows)]
    if conversation := next((name for name in names if _holds_conversations(name, rows)), None):
        why = f"Guessed from the columns: conversations in `{conversation}`, target the last assistant turn."
        return ColumnMap(messages=conversation, explanation=why)
    kinds = {name: kind for name in names if (kind := _kind_of(name)) is not _Kind.BOOKKEEPING}
    try:
        target, reason = _choose_target(kinds, rows, needs_target=needs_target)
        inputs = _choose_inputs([name for name in kinds if name != target], kinds)
    except _Undecided as error:
        raise DataError(
            f"{rows[0].source.rpartition(':')[0]}: cannot tell which columns are the input and the target: "
            f"{error}; found {', '.join(map(repr, names)) or 'no filled columns'}. "
            f"Name them: --input COLUMN --target COLUMN."
        ) from None
    answer = f"target `{target}`{reason}" if target is not None else "no target"
    return ColumnMap(
        inputs=_as_variables(inputs),
        target=target,
        is_json_target=target is not None and any(_is_structured(row.values.get(target)) for row in rows),
        explanation=f"Guessed from the columns: input {', '.join(f'`{name}`' for name in inputs)}, {answer}.",
    )


class _Undecided(Exception):
    """The sample does not tell; the message says why."""


class _Kind(Enum):
    """What a column's name says about it; a likely kind comes from one of several words in the name."""

    INPUT = auto()
    LIKELY_INPUT = auto()
    TARGET = auto()
    LIKELY_TARGET = auto()
    BOOKKEEPING = auto()
    UNKNOWN = auto()


_INPUT_KINDS = (_Kind.INPUT, _Kind.LIKELY_INPUT)


def _kind_of(name: str) -> _Kind:
    words = re.findall(r"[^\W_]+", re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name).casefold())
    whole = "".join(words)
    if whole in _INPUT_NAMES:
        return _Kind.INPUT
    if whole in _TARGET_NAMES:
        return _Kind.TARGET
    if not words or not _BOOKKEEPING_WORDS.isdisjoint(words):
        return _Kind.BOOKKEEPING
    # `ticket_category` and `label_text` are answers: the words for inputs are the vaguer ones.
    if not _TARGET_NAMES.isdisjoint(words):
        return _Kind.LIKELY_TARGET
    return _Kind.UNKNOWN if _INPUT_NAMES.isdisjoint(words) else _Kind.LIKELY_INPUT


def _holds_conversations(name: str, rows: Sequence[RawRow]) -> bool:
    if name.casefold() not in _MESSAGES_NAMES:
        return False
    turns = next((value for row in rows if (value := row.values.get(name))), None)
    if not isinstance(turns, list) or not isinstance(turns[0], dict):
        return False
    return any(keys <= turns[0].keys() for keys in ({"role", "content"}, {"from", "value"}))


def _choose_target(
    kinds: Mapping[str, _Kind], rows: Sequence[RawRow], *, needs_target: bool
) -> tuple[str | None, str]:
    """Returns the target and, if not its name alone decided, why."""
    named = [name for name, kind in kinds.items() if kind is _Kind.TARGET]
    named = named or [name for name, kind in kinds.items() if kind is _Kind.LIKELY_TARGET]
    if len(named) == 1:
        return _spelled_out(named[0], kinds), ""
    if not needs_target:
        return None, ""
    others = [name for name, kind in kinds.items() if kind not in _INPUT_KINDS]
    if not named and len(others) == 1 and len(kinds) > 1:
        return others[0], " (the only column not named like an input)"
    if len(kinds) == 2:
        return _choose_by_content(*kinds, rows=rows)
    if named:
        raise _Undecided(f"{' and '.join(map(repr, named))} could each be the target")
    raise _Undecided("no column is named like a target")


def _spelled_out(label: str, names: Collection[str]) -> str:
    """Returns `label_text` rather than `label` where both are there: words beside the numbers for them."""
    return next((name for name in (f"{label}_text", f"{label}_name") if name in names), label)


def _choose_by_content(first: str, second: str, *, rows: Sequence[RawRow]) -> tuple[str, str]:
    texts = {
        name: [json.dumps(row.values.get(name), ensure_ascii=False, default=str) for row in rows]
        for name in (first, second)
    }
    distinct = {name: len(set(values)) for name, values in texts.items()}
    fewer, more = sorted(texts, key=distinct.__getitem__)
    if distinct[more] >= 2 * distinct[fewer] and distinct[fewer] > 1:
        counts = f"{distinct[fewer]} different values in {len(rows)} rows, `{more}` has {distinct[more]}"
        return fewer, f" ({counts})"
    length = {name: sum(map(len, values)) / len(values) for name, values in texts.items()}
    shorter, longer = sorted(texts, key=length.__getitem__)
    if length[longer] >= 1.5 * length[shorter]:
        return shorter, f" (on average {length[shorter]:.0f} characters, `{longer}` has {length[longer]:.0f})"
    raise _Undecided("their values are equally long and varied")


def _choose_inputs(names: Sequence[str], kinds: Mapping[str, _Kind]) -> list[str]:
    inputs = [name for name in names if kinds[name] in _INPUT_KINDS]
    if inputs:
        return inputs
    if len(names) > 1:
        names = [name for name in names if kinds[name] is _Kind.UNKNOWN]
    if len(names) != 1:
        raise _Undecided("several columns could be the input" if names else "no column is left for the input")
    return list(names)


def _as_variables(columns: Sequence[str]) -> dict[str, str]:
    """Returns the columns by names that can stand in a template: `Customer message` is `Customer_message`."""
    variables: dict[str, str] = {}
    for column in columns:
        variable = re.sub(r"\W+", "_", column).strip("_") or "input"
        if not variable.isidentifier():
            variable = f"column_{variable}"
        while variable in variables:
            variable += "_"
        variables[variable] = column
    return variables


def _is_structured(value: Any) -> bool:
    return isinstance(value, dict) or (
        isinstance(value, list) and any(isinstance(each, dict | list) for each in value)
    )
