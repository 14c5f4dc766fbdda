"""Rows out of JSON: one object per line, or one array of objects, never holding the whole file."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tuningfork.data.rows import BadRows, RawRow, excerpt
from tuningfork.data.text_source import LONGEST_LINE, read_chunks, read_lines
from tuningfork.errors import DataError

_SHAPE = '{"text": "...", "label": "..."}'
_KINDS = {dict: "an object", list: "a list", str: "a string", bool: "true or false", type(None): "null"}
_NAME_IT_JSON = "If the whole file is one JSON array, name it .json"


def read_json_lines(path: Path, bad_rows: BadRows) -> Iterator[RawRow]:
    """Yields one row per line of a JSON Lines file; blank lines count but hold no row.

    Raises:
        DataError: If a line is not one JSON object and bad rows are not skipped.
    """
    for number, line in enumerate(read_lines(path), start=1):
        if line.isspace():
            continue
        where = f"{path} line {number}"
        try:
            values = _DECODER.decode(line.rstrip())
        except (ValueError, RecursionError) as error:
            is_spread = number == 1 and line.strip() in ("[", "{", "[{")
            bad_rows.report(
                f"{where}: broken JSON, {_explain(error)}; expected one object per line such as {_SHAPE}, "
                f"found {excerpt(line)}.",
                remedy=_NAME_IT_JSON if is_spread else "Fix the line",
            )
            continue
        if not isinstance(values, dict):
            bad_rows.report(
                f"{where}: {_kind(values)}; expected one object such as {_SHAPE}, found {excerpt(line)}.",
                remedy=_NAME_IT_JSON if isinstance(values, list) else "Fix the line",
            )
            continue
        yield RawRow(values, f"{path}:{number}")


def read_json_array(path: Path, bad_rows: BadRows) -> Iterator[RawRow]:
    """Yields the objects of one JSON array; a row's place is the line its object starts on.

    Raises:
        DataError: If the text is not one array, is broken (after which no row can be told from the next, so
            this is never skipped), or an element is not an object and bad rows are not skipped.
    """
    text = _Window(path)
    opening = text.peek()
    if not opening:
        return
    if opening != "[":
        raise DataError(
            f"{path} line {text.line}: starts with {opening!r}; expected one JSON array of objects, "
            f"[{_SHAPE}, ...]. If each line is an object, name the file .jsonl."
        )
    text.take()
    separator = "]" if text.peek() == "]" else ","
    if separator == "]":
        text.take()
    while separator == ",":
        text.peek()
        line = text.line
        values = text.take_value()
        if isinstance(values, dict):
            yield RawRow(values, f"{path}:{line}")
        else:
            found = excerpt(json.dumps(values, ensure_ascii=False))
            bad_rows.report(
                f"{path} line {line}: {_kind(values)}; expected an object such as {_SHAPE}, found {found}."
            )
        separator = text.peek()
        if separator not in (",", "]"):
            found = separator or "the end of the file"
            raise text.broken(f"expected ',' or ']' after an element, found {found!r}")
        text.take()
    if text.peek():
        raise text.broken("there is more text after the array's closing ']'")


class _Window:
    """The part of the text being parsed: what lies behind is forgotten, its lines counted."""

    def __init__(self, path: Path) -> None:
        self.line = 1
        self._path = path
        self._chunks = read_chunks(path)
        self._text = ""
        self._at = 0

    def peek(self) -> str:
        """Returns the next character that is not white space, or "" at the end."""
        while True:
            rest = self._text[self._at : self._at + 1]
            if not rest:
                if not self._grow():
                    return ""
            elif rest in " \t\r\n":
                self._advance(self._at + 1)
            else:
                return rest

    def take(self) -> None:
        """Steps over the character that `peek` returned."""
        self._at += 1

    def take_value(self) -> Any:
        """Returns the JSON value that starts here and steps over it."""
        while True:
            try:
                value, end = _DECODER.raw_decode(self._text, self._at)
            except json.JSONDecodeError as error:
                ahead = error.pos - self._at
                if not (self._may_be_cut_off(error) and self._grow()):
                    self._advance(min(self._at + ahead, len(self._text)))
                    raise self.broken(error.msg[:1].lower() + error.msg[1:]) from error
            except (ValueError, RecursionError) as error:
                raise self.broken(_explain(error)) from error
            else:
                # A number at the end of the window may go on in the next chunk.
                if end == len(self._text) and isinstance(value, int | float) and self._grow():
                    continue
                self._advance(end)
                return value

    def broken(self, what: str) -> DataError:
        """Returns the error for text that is not JSON at this place."""
        found = excerpt(self._text[self._at :]) or "nothing"
        return DataError(
            f"{self._path} line {self.line}: broken JSON, {what}; found {found}. "
            f"Fix the file; in a .jsonl file, one object per line, bad rows can be skipped."
        )

    def _may_be_cut_off(self, error: json.JSONDecodeError) -> bool:
        """Whether more text could cure `error`; a broken file must not be read to its end for nothing."""
        if len(self._text) - self._at > LONGEST_LINE:
            return False
        longest_token = len("-Infinity")
        return error.msg.startswith("Unterminated string") or error.pos >= len(self._text) - longest_token

    def _grow(self) -> bool:
        """Drops what lies behind and at least doubles what lies ahead; False at the end of the text."""
        pieces = [self._text[self._at :]]
        wanted = max(len(pieces[0]), 1)
        grown = 0
        while grown < wanted and (chunk := next(self._chunks, "")):
            pieces.append(chunk)
            grown += len(chunk)
        self._text, self._at = "".join(pieces), 0
        return grown > 0

    def _advance(self, to: int) -> None:
        self.line += self._text.count("\n", self._at, to)
        self._at = to


def _unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(pairs)
    if len(values) != len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for key in values if keys.count(key) > 1)
        raise ValueError(f"the key {twice!r} occurs twice in one object")
    return values


_DECODER = json.JSONDecoder(object_pairs_hook=_unique_keys)


def _explain(error: ValueError | RecursionError) -> str:
    if isinstance(error, json.JSONDecodeError):
        return f"column {error.colno}: {error.msg[:1].lower()}{error.msg[1:]}"
    return "too many nested levels" if isinstance(error, RecursionError) else str(error)


def _kind(value: Any) -> str:
    return _KINDS.get(type(value), "a number")
