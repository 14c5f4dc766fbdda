from pathlib import Path

import pytest

from tests.commands import listing
from tuningfork.cli.output_files import check_can_be_written
from tuningfork.errors import DataError


def test_what_can_be_written_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "old.html").write_text("old", encoding="utf-8")
    check_can_be_written(tmp_path / "old.html")
    check_can_be_written(tmp_path / "new" / "folders" / "page.html")
    assert listing(tmp_path) == ["old.html"]


def test_what_cannot_be_written_is_said_beforehand(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("", encoding="utf-8")
    with pytest.raises(DataError, match=r"expected the name of a file to write, found a folder; name a file"):
        check_can_be_written(tmp_path)
    with pytest.raises(DataError, match=r"x/y\.html: cannot be written: .*file is a file, not a folder"):
        check_can_be_written(tmp_path / "file" / "x" / "y.html")
    monkeypatch.setattr("os.access", lambda *_: False)
    with pytest.raises(DataError, match="may only be read; name another place"):
        check_can_be_written(tmp_path / "page.html")
