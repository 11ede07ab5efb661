"""What files that left look like."""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"


def upgrade() -> None:
    op.create_table(
        "likenesses",
        sa.Column("number", sa.BigInteger().with_variant(sa.Integer, "sqlite"), primary_key=True, autoincrement=True),
        sa.Column("job_id", sa.Text, nullable=False),
        sa.Column("vector", sa.LargeBinary, nullable=False),
        sa.Column("pictures", sa.LargeBinary, nullable=False),
        sqlite_autoincrement=True,
    )
    op.create_index("likenesses_by_job", "likenesses", ["job_id"])


def downgrade() -> None:
    op.drop_table("likenesses")
