"""Who keeps house and since when, what decoding takes, what was predicted of a job, and where characters lie."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    op.create_table(
        "turns",
        sa.Column("name", sa.Text, primary_key=True),
        sa.Column("taken_at", sa.Float(53), nullable=False),
        sa.Column("steady_since", sa.Float(53), nullable=False),
    )
    op.add_column("workers", sa.Column("stage", sa.Text, nullable=False, server_default="sample"))
    for table in ("workers", "models"):
        op.add_column(table, sa.Column("decoded_per_s", sa.Float(53), nullable=False, server_default="0"))
    op.add_column("models", sa.Column("wait_factor", sa.Float(53), nullable=False, server_default="1"))
    for column in ("predicted_s", "reckoned_s"):
        op.add_column("jobs", sa.Column(column, sa.Float(53)))
    op.add_column("characters", sa.Column("uri", sa.Text))


def downgrade() -> None:
    op.drop_table("turns")
    for table, column in (
        ("workers", "stage"),
        ("workers", "decoded_per_s"),
        ("models", "decoded_per_s"),
        ("models", "wait_factor"),
        ("jobs", "predicted_s"),
        ("jobs", "reckoned_s"),
        ("characters", "uri"),
    ):
        op.drop_column(table, column)
