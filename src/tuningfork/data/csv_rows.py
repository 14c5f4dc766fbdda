"""Rows out of comma-, semicolon- or tab-separated text with a header line."""

import csv
from collections.abc import Iterator
from itertools import chain
from pathlib import Path

from tuningfork.data.rows import BadRows, RawRow, excerpt
from tuningfork.data.text_source import read_lines
from tuningfork.errors import DataError

_SEPARATOR_NAMES = {",": "comma", ";": "semicolon", "\t": "tab"}


def read_separated(path: Path, bad_rows: BadRows) -> Iterator[RawRow]:
    """Yields one row per record; a row's place is the physical line it starts on.

    A `.tsv` file is separated by tabs, a `.csv` file by commas or, when its header holds none, by semicolons
    or tabs. Quotes follow RFC 4180. Columns without a name are left out: spreadsheets and data frames write
    them for empty columns and for row numbers.

    Raises:
        DataError: If the header is missing or repeats a name, a quote never closes, or a record has more or
            fewer columns than the header and bad rows are not skipped.
    """
    lines = _RememberedLines(path)
    separator = lines.detect_separator()
    reader = csv.reader(lines, delimiter=separator, strict=True)
    header: list[str] | None = None
    start = 1
    while True:
        lines.forget()
        try:
            record = next(reader, None)
        except csv.Error as error:
            end = f"-{reader.line_num}" if reader.line_num > start else ""
            _report_malformed(error, f"{path} line{'s' * bool(end)} {start}{end}", lines, bad_rows)
            if header is None:
                raise DataError(f"{path} line {start}: the header line cannot be read ({error}).") from error
            start = reader.line_num + 1
            continue
        if record is None:
            return
        is_blank = not record or (len(record) == 1 and not record[0].strip())
        if not is_blank and header is None:
            header = _check_header(record, f"{path} line {start}")
        elif not is_blank and header is not None:
            if len(record) == len(header):
                pairs = zip(header, record, strict=True)
                yield RawRow({name: value for name, value in pairs if name}, f"{path}:{start}")
            else:
                _report_width(record, header, f"{path} line {start}", separator, lines.taken, bad_rows)
        start = reader.line_num + 1


class _RememberedLines:
    """The physical lines of a file, remembering those of the current record for error messages."""

    def __init__(self, path: Path) -> None:
        self.taken = ""
        self.has_ended = False
        self._is_tabbed = path.name.lower().removesuffix(".gz").endswith(".tsv")
        self._lines = read_lines(path, newline="")

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        line = next(self._lines, None)
        if line is None:
            self.has_ended = True
            raise StopIteration
        if len(self.taken) < 200:
            self.taken += line
        return line

    def forget(self) -> None:
        self.taken = ""

    def detect_separator(self) -> str:
        """Returns the separator of the first line that is not blank; no line is lost."""
        if self._is_tabbed:
            return "\t"
        blank = []
        for line in self._lines:
            if line.isspace():
                blank.append(line)
                continue
            self._lines = chain(blank, [line], self._lines)
            return next((mark for mark in _SEPARATOR_NAMES if mark in line), ",")
        return ","


def _check_header(record: list[str], where: str) -> list[str]:
    names = [name.strip() for name in record]
    for position, name in enumerate(names):
        if name and name in names[:position]:
            both = f"columns {names.index(name) + 1} and {position + 1}"
            raise DataError(
                f"{where}: the header names {name!r} twice, {both}. Rename or remove one of them."
            )
    if not any(names):
        raise DataError(
            f"{where}: the header holds no column names; expected a first line such as text,label."
        )
    return names


def _report_malformed(error: csv.Error, where: str, lines: _RememberedLines, bad_rows: BadRows) -> None:
    # Such a row has swallowed the ones after it: leaving it out would lose them without a word.
    if "field larger than" in str(error) or (lines.has_ended and "unexpected end" in str(error)):
        raise DataError(
            f"{where}: a quote opens in this row and does not close before the end of the file "
            f"or within {csv.field_size_limit():,} characters, found {excerpt(lines.taken)}. "
            f"Close the quote, double a quote that belongs to the text, or save longer texts as .jsonl."
        ) from error
    bad_rows.report(
        f"{where}: badly quoted ({error}), found {excerpt(lines.taken)}.",
        remedy='Put quotes around the whole field and double the quotes inside it ("")',
    )


def _report_width(
    record: list[str], header: list[str], where: str, separator: str, taken: str, bad_rows: BadRows
) -> None:
    mark = _SEPARATOR_NAMES[separator]
    names = ", ".join(f'"{name}"' for name in header)
    columns = "1 column" if len(record) == 1 else f"{len(record)} columns"
    if len(record) > len(header):
        guess, remedy = f"holds a {mark} that is not quoted", "Quote the field"
    else:
        guess, remedy = f"lacks a {mark} or is cut off", "Complete the row"
    bad_rows.report(
        f"{where}: {columns}, the header has {len(header)} ({names}).",
        details=f"The row {guess}:  {excerpt(taken)}",
        remedy=remedy,
    )
