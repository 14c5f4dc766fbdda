from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext

from tuningfork.library.database import reading
from tuningfork.library.schema import metadata
from tuningfork.library.store import Library


def test_the_tables_are_those_that_migrations_make(library: Library) -> None:
    with reading(library.engine) as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, metadata) == []
