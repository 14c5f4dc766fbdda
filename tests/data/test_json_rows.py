import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tuningfork.data import json_rows, text_source
from tuningfork.data.json_rows import read_json_array, read_json_lines
from tuningfork.data.rows import BadRows, RawRow
from tuningfork.errors import DataError

SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text()
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=4,
)
OBJECTS = st.lists(st.dictionaries(st.text(), VALUES, max_size=4), max_size=6)


def rows_of(path: Path, text: str, *, skipped: list[str] | None = None) -> list[RawRow]:
    path.write_text(text, encoding="utf-8")
    on_bad_row = None if skipped is None else skipped.append
    bad_rows = BadRows(are_skipped=skipped is not None, on_bad_row=on_bad_row)
    read = read_json_array if path.suffix == ".json" else read_json_lines
    return list(read(path, bad_rows))


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(objects=OBJECTS, is_ascii=st.booleans())
def test_json_lines_come_back_as_written(
    tmp_path: Path, objects: list[dict[str, Any]], is_ascii: bool
) -> None:
    path = tmp_path / "t.jsonl"
    # A lone surrogate cannot be written as UTF-8; escaped it can.
    text = "".join(json.dumps(each, ensure_ascii=is_ascii) + "\n" for each in objects)
    rows = rows_of(path, text)
    assert [row.values for row in rows] == objects
    assert [row.source for row in rows] == [f"{path}:{line}" for line in range(1, len(objects) + 1)]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(objects=OBJECTS, indent=st.none() | st.integers(0, 3), chunk=st.integers(1, 40))
def test_a_json_array_comes_back_as_written_however_it_is_cut(
    tmp_path: Path, objects: list[dict[str, Any]], indent: int | None, chunk: int
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(text_source, "_CHUNK", chunk)
        text = json.dumps(objects, indent=indent, ensure_ascii=False)
        rows = rows_of(tmp_path / "t.json", text)
    assert [row.values for row in rows] == objects
    lines = text.split("\n")
    for row in rows:
        line = int(row.source.rpartition(":")[2])
        assert "{" in lines[line - 1]


def test_blank_lines_count_but_hold_no_row(tmp_path: Path) -> None:
    path = tmp_path / "t.jsonl"
    assert rows_of(path, '\n{"a": 1}\n  \n{"a": 2}') == [
        RawRow({"a": 1}, f"{path}:2"),
        RawRow({"a": 2}, f"{path}:4"),
    ]


def test_array_rows_are_placed_at_the_line_they_start_on(tmp_path: Path) -> None:
    path = tmp_path / "t.json"
    rows = rows_of(path, '[\n{"a":\n1}\n,\n\n {"a": 2}]\n')
    assert [row.source for row in rows] == [f"{path}:2", f"{path}:6"]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('{"a": 1 "b": 2}', r"broken JSON, column 9: expecting ',' delimiter; expected one object per line"),
        ('{"a": 1', r"broken JSON, column 8: expecting ',' delimiter"),
        ('{"a": 1} {"a": 2}', r"broken JSON, column 10: extra data"),
        ("{'a': 1}", r"broken JSON, column 2: expecting property name enclosed in double quotes"),
        ('{"a": 1, "a": 2}', r"broken JSON, the key 'a' occurs twice in one object"),
        ('{"a": ' + "9" * 5000 + "}", r"broken JSON, .*4300"),
        ("[" * 100_000, r"broken JSON, too many nested levels"),
        ("[1, 2]", r"a list; expected one object such as .* found \[1, 2\]\. If the whole file is one JSON"),
        ('"text"', r"a string; expected one object"),
        ("12.5", r"a number; expected one object"),
        ("true", r"true or false; expected one object"),
        ("null", r"null; expected one object"),
    ],
)
def test_a_broken_line_is_named_or_skipped(tmp_path: Path, line: str, message: str) -> None:
    path = tmp_path / "t.jsonl"
    text = '{"a": 0}\n' + line + '\n{"a": 3}\n'
    with pytest.raises(DataError, match=r"t\.jsonl line 2: " + message) as raised:
        rows_of(path, text)
    assert "\n" not in str(raised.value)
    assert str(raised.value).endswith("or pass --skip-bad-rows to leave such rows out and see which.")
    skipped: list[str] = []
    assert [row.values["a"] for row in rows_of(path, text, skipped=skipped)] == [0, 3]
    assert len(skipped) == 1
    assert skipped[0].startswith(f"{path} line 2: ")


def test_an_array_named_jsonl_is_told_to_be_renamed(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"If the whole file is one JSON array, name it \.json, or pass"):
        rows_of(tmp_path / "t.jsonl", '[\n{"a": 1}\n]')


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"a": 1}\n{"a": 2}', r"line 1: starts with '{'; expected one JSON array.*name the file \.jsonl"),
        ('[{"a": 1}\n {"a": 2}]', r"line 2: broken JSON, expected ',' or '\]' after an element, found '{'"),
        ('[{"a": 1},\n{"a": 2}', r"line 2: broken JSON, .* found 'the end of the file'"),
        ('[{"a": 1},\n]', r"line 2: broken JSON, expecting value; found \]"),
        ('[{"a": 1}]\nmore', r"line 2: broken JSON, there is more text after the array's closing '\]'"),
        ('[\n{"a" 1}, {"b": 2}]', r"line 2: broken JSON, expecting ':' delimiter; found 1}"),
        ('[{"a": "never closed', r"line 1: broken JSON, unterminated string starting at"),
        ("[" * 100_000, r"line 1: broken JSON, too many nested levels"),
        ('[{"a": 1, "a": 2}]', r"line 1: broken JSON, the key 'a' occurs twice"),
    ],
)
def test_a_broken_array_is_never_skipped(tmp_path: Path, text: str, message: str) -> None:
    ways: tuple[list[str] | None, ...] = (None, [])
    for skipped in ways:
        with pytest.raises(DataError, match=r"t\.json " + message):
            rows_of(tmp_path / "t.json", text, skipped=skipped)


def test_elements_that_are_no_objects_can_be_skipped(tmp_path: Path) -> None:
    path = tmp_path / "t.json"
    text = '[{"a": 1},\n12,\n"x",\n{"a": 2}]'
    with pytest.raises(
        DataError, match=r"t\.json line 2: a number; expected an object such as .* found 12\."
    ):
        rows_of(path, text)
    skipped: list[str] = []
    assert [row.values["a"] for row in rows_of(path, text, skipped=skipped)] == [1, 2]
    assert [problem.split(";")[0] for problem in skipped] == [
        f"{path} line 2: a number",
        f"{path} line 3: a string",
    ]


@pytest.mark.parametrize("text", ["[]", " [\n] ", " \n"])
def test_an_empty_array_holds_no_rows(tmp_path: Path, text: str) -> None:
    assert rows_of(tmp_path / "t.json", text) == []


def test_a_broken_array_is_not_read_to_its_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    taken = 0

    def counted(path: Path) -> Any:
        nonlocal taken
        for chunk in text_source.read_chunks(path):
            taken += len(chunk)
            yield chunk

    monkeypatch.setattr(json_rows, "read_chunks", counted)
    text = '[{"a" 1},' + '{"a": 1},' * 200_000 + "{}]"
    with pytest.raises(DataError, match="expecting ':' delimiter"):
        rows_of(tmp_path / "t.json", text)
    assert taken < len(text) / 10
