import threading
from pathlib import Path

import pytest
from alembic import command
from sqlalchemy import inspect, text

from tests.library.prompts import add
from tuningfork.errors import LibraryError
from tuningfork.library.database import reading, writing
from tuningfork.library.listing import Filter
from tuningfork.library.migrations.upgrade import configuration
from tuningfork.library.store import Library
from tuningfork.library.word_index import stale_prompts


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


def test_prompts_of_the_first_tables_are_found_and_listed_by_kind(library: Library) -> None:
    add(library, text="Wohin mit Müller?", description="Routes")
    add(library, "bank/reply", text="older")
    add(library, "bank/reply", text="newer", kind="hybrid")
    library.tag("bank/reply@1", "language:en", actor="ann")
    with writing(library.engine) as connection:
        command.downgrade(configuration(connection), "0001")
    with writing(library.engine) as connection:
        command.upgrade(configuration(connection), "head")
    for words, names in (
        ("muller routes", ["shop/tickets"]),
        ("newer en", ["bank/reply"]),
        ("older", []),
    ):
        assert [prompt.name for prompt in library.search(words).prompts] == names
    assert [prompt.name for prompt in library.prompts(Filter(kind="hybrid"))] == ["bank/reply"]
    with reading(library.engine) as connection:
        assert list(stale_prompts(connection)) == []
