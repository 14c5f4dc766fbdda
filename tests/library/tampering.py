"""What verification finds once somebody has changed a database by hand."""

from sqlalchemy import text

from tuningfork.library.store import Library
from tuningfork.library.verification import Verification, look_through


def told(found: Verification) -> list[str]:
    return [f"{problem.kind} {problem.where}: {problem.what}" for problem in found.problems]


def problems_after(library: Library, statement: str) -> list[str]:
    """What verification finds once somebody has changed the database; the change is taken back."""
    with library.engine.connect() as connection, connection.begin() as transaction:
        if connection.dialect.name == "postgresql":
            connection.execute(text("SET LOCAL session_replication_role = replica"))
        else:
            connection.execute(text("PRAGMA defer_foreign_keys = ON"))
        connection.execute(text(statement))
        found = told(look_through(connection, library.artifacts))
        transaction.rollback()
    return found
