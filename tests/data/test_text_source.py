import codecs
import gzip
from pathlib import Path

import pytest

from tuningfork.data import text_source
from tuningfork.data.text_source import read_chunks, read_lines
from tuningfork.errors import DataError

TEXT = "naïve\n日本語\nlast"


@pytest.mark.parametrize(
    ("mark", "encoding"),
    [
        (b"", "utf-8"),
        (codecs.BOM_UTF8, "utf-8"),
        (codecs.BOM_UTF16_LE, "utf-16-le"),
        (codecs.BOM_UTF16_BE, "utf-16-be"),
        (codecs.BOM_UTF32_LE, "utf-32-le"),
        (codecs.BOM_UTF32_BE, "utf-32-be"),
    ],
)
@pytest.mark.parametrize("is_compressed", [False, True])
def test_every_marked_encoding_is_read(
    tmp_path: Path, mark: bytes, encoding: str, is_compressed: bool
) -> None:
    content = mark + TEXT.encode(encoding)
    path = tmp_path / ("t.jsonl.gz" if is_compressed else "t.jsonl")
    path.write_bytes(gzip.compress(content) if is_compressed else content)
    assert list(read_lines(path)) == TEXT.splitlines(keepends=True)
    assert "".join(read_chunks(path)) == TEXT


def test_line_ends_of_all_systems_end_a_line(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_bytes(b"a\rb\r\nc\n")
    assert list(read_lines(path)) == ["a\n", "b\n", "c\n"]
    assert list(read_lines(path, newline="")) == ["a\r", "b\r\n", "c\n"]


@pytest.mark.parametrize("lines_before", [0, 1, 9000])
def test_a_wrong_byte_is_named_with_its_line_and_offset(tmp_path: Path, lines_before: int) -> None:
    path = tmp_path / "t.jsonl"
    before = "naïve text\n".encode() * lines_before
    path.write_bytes(before + b"caf\xe9\n")
    expected = (
        rf"t\.jsonl line {lines_before + 1}: byte {len(before) + 3} \(0xe9\) is not valid UTF-8 "
        r"\(it would be 'é' in Windows-1252\)\. .*save it as UTF-8"
    )
    with pytest.raises(DataError, match=expected):
        list(read_lines(path))
    with pytest.raises(DataError, match=expected):
        list(read_chunks(path))


def test_a_character_cut_off_at_the_end_is_a_wrong_byte(tmp_path: Path) -> None:
    path = tmp_path / "t.jsonl"
    path.write_bytes(b"a\n" + "é".encode()[:1])
    with pytest.raises(DataError, match=r"line 2: byte 2 \(0xc3\) is not valid UTF-8"):
        list(read_lines(path))


def test_a_wrong_byte_in_utf_16_is_named(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_bytes(codecs.BOM_UTF16_LE + "a\nb".encode("utf-16-le") + b"\x00\xd8")
    with pytest.raises(DataError, match=r"line 2: byte 8 \(0x00\) is not valid UTF-16\. "):
        list(read_lines(path))


def test_a_nul_byte_is_named_with_its_line(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_bytes(b"a\nb\0\n")
    for read in (read_lines, read_chunks):
        with pytest.raises(DataError, match=r"line 2: holds a NUL byte.*Save the file as UTF-8"):
            list(read(path))


@pytest.mark.parametrize(
    "content", [b"not gzip at all", gzip.compress(TEXT.encode() * 99)[:-20]], ids=["other", "cut off"]
)
def test_damaged_compression_is_named(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "t.csv.gz"
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"t\.csv\.gz: the compressed data is damaged"):
        list(read_lines(path))


def test_a_file_that_cannot_be_opened_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"gone\.csv: cannot be read \(No such file or directory\)"):
        list(read_lines(tmp_path / "gone.csv"))


def test_a_line_without_end_stops_the_reading(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(text_source, "LONGEST_LINE", 100)
    path = tmp_path / "t.csv"
    path.write_text("a\n" + "b" * 99 + "\n" + "c" * 101)
    with pytest.raises(DataError, match="line 3: longer than 100 characters; expected one row per line"):
        list(read_lines(path))
