import gzip
import json
import sys
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tuningfork.data.readers import RawRow, read_rows
from tuningfork.errors import DataError, MissingDependencyError

VALUES = [{"text": "Hello", "label": "a"}, {"text": "Grüße, 日本", "label": "b"}]


def write(path: Path) -> Path:
    """Writes VALUES in the form that the extension names."""
    match path.name.removesuffix(".gz").rpartition(".")[2].lower():
        case "jsonl" | "ndjson":
            text = "".join(json.dumps(each) + "\n" for each in VALUES)
        case "json":
            text = json.dumps(VALUES, indent=1)
        case "csv":
            text = 'text,label\nHello,a\n"Grüße, 日本",b\n'
        case "tsv":
            text = "text\tlabel\nHello\ta\nGrüße, 日本\tb\n"
        case _:
            pq.write_table(pa.Table.from_pylist(VALUES), path)
            return path
    path.write_bytes(gzip.compress(text.encode()) if path.suffix == ".gz" else text.encode())
    return path


@pytest.mark.parametrize(
    ("name", "places"),
    [
        ("t.jsonl", (1, 2)),
        ("t.ndjson", (1, 2)),
        ("t.json", (2, 6)),
        ("t.csv", (2, 3)),
        ("T.CSV", (2, 3)),
        ("t.tsv", (2, 3)),
        ("t.parquet", (1, 2)),
        ("t.jsonl.gz", (1, 2)),
        ("t.json.gz", (2, 6)),
        ("t.csv.gz", (2, 3)),
    ],
)
def test_every_form_gives_the_same_rows(tmp_path: Path, name: str, places: tuple[int, int]) -> None:
    path = write(tmp_path / name)
    expected = [RawRow(values, f"{path}:{place}") for values, place in zip(VALUES, places, strict=True)]
    assert list(read_rows(path)) == expected
    assert list(read_rows(str(path))) == expected


def test_rows_are_read_as_they_are_asked_for(tmp_path: Path) -> None:
    path = tmp_path / "t.jsonl"
    path.write_text('{"a": 1}\n' * 20_000 + "broken\n")
    rows = read_rows(path)
    assert isinstance(rows, Iterator)
    assert [next(rows).values for _ in range(3)] == [{"a": 1}] * 3
    with pytest.raises(DataError, match="line 20001: broken JSON"):
        list(rows)


def test_bad_rows_are_left_out_and_told(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("a,b\n1,2\n1,2,3\n4,5\n")
    told: list[str] = []
    rows = list(read_rows(path, skip_bad_rows=True, on_bad_row=told.append))
    assert [row.values for row in rows] == [{"a": "1", "b": "2"}, {"a": "4", "b": "5"}]
    assert told == [f'{path} line 3: 3 columns, the header has 2 ("a", "b").']
    assert len(list(read_rows(path, skip_bad_rows=True))) == 2


def test_a_file_of_bad_rows_only_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "t.jsonl"
    path.write_text("x\ny\n")
    with pytest.raises(DataError, match=r"t\.jsonl: none of its 2 rows can be used\. Run without --skip-bad"):
        list(read_rows(path, skip_bad_rows=True))


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("t.csv", b"", "the file is empty; expected at least one row"),
        ("t.parquet", b"", "the file is empty; expected at least one row"),
        ("t.csv", b"text,label\n", "holds no rows; expected at least one"),
        ("t.jsonl", b"\n\n", "holds no rows; expected at least one"),
        ("t.json", b"[]", "holds no rows; expected at least one"),
        (
            "t.xlsx",
            b"x",
            r"unknown kind of file '\.xlsx'; expected \.jsonl, .*spreadsheets can be saved as CSV",
        ),
        ("rows", b"x", r"unknown kind of file '\(no extension\)'"),
        ("t.gz", b"x", r"unknown kind of file '\(no extension\)'"),
    ],
)
def test_a_file_without_rows_is_refused(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=rf"{name}: {message}"):
        list(read_rows(tmp_path / name))


def test_a_missing_file_is_raised_at_once_with_close_names(tmp_path: Path) -> None:
    (tmp_path / "tickets.csv").touch()
    (tmp_path / "notes.txt").touch()
    with pytest.raises(DataError, match=r"tickts\.csv: there is no such file\. Did you mean tickets\.csv\?"):
        read_rows(tmp_path / "tickts.csv")
    with pytest.raises(DataError, match=r"zzz: there is no such file\. That folder holds tickets\.csv\."):
        read_rows(tmp_path / "zzz")
    with pytest.raises(DataError, match=r"there is no such file, nor a folder .*gone\. Check the path"):
        read_rows(tmp_path / "gone" / "t.csv")


def test_a_folder_is_refused_with_what_it_holds(tmp_path: Path) -> None:
    for number in range(7):
        (tmp_path / f"{number}.csv.gz").touch()
    expected = r"a folder; expected a file .* It holds 0\.csv\.gz, .*4\.csv\.gz and 2 more"
    with pytest.raises(DataError, match=expected):
        read_rows(tmp_path)
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="It holds no data files"):
        read_rows(tmp_path / "empty")


def test_a_file_has_no_splits(tmp_path: Path) -> None:
    with pytest.raises(
        DataError, match=r"t\.csv: a file has no splits, found --split test\. Leave --split out"
    ):
        read_rows(write(tmp_path / "t.csv"), split="test")


@pytest.mark.parametrize("source", ["hf:name", "hf:owner/name:part", "owner-x/name.y"])
def test_dataset_names_go_to_the_hub(source: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(sys.modules, "datasets", None)
    name = source.removeprefix("hf:")
    with pytest.raises(MissingDependencyError, match=f"Reading the Hugging Face dataset '{name}' needs"):
        read_rows(source)


@pytest.mark.parametrize("source", ["data/tickets", "nowhere/tickets.csv"])
def test_paths_do_not_go_to_the_hub(source: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data").mkdir()
    with pytest.raises(DataError, match=f"^{source}: there is no such file"):
        read_rows(source)


def test_a_dataset_folder_is_read(tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    datasets.DatasetDict({"test": datasets.Dataset.from_list(VALUES)}).save_to_disk(tmp_path / "saved")
    rows = read_rows(tmp_path / "saved", split="test")
    assert [row.values for row in rows] == VALUES
