"""Libraries to test with: every test that takes `library` runs on SQLite and on PostgreSQL."""

from collections.abc import Iterator
from itertools import count
from pathlib import Path

import pytest
from sqlalchemy import create_engine, text

from tests.library.exchange.bundles import NAME, add_evidence, key_in, register
from tests.library.postgres_cluster import find_program, running_cluster
from tuningfork.library.aliases import MoveRequest
from tuningfork.library.database import database_url
from tuningfork.library.exchange.keys import PublicKey, SigningKey
from tuningfork.library.store import Library

_NUMBERS = count()


@pytest.fixture(scope="session")
def postgres_url() -> Iterator[str]:
    if find_program("initdb") is None:
        pytest.skip("PostgreSQL is not installed: apt-get install postgresql")
    with running_cluster() as url:
        yield url


@pytest.fixture(params=["sqlite", "postgresql"])
def library_place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """Where an empty library may be made: a folder, or the URL of an empty database."""
    if request.param == "sqlite":
        yield str(tmp_path / "library")
        return
    server, name = request.getfixturevalue("postgres_url"), f"library_{next(_NUMBERS)}"
    engine = create_engine(database_url(f"{server}/postgres"), isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(text(f"CREATE DATABASE {name}"))
        yield f"{server}/{name}"
        connection.execute(text(f"DROP DATABASE {name} WITH (FORCE)"))
    engine.dispose()


@pytest.fixture
def library(library_place: str, tmp_path: Path) -> Iterator[Library]:
    with Library(library_place, artifacts=tmp_path / "artifacts") as opened:
        yield opened


@pytest.fixture
def origin(tmp_path: Path) -> Iterator[Library]:
    """A library with two versions of a prompt, and evidence of the second."""
    with Library(tmp_path / "origin") as made:
        register(made)
        second = register(made, 2.0, parent=1)
        add_evidence(made, second)
        made.move_alias(MoveRequest(NAME, "staging", 2, "bob"))
        yield made


@pytest.fixture
def keys(tmp_path: Path) -> tuple[SigningKey, PublicKey]:
    """What a bundle is signed and verified with."""
    return key_in(tmp_path)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where a bundle may be written."""
    return tmp_path / "tickets.tfb"
