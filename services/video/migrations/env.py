"""Runs the migrations inside the transaction that `services.video.tables.migrate` opened."""

from alembic import context

from services.video.tables import metadata

context.configure(connection=context.config.attributes["connection"], target_metadata=metadata)
context.run_migrations()
