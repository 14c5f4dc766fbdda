"""Text out of a file: compression, encodings, and errors that name the line and the byte."""

import codecs
import gzip
import io
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from itertools import chain
from pathlib import Path
from typing import BinaryIO, cast

from tuningfork.errors import DataError

LONGEST_LINE = 64 * 2**20
"""Characters: a line, or one element of a JSON array, longer than this is taken for a broken file."""

_CHUNK = 2**16
# UTF-32 little-endian starts with the two bytes of UTF-16's mark, so it comes first.
_BYTE_ORDER_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)


def read_lines(path: Path, *, newline: str | None = None) -> Iterator[str]:
    r"""Yields the physical lines of a text file with their line ends.

    With `newline=None` every line end becomes `\n`; with `newline=""` it stays as it is in the file, where a
    lone carriage return ends a line too.

    Raises:
        DataError: If the file cannot be read, is not text in UTF-8, UTF-16 or UTF-32, or has a line without
            end.
    """
    with _open_text(path, newline) as text:
        number = 0
        while line := text.readline(LONGEST_LINE):
            number += 1
            if "\0" in line:
                raise _null_byte(path, number)
            if len(line) == LONGEST_LINE and not line.endswith(("\n", "\r")):
                raise DataError(
                    f"{path} line {number}: longer than {LONGEST_LINE:,} characters; "
                    f"expected one row per line. Is this file really text?"
                )
            yield line


def read_chunks(path: Path) -> Iterator[str]:
    r"""Yields the text of a file in pieces; every line end is `\n`.

    Raises:
        DataError: If the file cannot be read or is not text in UTF-8, UTF-16 or UTF-32.
    """
    with _open_text(path, None) as text:
        line = 1
        while chunk := text.read(_CHUNK):
            if "\0" in chunk:
                raise _null_byte(path, line + chunk.count("\n", 0, chunk.index("\0")))
            line += chunk.count("\n")
            yield chunk


@contextmanager
def _open_text(path: Path, newline: str | None) -> Iterator[io.TextIOWrapper]:
    encoding = "utf-8"
    try:
        with _open_bytes(path) as binary:
            encoding, mark = _detect_encoding(binary)
            binary.seek(mark)
            with io.TextIOWrapper(binary, encoding=encoding, newline=newline) as text:
                yield text
    except UnicodeDecodeError as error:
        raise _undecodable(path, encoding) from error
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise DataError(
            f"{path}: the compressed data is damaged ({error}). Copy or compress the file again."
        ) from error
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror or error}).") from error


def _open_bytes(path: Path) -> BinaryIO:
    if path.suffix.lower() == ".gz":
        return cast(BinaryIO, gzip.open(path, "rb"))
    return path.open("rb")


def _detect_encoding(binary: BinaryIO) -> tuple[str, int]:
    """Returns the encoding and how many bytes its byte order mark takes."""
    start = binary.read(4)
    for mark, encoding in _BYTE_ORDER_MARKS:
        if start.startswith(mark):
            return encoding, len(mark)
    return "utf-8", 0


def _null_byte(path: Path, line: int) -> DataError:
    return DataError(
        f"{path} line {line}: holds a NUL byte, so this is not plain text, "
        f"or UTF-16 without a byte order mark. Save the file as UTF-8."
    )


def _undecodable(path: Path, encoding: str) -> DataError:
    """Returns the error for the first byte that is not `encoding`, found by reading the file once more.

    The reading above decodes ahead in blocks and cannot tell the place itself.
    """
    decoder = codecs.getincrementaldecoder(encoding)()
    name = encoding.upper().removesuffix("-LE").removesuffix("-BE")
    advice = "Open the file in the program that made it and save it as UTF-8."
    line = 1
    with _open_bytes(path) as binary:
        offset = _detect_encoding(binary)[1]
        binary.seek(offset)
        for chunk in chain(iter(partial(binary.read, _CHUNK), b""), [b""]):
            pending = len(decoder.getstate()[0])
            try:
                text = decoder.decode(chunk, final=not chunk)
            except UnicodeDecodeError as error:
                line += _count_line_ends(error.object[: error.start].decode(encoding))
                bad = error.object[error.start]
                place = f"byte {offset - pending + error.start} (0x{bad:02x})"
                return DataError(
                    f"{path} line {line}: {place} is not valid {name}{_guess(bad, name)}. {advice}"
                )
            line += _count_line_ends(text)
            offset += len(chunk)
    return DataError(f"{path}: is not valid {name}, or changed while it was read. {advice}")


def _guess(byte: int, encoding_name: str) -> str:
    character = bytes([byte]).decode("cp1252", "replace")
    is_telling = encoding_name == "UTF-8" and character.isalpha()
    return f" (it would be {character!r} in Windows-1252)" if is_telling else ""


def _count_line_ends(text: str) -> int:
    return text.count("\n") or text.count("\r")
