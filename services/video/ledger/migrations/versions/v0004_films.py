"""Edits: the windows of a film that are made, and their clips in the parameters."""

import time
from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"

_jobs = sa.table(
    "jobs",
    sa.column("id", sa.Text),
    sa.column("status", sa.Text),
    sa.column("num_steps", sa.Integer),
    sa.column("params", sa.JSON),
    sa.column("completed_at", sa.Float(53)),
    sa.column("error_code", sa.Text),
    sa.column("error_message", sa.Text),
)
_WHY = "the service was upgraded before it was done: create it again"
_NEW: dict[str, Any] = {"num_windows": 1, "film": None, "remixed_from": None}


def upgrade() -> None:
    """Videos from a picture that aren't finished have to be asked for again: their picture is of another form."""
    op.add_column("jobs", sa.Column("made", sa.JSON(none_as_null=True)))
    db = op.get_bind()
    for row in db.execute(sa.select(_jobs)).all():
        old = dict(row.params)
        picture = old.pop("input", None)
        values: dict[str, Any] = {"params": old | _NEW | {"num_inference_steps": row.num_steps}}
        if picture and row.status in ("queued", "in_progress"):
            values |= {
                "status": "failed",
                "completed_at": time.time(),
                "error_code": "cancelled",
                "error_message": _WHY,
            }
        db.execute(_jobs.update().where(_jobs.c.id == row.id).values(**values))


def downgrade() -> None:
    op.drop_column("jobs", "made")
