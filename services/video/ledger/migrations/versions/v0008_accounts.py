"""Keys, usage, the audit log and the service's own secrets; webhook endpoints that are given up."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    op.create_table(
        "keys",
        sa.Column("id", sa.Text, primary_key=True),
        sa.Column("owner", sa.Text, nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("digest", sa.Text, nullable=False, unique=True),
        sa.Column("hint", sa.Text, nullable=False),
        sa.Column("scopes", sa.JSON, nullable=False),
        sa.Column("created_at", sa.Float(53), nullable=False),
        sa.Column("expires_at", sa.Float(53)),
        sa.Column("revoked_at", sa.Float(53)),
    )
    op.create_index("keys_by_owner", "keys", ["owner", "id"])
    op.create_table(
        "usage",
        sa.Column("job_id", sa.Text, primary_key=True),
        sa.Column("owner", sa.Text, nullable=False),
        sa.Column("key_id", sa.Text, nullable=False),
        sa.Column("model", sa.Text, nullable=False),
        sa.Column("status", sa.Text, nullable=False),
        sa.Column("video_seconds", sa.Float(53), nullable=False),
        sa.Column("device_seconds", sa.Float(53), nullable=False),
        sa.Column("ended_at", sa.Float(53), nullable=False),
        sa.Column("day", sa.Integer, nullable=False),
    )
    op.create_index("usage_by_time", "usage", ["ended_at"])
    op.create_index("usage_by_owner", "usage", ["owner", "ended_at"])
    op.create_table(
        "audit",
        sa.Column("id", sa.Text, primary_key=True),
        sa.Column("at", sa.Float(53), nullable=False),
        sa.Column("actor", sa.Text, nullable=False),
        sa.Column("action", sa.Text, nullable=False),
        sa.Column("target", sa.Text, nullable=False),
        sa.Column("details", sa.JSON, nullable=False),
    )
    op.create_table(
        "service_secrets",
        sa.Column("name", sa.Text, primary_key=True),
        sa.Column("secret", sa.Text, nullable=False),
    )
    op.add_column("webhook_endpoints", sa.Column("failing_since", sa.Float(53)))
    op.add_column("webhook_endpoints", sa.Column("disabled_at", sa.Float(53)))


def downgrade() -> None:
    for column in ("failing_since", "disabled_at"):
        op.drop_column("webhook_endpoints", column)
    for table in ("service_secrets", "audit", "usage", "keys"):
        op.drop_table(table)
