import csv
import io
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tuningfork.data.csv_rows import read_separated
from tuningfork.data.rows import BadRows, RawRow
from tuningfork.errors import DataError

CELLS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=12)


def rows_of(path: Path, text: str, *, skipped: list[str] | None = None) -> list[RawRow]:
    path.write_text(text, encoding="utf-8", newline="")
    on_bad_row = None if skipped is None else skipped.append
    return list(read_separated(path, BadRows(are_skipped=skipped is not None, on_bad_row=on_bad_row)))


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    records=st.lists(st.tuples(CELLS, CELLS), max_size=6),
    line_end=st.sampled_from(["\n", "\r\n", "\r"]),
    separator=st.sampled_from(",;\t"),
)
def test_records_come_back_as_written(
    tmp_path: Path, records: list[tuple[str, str]], line_end: str, separator: str
) -> None:
    buffer = io.StringIO(newline="")
    writer = csv.writer(buffer, delimiter=separator, lineterminator=line_end, quoting=csv.QUOTE_ALL)
    writer.writerow(("text", "label"))
    starts = []
    for record in records:
        starts.append(len(buffer.getvalue().replace("\r\n", "\n").replace("\r", "\n").split("\n")))
        writer.writerow(record)
    path = tmp_path / "t.csv"
    rows = rows_of(path, buffer.getvalue())
    assert [(row.values["text"], row.values["label"]) for row in rows] == records
    assert [row.source for row in rows] == [f"{path}:{line}" for line in starts]


def test_places_are_physical_lines(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    rows = rows_of(path, ' \ntext,label\n"two\nlines",a\n\nb,c\n \n')
    assert rows == [
        RawRow({"text": "two\nlines", "label": "a"}, f"{path}:3"),
        RawRow({"text": "b", "label": "c"}, f"{path}:6"),
    ]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("t.csv", "a;b\n1,5;x"),
        ("t.csv", "a\tb\n1,5\tx"),
        ("t.tsv", "a\tb\n1,5\tx"),
        ("t.csv", 'a,b\n"1,5",x'),
    ],
)
def test_the_separator_is_found(tmp_path: Path, name: str, text: str) -> None:
    assert rows_of(tmp_path / name, text)[0].values == {"a": "1,5", "b": "x"}


def test_columns_without_a_name_are_left_out(tmp_path: Path) -> None:
    assert rows_of(tmp_path / "t.csv", ",text , label,\n0,a,b,\n")[0].values == {"text": "a", "label": "b"}


def test_an_unquoted_comma_is_shown(tmp_path: Path) -> None:
    path = tmp_path / "tickets.csv"
    text = "text,queue\nHello,sales\nRefund, please,billing\nBye,sales\n"
    with pytest.raises(DataError, match="3 columns") as raised:
        rows_of(path, text)
    assert str(raised.value).splitlines() == [
        f'{path} line 3: 3 columns, the header has 2 ("text", "queue").',
        "       The row holds a comma that is not quoted:  Refund, please,billing",
        "       Quote the field, or pass --skip-bad-rows to leave such rows out and see which.",
    ]
    skipped: list[str] = []
    assert [row.values["text"] for row in rows_of(path, text, skipped=skipped)] == ["Hello", "Bye"]
    assert skipped == [f'{path} line 3: 3 columns, the header has 2 ("text", "queue").']


def test_a_short_row_is_shown(tmp_path: Path) -> None:
    with pytest.raises(
        DataError, match=r'line 2: 1 column, the header has 2 .*\n.*lacks a semicolon or is cut off:  "?only'
    ):
        rows_of(tmp_path / "t.csv", "text;queue\nonly\n")


def test_a_repeated_column_name_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"line 1: the header names 'text' twice, columns 1 and 3\. Rename"):
        rows_of(tmp_path / "t.csv", "text,label, text\na,b,c\n")


def test_a_header_without_names_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="line 1: the header holds no column names; expected a first line"):
        rows_of(tmp_path / "t.csv", ",,\na,b,c\n")


def test_a_badly_quoted_header_is_refused_even_when_skipping(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="line 1: the header line cannot be read"):
        rows_of(tmp_path / "t.csv", '"text"x,label\na,b\n', skipped=[])


def test_a_badly_quoted_row_is_named_or_skipped(tmp_path: Path) -> None:
    text = 'text,label\n"He said "hi"",a\nfine,b\n'
    path = tmp_path / "t.csv"
    with pytest.raises(
        DataError, match=r"line 2: badly quoted .* Put quotes around the whole field and double"
    ):
        rows_of(path, text)
    skipped: list[str] = []
    rows = rows_of(path, text, skipped=skipped)
    assert rows == [RawRow({"text": "fine", "label": "b"}, f"{path}:3")]
    assert len(skipped) == 1


def test_a_badly_quoted_row_names_the_lines_it_swallowed(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    skipped: list[str] = []
    rows = rows_of(path, 'text,label\n"open,a\nlost,b\n"hi",c\nfine,d\n', skipped=skipped)
    assert rows == [RawRow({"text": "fine", "label": "d"}, f"{path}:5")]
    assert [problem.split(":")[0] for problem in skipped] == [f"{path} lines 2-4"]


@pytest.mark.parametrize("rest", ["short", "a,b\n" * 50_000])
def test_a_quote_that_never_closes_is_never_skipped(tmp_path: Path, rest: str) -> None:
    text = 'text,label\nfine,b\n"open,c\n' + rest
    ways: tuple[list[str] | None, ...] = (None, [])
    for skipped in ways:
        with pytest.raises(
            DataError, match=r"lines? 3(-\d+)?: a quote opens in this row and does not close .*Close the"
        ):
            rows_of(tmp_path / "t.csv", text, skipped=skipped)


def test_a_header_alone_or_blank_lines_hold_no_rows(tmp_path: Path) -> None:
    assert rows_of(tmp_path / "t.csv", "text,label\n") == []
    assert rows_of(tmp_path / "t.csv", "\n \n") == []
