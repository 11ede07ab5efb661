"""The tables of accounts, in the ledger's database."""

import sqlalchemy as sa

from services.video.ledger.tables import metadata

keys = sa.Table(
    "keys",
    metadata,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("owner", sa.Text, nullable=False),
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("digest", sa.Text, nullable=False, unique=True),
    sa.Column("hint", sa.Text, nullable=False),
    sa.Column("scopes", sa.JSON, nullable=False),
    sa.Column("created_at", sa.Float(53), nullable=False),
    sa.Column("expires_at", sa.Float(53)),
    sa.Column("revoked_at", sa.Float(53)),
    sa.Index("keys_by_owner", "owner", "id"),
)

usage = sa.Table(
    "usage",
    metadata,
    sa.Column("job_id", sa.Text, primary_key=True),
    sa.Column("owner", sa.Text, nullable=False),
    sa.Column("key_id", sa.Text, nullable=False),
    sa.Column("model", sa.Text, nullable=False),
    sa.Column("status", sa.Text, nullable=False),
    sa.Column("video_seconds", sa.Float(53), nullable=False),
    sa.Column("device_seconds", sa.Float(53), nullable=False),
    sa.Column("ended_at", sa.Float(53), nullable=False),
    sa.Column("day", sa.Integer, nullable=False),
    sa.Index("usage_by_time", "ended_at"),
    sa.Index("usage_by_owner", "owner", "ended_at"),
)

audit = sa.Table(
    "audit",
    metadata,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("at", sa.Float(53), nullable=False),
    sa.Column("actor", sa.Text, nullable=False),
    sa.Column("action", sa.Text, nullable=False),
    sa.Column("target", sa.Text, nullable=False),
    sa.Column("details", sa.JSON, nullable=False),
)

service_secrets = sa.Table(
    "service_secrets",
    metadata,
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("secret", sa.Text, nullable=False),
)

moderation_cases = sa.Table(
    "moderation_cases",
    metadata,
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
    sa.Index("moderation_cases_by_time", "at"),
    sa.Index("moderation_cases_by_digest", "digest"),
)
