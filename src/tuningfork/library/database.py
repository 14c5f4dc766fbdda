"""The library's database: SQLite in one file by default, PostgreSQL by URL, the same tables on both."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event, make_url, text
from sqlalchemy.engine import URL
from sqlalchemy.exc import ArgumentError, DBAPIError, NoSuchModuleError

from tuningfork.errors import LibraryError, MissingDependencyError

DATABASE_FILE = "library.db"
_BUSY_SECONDS = 60
_DRIVERS = {"postgresql": "postgresql+psycopg", "postgres": "postgresql+psycopg", "sqlite": "sqlite"}


def database_url(place: str | Path) -> URL:
    """The URL of the database of the library at `place`: a folder, or a URL of SQLite or PostgreSQL.

    Raises:
        LibraryError: if the URL is none, or of another kind of database.
    """
    if isinstance(place, Path) or "://" not in place:
        return URL.create("sqlite", database=str(Path(place).absolute() / DATABASE_FILE))
    try:
        url = make_url(place)
    except ArgumentError as error:
        raise LibraryError(f"{place}: not the URL of a database ({error})") from error
    kind = url.drivername.partition("+")[0]
    if kind not in _DRIVERS:
        raise LibraryError(
            f"{shown_url(url)}: a library lies in SQLite or PostgreSQL, found {kind}; name a folder, or a "
            "URL like postgresql://user@host/database"
        )
    return url.set(drivername=_DRIVERS[kind]) if "+" not in url.drivername else url


def shown_url(url: URL) -> str:
    """`url` as it may be printed: without the password."""
    return url.render_as_string(hide_password=True)


def open_database(url: URL) -> Engine:
    """An engine whose transactions are serial where they write.

    SQLite keeps a write-ahead log, so that readers never wait for the writer, and every commit reaches the
    disk; a writer takes its lock when it begins, and waits for up to a minute.

    Raises:
        LibraryError: if the folder cannot be made.
        MissingDependencyError: if the driver of PostgreSQL is not installed.
    """
    if url.drivername == "sqlite" and url.database not in (None, "", ":memory:"):
        folder = os.path.dirname(str(url.database)) or "."
        try:
            os.makedirs(folder, exist_ok=True)
        except OSError as error:
            raise LibraryError(
                f"{folder}: no folder for a library can be made here ({error.strerror}); name another"
            ) from error
    try:
        engine = create_engine(url, **_engine_options(url))
    except (ModuleNotFoundError, NoSuchModuleError) as error:
        raise MissingDependencyError("psycopg", "postgres", "a library in PostgreSQL") from error
    if url.drivername == "sqlite":
        event.listen(engine, "connect", _prepare_sqlite)
        event.listen(engine, "begin", _begin_sqlite)
    return engine


def _engine_options(url: URL) -> dict[str, Any]:
    if url.drivername == "sqlite":
        return {"connect_args": {"timeout": _BUSY_SECONDS, "check_same_thread": False}}
    return {"pool_pre_ping": True, "isolation_level": "READ COMMITTED"}


def _prepare_sqlite(connection: Any, _record: Any) -> None:
    # The driver's own transactions begin late and unlocked; ours begin in `_begin_sqlite`.
    connection.isolation_level = None
    cursor = connection.cursor()
    for pragma in (
        "journal_mode=WAL",
        "synchronous=FULL",
        "foreign_keys=ON",
        f"busy_timeout={_BUSY_SECONDS}000",
    ):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _begin_sqlite(connection: Connection) -> None:
    connection.exec_driver_sql("BEGIN IMMEDIATE" if is_writing(connection) else "BEGIN")


@contextmanager
def reading(engine: Engine) -> Iterator[Connection]:
    """A transaction that only reads: all it reads is of one moment.

    Raises:
        LibraryError: if the database cannot be used.
    """
    with _told(engine), engine.connect() as connection:
        if engine.dialect.name != "sqlite":
            connection = connection.execution_options(isolation_level="REPEATABLE READ")
        with connection.begin():
            yield connection


@contextmanager
def writing(engine: Engine) -> Iterator[Connection]:
    """A transaction that writes: all of it is kept, or nothing.

    Raises:
        LibraryError: if the database cannot be used, or written to.
    """
    with _told(engine), engine.connect() as connection, connection.execution_options(writes=True).begin():
        yield connection


def is_writing(connection: Connection) -> bool:
    """Whether it is a transaction of `writing`."""
    return bool(connection.get_execution_options().get("writes", False))


@contextmanager
def _told(engine: Engine) -> Iterator[None]:
    try:
        yield
    except DBAPIError as error:
        reason = str(error.orig).strip().splitlines()[0] if str(error.orig).strip() else type(error).__name__
        raise LibraryError(
            f"{shown_url(engine.url)}: the library's database cannot be used ({reason}); nothing was changed"
        ) from error


def lock_rows(connection: Connection) -> None:
    """Have this transaction be the only one that writes the chain of events, until it ends.

    SQLite has one writer anyway.
    """
    if connection.dialect.name == "postgresql":
        connection.execute(text("LOCK TABLE event IN EXCLUSIVE MODE"))
