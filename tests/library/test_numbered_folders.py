from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel

from tuningfork.errors import RunError
from tuningfork.library.numbered_folders import folder_name, new_folder, read_record


class Figures(BaseModel):
    n: int


@pytest.mark.parametrize(
    ("name", "kind", "expected"),
    [
        ("tickets", "", "tickets-1"),
        ("tickets", "comparison", "tickets-comparison-1"),
        ("Ärger & Lob/../x", "", "Ärger-Lob-..-x-1"),
        ("..", "", "run-1"),
        ("?", "optimized", "task-optimized-1"),
    ],
)
def test_folders_are_called_by_what_they_hold(tmp_path: Path, name: str, kind: str, expected: str) -> None:
    path = new_folder(tmp_path / "runs", name, kind)
    assert path == tmp_path / "runs" / expected
    assert path.is_dir()
    assert new_folder(tmp_path / "runs", name, kind).name == expected.replace("-1", "-2")


@given(st.text(max_size=20))
def test_a_name_leads_nowhere_else(name: str) -> None:
    found = folder_name(name)
    assert "/" not in found
    assert "\\" not in found
    assert found.strip("-.") == found


def test_who_asks_at_once_gets_folders_of_their_own(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        paths = list(pool.map(lambda _: new_folder(tmp_path, "same"), range(40)))
    assert len(set(paths)) == 40


def test_what_cannot_be_read_says_where_and_why(tmp_path: Path) -> None:
    path = tmp_path / "figures.json"
    with pytest.raises(RunError, match=r"figures\.json: cannot be read \(.*No such file"):
        read_record(path, Figures)
    for content in (b'{"n": "x"}', b"\xff", b""):
        path.write_bytes(content)
        with pytest.raises(RunError, match=r"figures\.json: cannot be read"):
            read_record(path, Figures)
    path.write_text('{"n": 3}')
    assert read_record(path, Figures) == Figures(n=3)
