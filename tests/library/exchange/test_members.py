import struct
import tracemalloc
import zipfile
from io import BytesIO
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tuningfork.errors import FormatError
from tuningfork.library.exchange import members
from tuningfork.library.exchange.members import MemberReader, write_members

MEMBERS = [("manifest.json", b'{"a":1}'), ("signature", b"s" * 64), ("objects/ab", b"")]


def as_bytes(found: list[tuple[str, bytes]]) -> bytes:
    file = BytesIO()
    write_members(file, found)
    return file.getvalue()


def read(path: Path, names: list[str], most_bytes: int = 1000) -> list[bytes]:
    with path.open("rb") as file:
        reader = MemberReader(file, path)
        found = [reader.read(name, most_bytes=most_bytes) for name in names]
        reader.end()
    return found


@pytest.fixture
def path(tmp_path: Path) -> Path:
    (tmp_path / "b.tfb").write_bytes(as_bytes(MEMBERS))
    return tmp_path / "b.tfb"


NAMES = [name for name, _ in MEMBERS]


def test_any_zip_tool_reads_what_is_written(path: Path) -> None:
    with zipfile.ZipFile(path) as archive:
        assert archive.testzip() is None
        assert [(info.filename, archive.read(info)) for info in archive.infolist()] == MEMBERS
        assert archive.infolist()[0].date_time == (1980, 1, 1, 0, 0, 0)
        assert archive.infolist()[0].external_attr >> 16 == 0o100644


def test_what_was_written_is_read_back_and_is_always_the_same(path: Path) -> None:
    assert read(path, NAMES) == [content for _, content in MEMBERS]
    assert as_bytes(MEMBERS) == path.read_bytes()


def test_no_byte_can_be_changed_added_or_cut_off(path: Path) -> None:
    whole = path.read_bytes()
    for place in range(len(whole)):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        with pytest.raises(FormatError, match=r"b\.tfb: "):
            read(path, NAMES)
        path.write_bytes(whole[:place])
        with pytest.raises(FormatError, match="truncated"):
            read(path, NAMES)
    for more in (whole + b"\0", b"\0" + whole):
        path.write_bytes(more)
        with pytest.raises(FormatError, match=r"b\.tfb: "):
            read(path, NAMES)


def test_a_member_more_another_order_or_a_name_twice_is_refused(path: Path) -> None:
    for found in (
        [*MEMBERS, ("evil", b"")], MEMBERS[::-1], [MEMBERS[0], *MEMBERS], MEMBERS[:2],
        [("../manifest.json", b""), *MEMBERS[1:]],
    ):  # fmt: skip
        path.write_bytes(as_bytes(found))
        with pytest.raises(
            FormatError, match=r"does not stand where it belongs|its end is not as expected|trun"
        ):
            read(path, NAMES)


def test_compressed_members_are_refused_however_small_they_claim_to_be(path: Path) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(zipfile.ZipInfo("manifest.json"), b"\0" * 10_000_000, zipfile.ZIP_DEFLATED)
    assert path.stat().st_size < 100_000
    with pytest.raises(FormatError, match=r"manifest\.json does not stand where it belongs"):
        read(path, NAMES[:1], most_bytes=2**31)


def test_a_claim_of_more_than_there_is_or_may_be_asks_for_no_memory(path: Path) -> None:
    whole = bytearray(path.read_bytes())
    struct.pack_into("<2L", whole, 18, 2**31 - 1, 2**31 - 1)
    path.write_bytes(whole)
    with pytest.raises(FormatError, match="claims 2147483647 bytes, more than 1000"):
        read(path, NAMES)
    tracemalloc.start()
    with pytest.raises(FormatError, match="the file is truncated"):
        read(path, NAMES, most_bytes=2**31)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2**20


def test_a_file_that_would_be_too_large_is_not_begun(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(members, "MOST_MEMBERS", 2)
    with pytest.raises(FormatError, match="too much for one bundle"):
        as_bytes(MEMBERS)
    monkeypatch.setattr(members, "MOST_MEMBERS", 9)
    monkeypatch.setattr(members, "MOST_BYTES", 100)
    with pytest.raises(FormatError, match="too much for one bundle"):
        as_bytes(MEMBERS)


@given(st.binary(max_size=400))
def test_whatever_lies_there_is_read_or_refused(
    tmp_path_factory: pytest.TempPathFactory, content: bytes
) -> None:
    path = tmp_path_factory.getbasetemp() / "any"
    path.write_bytes(content)
    with pytest.raises(FormatError):
        read(path, NAMES)
