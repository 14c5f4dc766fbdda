"""Files in one file: an ordinary zip without compression, of which there is exactly one way to write it.

So the same members always give the same bytes, and whatever differs from them by a single byte, such as a
member more, a header that says otherwise, or something behind the end, is found and refused.
"""

import os
import struct
import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from tuningfork.errors import FormatError

MOST_BYTES = 2**31
"""Of a whole file; beyond 4 GiB a zip needs other headers."""
MOST_MEMBERS = 10_000
_LOCAL = struct.Struct("<4s5H3L2H")
_CENTRAL = struct.Struct("<4s6H3L5H2L")
_END = struct.Struct("<4s4H2LH")
_LOCAL_MARK, _CENTRAL_MARK, _END_MARK = b"PK\x03\x04", b"PK\x01\x02", b"PK\x05\x06"
_VERSION, _MADE_ON_UNIX = 20, 20 | 3 << 8
_FIRST_DAY = 1 << 5 | 1
"""The first of January 1980, the earliest that a zip can say."""
_PLAIN_FILE = 0o100644 << 16


@dataclass(frozen=True, slots=True)
class _Entry:
    name: bytes
    crc: int
    num_bytes: int
    offset: int

    @property
    def local_header(self) -> bytes:
        rest = (_VERSION, 0, 0, 0, _FIRST_DAY, self.crc, self.num_bytes, self.num_bytes, len(self.name), 0)
        return _LOCAL.pack(_LOCAL_MARK, *rest) + self.name

    @property
    def central_header(self) -> bytes:
        shared = (_VERSION, 0, 0, 0, _FIRST_DAY, self.crc, self.num_bytes, self.num_bytes, len(self.name))
        rest = (_MADE_ON_UNIX, *shared, 0, 0, 0, 0, _PLAIN_FILE, self.offset)
        return _CENTRAL.pack(_CENTRAL_MARK, *rest) + self.name


def write_members(file: BinaryIO, members: Iterable[tuple[str, bytes]]) -> None:
    """Write `members`, names with contents, to `file`.

    Raises:
        FormatError: if they are too many, or too large together.
    """
    entries: list[_Entry] = []
    offset = 0
    for name, content in members:
        entry = _Entry(name.encode("ascii"), zlib.crc32(content), len(content), offset)
        offset += len(entry.local_header) + len(content)
        if offset > MOST_BYTES or len(entries) == MOST_MEMBERS:
            raise FormatError(
                f"too much for one bundle: more than {MOST_BYTES // 2**30} GiB or {MOST_MEMBERS} files; "
                "export fewer versions at once"
            )
        file.write(entry.local_header)
        file.write(content)
        entries.append(entry)
    file.write(_ending(entries, offset))


class MemberReader:
    """Reads members in the order in which they were written, and says at the end whether that was all."""

    def __init__(self, file: BinaryIO, path: Path) -> None:
        self._file = file
        self._path = path
        self._left = os.fstat(file.fileno()).st_size
        self._entries: list[_Entry] = []
        self._offset = 0

    def read(self, name: str, *, most_bytes: int) -> bytes:
        """The content of the next member, which must be called `name`.

        Raises:
            FormatError: if it is not, is larger, was cut off, or is written in any other way.
        """
        encoded = name.encode("ascii")
        header = self._take(_LOCAL.size + len(encoded))
        num_bytes = int(_LOCAL.unpack_from(header)[8])
        entry = _Entry(encoded, 0, num_bytes, self._offset)
        if _without_checksum(header) != _without_checksum(entry.local_header):
            raise FormatError(
                f"{self._path}: {name} does not stand where it belongs: no bundle as tuningfork writes them, "
                "or one that was changed"
            )
        if num_bytes > most_bytes:
            raise FormatError(f"{self._path}: {name} claims {num_bytes} bytes, more than {most_bytes}")
        content = self._take(num_bytes)
        entry = _Entry(encoded, zlib.crc32(content), num_bytes, self._offset)
        if header != entry.local_header:
            raise FormatError(f"{self._path}: {name} was changed or damaged (its checksum differs)")
        self._entries.append(entry)
        self._offset += len(header) + num_bytes
        return content

    def end(self) -> None:
        """Check that there is nothing more.

        Raises:
            FormatError: if there is, or the end is cut off or changed.
        """
        expected = _ending(self._entries, self._offset)
        if self._file.read(len(expected) + 1) != expected:
            raise FormatError(
                f"{self._path}: its end is not as expected: the file is truncated, was changed, or holds "
                "more than it says"
            )

    def _take(self, num_bytes: int) -> bytes:
        # What a header claims is compared with what there is before memory is asked for.
        taken = self._file.read(num_bytes) if num_bytes <= self._left else b""
        self._left -= len(taken)
        if len(taken) < num_bytes:
            raise FormatError(f"{self._path}: the file is truncated, or no bundle")
        return taken


def _without_checksum(header: bytes) -> bytes:
    return header[:14] + header[18:]


def _ending(entries: list[_Entry], offset: int) -> bytes:
    directory = b"".join(entry.central_header for entry in entries)
    count = len(entries)
    return directory + _END.pack(_END_MARK, 0, 0, count, count, len(directory), offset, 0)
