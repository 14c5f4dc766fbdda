import threading
from pathlib import Path

import pytest
from alembic import command
from sqlalchemy import inspect, text

from tests.library.prompts import add
from tuningfork.errors import LibraryError
from tuningfork.library.database import writing
from tuningfork.library.migrations.upgrade import configuration
from tuningfork.library.store import Library


def test_opening_again_changes_nothing(library: Library, library_place: str, tmp_path: Path) -> None:
    registered = add(library)
    with Library(library_place, artifacts=tmp_path / "artifacts") as again:
        assert again.get("shop/tickets@1") == registered


def test_every_step_can_be_undone(library: Library) -> None:
    with writing(library.engine) as connection:
        command.downgrade(configuration(connection), "base")
    assert inspect(library.engine).get_table_names() == ["alembic_version"]


def test_a_library_of_a_later_version_is_left_alone(
    library: Library, library_place: str, tmp_path: Path
) -> None:
    with writing(library.engine) as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(LibraryError, match=r"later version of tuningfork \(its tables are 9999.*upgrade"):
        Library(library_place, artifacts=tmp_path / "artifacts")


def test_several_may_open_a_new_library_at_once(library_place: str, tmp_path: Path) -> None:
    failed: list[Exception] = []

    def open_it() -> None:
        try:
            Library(library_place, artifacts=tmp_path / "artifacts").close()
        except Exception as error:
            failed.append(error)

    threads = [threading.Thread(target=open_it) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []
