"""Run by alembic: applies the changes on the connection it is handed."""

from alembic import context

from tuningfork.library.schema import metadata

connection = context.config.attributes["connection"]
context.configure(connection=connection, target_metadata=metadata, transactional_ddl=False)
# The transaction is the caller's.
context.run_migrations()
