"""Origins: what is remembered of files that left, by the number in their mark."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    op.create_table(
        "origins",
        sa.Column("mark", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("job_id", sa.Text, nullable=False),
        sa.Column("model", sa.Text, nullable=False),
        sa.Column("media_type", sa.Text, nullable=False),
        sa.Column("made_at", sa.Float(53), nullable=False),
        sa.Column("manifest", sa.LargeBinary),
    )


def downgrade() -> None:
    op.drop_table("origins")
