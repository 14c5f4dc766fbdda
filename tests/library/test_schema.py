from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext

from tuningfork.library.database import reading
from tuningfork.library.schema import metadata
from tuningfork.library.store import Library


def _is_of_every_database(name: str | None, kind: str, _parents: object) -> bool:
    """The words to search by lie in a table of each database's own kind."""
    return kind != "table" or not str(name).startswith("prompt_words")


def test_the_tables_are_those_that_migrations_make(library: Library) -> None:
    with reading(library.engine) as connection:
        context = MigrationContext.configure(
            connection, opts={"compare_type": True, "include_name": _is_of_every_database}
        )
        assert compare_metadata(context, metadata) == []
