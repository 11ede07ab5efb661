"""Webhook endpoints, the events on their way to them, and what each key used of its rates."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    op.add_column("jobs", sa.Column("announced", sa.Boolean, nullable=False, server_default=sa.false()))
    ended = sa.text("NOT announced AND status IN ('completed', 'failed')")
    op.create_index("jobs_to_announce", "jobs", ["id"], sqlite_where=ended, postgresql_where=ended)
    op.create_table(
        "webhook_endpoints",
        sa.Column("id", sa.Text, primary_key=True),
        sa.Column("owner", sa.Text, nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("url", sa.Text, nullable=False),
        sa.Column("event_types", sa.JSON, nullable=False),
        sa.Column("secret", sa.Text, nullable=False),
        sa.Column("old_secret", sa.Text),
        sa.Column("old_secret_until", sa.Float(53)),
        sa.Column("created_at", sa.Float(53), nullable=False),
        sa.Column("updated_at", sa.Float(53), nullable=False),
    )
    op.create_index("webhook_endpoints_by_owner", "webhook_endpoints", ["owner", "id"])
    op.create_table(
        "webhook_deliveries",
        sa.Column("event_id", sa.Text, primary_key=True),
        sa.Column("endpoint_id", sa.Text, primary_key=True),
        sa.Column("body", sa.Text, nullable=False),
        sa.Column("created_at", sa.Float(53), nullable=False),
        sa.Column("attempts", sa.Integer, nullable=False),
        sa.Column("due_at", sa.Float(53), nullable=False),
    )
    op.create_index("webhook_deliveries_by_time", "webhook_deliveries", ["due_at"])
    op.create_table(
        "allowances",
        sa.Column("owner", sa.Text, primary_key=True),
        sa.Column("unit", sa.Text, primary_key=True),
        sa.Column("used", sa.Float(53), nullable=False),
        sa.Column("counted_at", sa.Float(53), nullable=False),
    )


def downgrade() -> None:
    for table in ("allowances", "webhook_deliveries", "webhook_endpoints"):
        op.drop_table(table)
    op.drop_index("jobs_to_announce", "jobs")
    op.drop_column("jobs", "announced")
