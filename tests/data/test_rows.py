import pytest

from tuningfork.data.rows import BadRows, describe_place, excerpt
from tuningfork.errors import DataError


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("tickets.csv:812", "tickets.csv line 812"),
        ("a/b.jsonl.gz:3", "a/b.jsonl.gz line 3"),
        (r"C:\data\x.parquet:7", r"C:\data\x.parquet row 7"),
        ("owner/name:2", "owner/name row 2"),
        ("typed by hand", "typed by hand"),
        ("owner/name:config", "owner/name:config"),
        ("", ""),
    ],
)
def test_a_place_is_described_in_words(source: str, words: str) -> None:
    assert describe_place(source) == words


def test_a_bad_row_raises_with_what_to_do() -> None:
    with pytest.raises(DataError, match=r"^f line 1: odd\. Mend it, or pass --skip-bad-rows to leave"):
        BadRows().report("f line 1: odd.", remedy="Mend it")


def test_details_stand_on_lines_of_their_own() -> None:
    with pytest.raises(DataError, match=r"^f line 1: odd\.\n       found x\n       Fix the row, or pass"):
        BadRows().report("f line 1: odd.", details="found x")


def test_skipped_rows_are_counted_and_told_in_one_line() -> None:
    told: list[str] = []
    bad_rows = BadRows(are_skipped=True, on_bad_row=told.append)
    bad_rows.report("first", details="more")
    bad_rows.report("second")
    assert (bad_rows.count, told) == (2, ["first", "second"])


def test_an_excerpt_is_one_short_line() -> None:
    assert excerpt("a\n  b\tc") == "a b c"
    assert excerpt("x" * 100, 10) == "x" * 9 + "…"
