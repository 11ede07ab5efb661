"""Runs the migrations inside the transaction that `services.video.ledger.tables.migrate` opened."""

from alembic import context

from services.video.ledger.tables import metadata

context.configure(connection=context.config.attributes["connection"], target_metadata=metadata)
context.run_migrations()
