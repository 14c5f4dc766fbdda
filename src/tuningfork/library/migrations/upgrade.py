"""Brings the tables of a library to what this version of tuningfork needs."""

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Engine, text

from tuningfork.errors import LibraryError
from tuningfork.library.database import reading, shown_url, writing


def configuration(connection: Connection | None = None) -> Config:
    """What alembic must know; `env.py` runs the changes on `connection`."""
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent).replace("%", "%%"))
    config.attributes["connection"] = connection
    return config


def upgrade(engine: Engine) -> None:
    """Make the tables, or change them as later versions did, all in one transaction.

    Raises:
        LibraryError: if they were made by a later version of tuningfork, or cannot be changed.
    """
    script = ScriptDirectory.from_config(configuration())
    newest, known = script.get_current_head(), {step.revision for step in script.walk_revisions()}
    with reading(engine) as connection:
        found = MigrationContext.configure(connection).get_current_revision()
    if found == newest:
        return
    if found is not None and found not in known:
        raise LibraryError(
            f"{shown_url(engine.url)}: this library was used by a later version of tuningfork (its tables "
            f"are {found}, known here are up to {newest}); upgrade tuningfork"
        )
    with writing(engine) as connection:
        if connection.dialect.name == "postgresql":
            # Two processes may open a new library at once; the second finds all done.
            connection.execute(text("SELECT pg_advisory_xact_lock(7021115)"))
        command.upgrade(configuration(connection), "head")
