"""What Alembic runs for every command; `aegis.db.migrate` opens the connection and calls it."""

from __future__ import annotations

from alembic import context

from aegis.db.autogenerate import COMPARISON
from aegis.db.schema import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    # A crash between two revisions leaves the database at the first of them, valid.
    transaction_per_migration=True,
    **COMPARISON,
)
with context.begin_transaction():
    context.run_migrations()
