"""Jobs are sampled, then decoded, and keep what was saved of them; a model keeps the rate that one worker showed."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    op.add_column("jobs", sa.Column("stage", sa.Text, nullable=False, server_default="sample"))
    op.add_column("jobs", sa.Column("saved", sa.Text))
    op.add_column("jobs", sa.Column("losses", sa.Integer, nullable=False, server_default="0"))
    op.add_column("jobs", sa.Column("deadline_at", sa.Float(53)))
    op.add_column("models", sa.Column("token_steps_per_s", sa.Float(53), nullable=False, server_default="0"))


def downgrade() -> None:
    op.drop_column("models", "token_steps_per_s")
    for column in ("deadline_at", "losses", "saved", "stage"):
        op.drop_column("jobs", column)
