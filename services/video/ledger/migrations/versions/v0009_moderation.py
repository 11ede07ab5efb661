"""The appeal log of what the gate refused."""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"


def upgrade() -> None:
    op.create_table(
        "moderation_cases",
        sa.Column("id", sa.Text, primary_key=True),
        sa.Column("at", sa.Float(53), nullable=False),
        sa.Column("owner", sa.Text, nullable=False),
        sa.Column("key_id", sa.Text, nullable=False),
        sa.Column("stage", sa.Text, nullable=False),
        sa.Column("field", sa.Text, nullable=False),
        sa.Column("category", sa.Text, nullable=False),
        sa.Column("rule", sa.Text, nullable=False),
        sa.Column("score", sa.Float(53), nullable=False),
        sa.Column("digest", sa.Text, nullable=False),
        sa.Column("text", sa.Text),
        sa.Column("job_id", sa.Text),
        sa.Column("count", sa.Integer, nullable=False),
        sa.Column("overruled_at", sa.Float(53)),
        sa.Column("overruled_by", sa.Text),
    )
    op.create_index("moderation_cases_by_time", "moderation_cases", ["at"])
    op.create_index("moderation_cases_by_digest", "moderation_cases", ["digest"])


def downgrade() -> None:
    op.drop_table("moderation_cases")
