from pathlib import Path

import pytest
from sqlalchemy import text

from tests.library.prompts import add
from tuningfork.errors import LibraryError
from tuningfork.library.database import database_url, open_database, reading, shown_url, writing
from tuningfork.library.store import Library


def test_a_folder_holds_sqlite(tmp_path: Path) -> None:
    url = database_url(tmp_path)
    assert (url.drivername, url.database) == ("sqlite", str(tmp_path / "library.db"))


def test_passwords_are_not_shown() -> None:
    url = database_url("postgresql://ann:secret@host/prompts")
    assert url.drivername == "postgresql+psycopg"
    assert "secret" not in shown_url(url)
    assert "ann" in shown_url(url)


@pytest.mark.parametrize("place", ["mysql://host/x", "://", "oracle://x"])
def test_another_kind_of_database_is_refused(place: str) -> None:
    with pytest.raises(LibraryError, match="URL"):
        database_url(place)


def test_a_transaction_that_fails_leaves_nothing(library: Library) -> None:
    def forget_and_fail() -> None:
        with writing(library.engine) as connection:
            connection.execute(text("DELETE FROM alembic_version"))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        forget_and_fail()
    with reading(library.engine) as connection:
        assert connection.execute(text("SELECT count(*) FROM alembic_version")).scalar() == 1


def test_a_reader_sees_one_moment(library: Library) -> None:
    add(library)
    count = text("SELECT count(*) FROM version")
    with reading(library.engine) as connection:
        assert connection.execute(count).scalar() == 1
        add(library, tensors=b"others")
        assert connection.execute(count).scalar() == 1
    with reading(library.engine) as connection:
        assert connection.execute(count).scalar() == 2


def test_what_is_no_database_is_told_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "library.db").write_text("Not a database, but long enough to be read as one." * 9)
    with pytest.raises(LibraryError, match=r"library\.db: .*not a database.*nothing was changed") as caught:
        Library(tmp_path)
    assert "\n" not in str(caught.value)


def test_a_server_that_is_not_there_is_told_in_one_line() -> None:
    engine = open_database(database_url("postgresql://ann:secret@127.0.0.1:1/prompts"))
    with pytest.raises(LibraryError, match="cannot be used") as caught, reading(engine):
        pass
    assert "secret" not in str(caught.value)


def test_a_file_where_the_folder_should_be_is_told(tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("a file", encoding="utf-8")
    with pytest.raises(LibraryError, match="taken: no folder for a library can be made here"):
        open_database(database_url(tmp_path / "taken"))
