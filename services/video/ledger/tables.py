"""The ledger's tables, and how a database by URL is opened: SQLite on one host, PostgreSQL for several."""

import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from sqlalchemy import event, exc

from sora_core.errors import ConfigError, SoraError


class LedgerUnavailable(SoraError):
    """The database doesn't answer; what was accepted is still in it."""


metadata = sa.MetaData()
_ENDED = sa.text("NOT announced AND status IN ('completed', 'failed')")

jobs = sa.Table(
    "jobs",
    metadata,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("owner", sa.Text, nullable=False),
    sa.Column("model", sa.Text, nullable=False),
    sa.Column("status", sa.Text, nullable=False),
    sa.Column("progress", sa.Integer, nullable=False),
    sa.Column("params", sa.JSON, nullable=False),
    sa.Column("tokens", sa.Integer, nullable=False),
    sa.Column("num_steps", sa.Integer, nullable=False),
    sa.Column("priority", sa.Integer, nullable=False),
    sa.Column("queued_as", sa.Float(53), nullable=False),
    sa.Column("attempts", sa.Integer, nullable=False),
    sa.Column("lease_owner", sa.Text),
    sa.Column("lease_expires_at", sa.Float(53)),
    sa.Column("cancel_requested", sa.Boolean, nullable=False),
    sa.Column("result", sa.JSON(none_as_null=True)),
    sa.Column("error_code", sa.Text),
    sa.Column("error_message", sa.Text),
    sa.Column("created_at", sa.Float(53), nullable=False),
    sa.Column("started_at", sa.Float(53)),
    sa.Column("completed_at", sa.Float(53)),
    sa.Column("expires_at", sa.Float(53)),
    sa.Column("deleted_at", sa.Float(53)),
    sa.Column("stage", sa.Text, nullable=False, server_default="sample"),
    sa.Column("saved", sa.Text),
    sa.Column("made", sa.JSON(none_as_null=True)),
    sa.Column("losses", sa.Integer, nullable=False, server_default="0"),
    sa.Column("deadline_at", sa.Float(53)),
    sa.Column("announced", sa.Boolean, nullable=False),
    sa.Column("predicted_s", sa.Float(53)),
    sa.Column("reckoned_s", sa.Float(53)),
    sa.Index("jobs_by_owner", "owner", "id"),
    sa.Index("jobs_by_status", "status", "queued_as"),
    sa.Index("jobs_to_announce", "id", sqlite_where=_ENDED, postgresql_where=_ENDED),
)

requests = sa.Table(
    "requests",
    metadata,
    sa.Column("owner", sa.Text, primary_key=True),
    sa.Column("idempotency_key", sa.Text, primary_key=True),
    sa.Column("digest", sa.Text, nullable=False),
    sa.Column("job_ids", sa.JSON, nullable=False),
    sa.Column("created_at", sa.Float(53), nullable=False),
)

models = sa.Table(
    "models",
    metadata,
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("card", sa.JSON, nullable=False),
    sa.Column("published_at", sa.Float(53), nullable=False),
    sa.Column("seen_at", sa.Float(53), nullable=False),
    sa.Column("token_steps_per_s", sa.Float(53), nullable=False, server_default="0"),
    sa.Column("decoded_per_s", sa.Float(53), nullable=False, server_default="0"),
    sa.Column("wait_factor", sa.Float(53), nullable=False, server_default="1"),
)

workers = sa.Table(
    "workers",
    metadata,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("model", sa.Text, nullable=False),
    sa.Column("seen_at", sa.Float(53), nullable=False),
    sa.Column("token_steps_per_s", sa.Float(53), nullable=False),
    sa.Column("stage", sa.Text, nullable=False, server_default="sample"),
    sa.Column("decoded_per_s", sa.Float(53), nullable=False, server_default="0"),
)

turns = sa.Table(
    "turns",
    metadata,
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("taken_at", sa.Float(53), nullable=False),
    sa.Column("steady_since", sa.Float(53), nullable=False),
)

webhook_endpoints = sa.Table(
    "webhook_endpoints",
    metadata,
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
    sa.Column("failing_since", sa.Float(53)),
    sa.Column("disabled_at", sa.Float(53)),
    sa.Index("webhook_endpoints_by_owner", "owner", "id"),
)

webhook_deliveries = sa.Table(
    "webhook_deliveries",
    metadata,
    sa.Column("event_id", sa.Text, primary_key=True),
    sa.Column("endpoint_id", sa.Text, primary_key=True),
    sa.Column("body", sa.Text, nullable=False),
    sa.Column("created_at", sa.Float(53), nullable=False),
    sa.Column("attempts", sa.Integer, nullable=False),
    sa.Column("due_at", sa.Float(53), nullable=False),
    sa.Index("webhook_deliveries_by_time", "due_at"),
)

origins = sa.Table(
    "origins",
    metadata,
    sa.Column("mark", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("job_id", sa.Text, nullable=False),
    sa.Column("model", sa.Text, nullable=False),
    sa.Column("media_type", sa.Text, nullable=False),
    sa.Column("made_at", sa.Float(53), nullable=False),
    sa.Column("manifest", sa.LargeBinary),
)

likenesses = sa.Table(
    "likenesses",
    metadata,
    sa.Column("number", sa.BigInteger().with_variant(sa.Integer, "sqlite"), primary_key=True, autoincrement=True),
    sa.Column("job_id", sa.Text, nullable=False),
    sa.Column("vector", sa.LargeBinary, nullable=False),
    sa.Column("pictures", sa.LargeBinary, nullable=False),
    sa.Index("likenesses_by_job", "job_id"),
    sqlite_autoincrement=True,
)

characters = sa.Table(
    "characters",
    metadata,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("owner", sa.Text, nullable=False),
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("frames", sa.Integer, nullable=False),
    sa.Column("height", sa.Integer, nullable=False),
    sa.Column("width", sa.Integer, nullable=False),
    sa.Column("created_at", sa.Float(53), nullable=False),
    sa.Column("uri", sa.Text),
    sa.Index("characters_by_owner", "owner", "id"),
)

allowances = sa.Table(
    "allowances",
    metadata,
    sa.Column("owner", sa.Text, primary_key=True),
    sa.Column("unit", sa.Text, primary_key=True),
    sa.Column("used", sa.Float(53), nullable=False),
    sa.Column("counted_at", sa.Float(53), nullable=False),
)

_BUSY_S = 30.0
_RESTED_S = 2.0
_MIGRATION_LOCK = 0x50124A


def open_database(url: str) -> sa.Engine:
    """An engine for a ledger URL, its schema brought up to date.

    ConfigError for a URL that names no usable database, LedgerUnavailable when the server doesn't answer.
    """
    try:
        parsed = sa.make_url(url)
    except exc.ArgumentError as error:
        raise ConfigError(f"ledger {url!r} is not a database URL: {_HOW}") from error
    if parsed.get_backend_name() == "sqlite":
        engine = _sqlite(parsed)
    elif parsed.get_backend_name() == "postgresql":
        parsed = parsed.set(drivername="postgresql+psycopg")
        engine = sa.create_engine(parsed, pool_size=16, connect_args={"connect_timeout": 5})
        event.listen(engine, "checkin", _note_use)
        event.listen(engine, "checkout", _check_rested)
    else:
        raise ConfigError(f"ledger: {parsed.get_backend_name()!r} is not supported: {_HOW}")
    with available(engine):
        migrate(engine)
    return engine


_HOW = "write sqlite:////absolute/path.db or postgresql://user@host/database"


def _sqlite(url: sa.URL) -> sa.Engine:
    if not url.database or url.database == ":memory:":
        raise ConfigError(f"ledger: an SQLite ledger needs a file that several processes can open: {_HOW}")
    Path(url.database).absolute().parent.mkdir(parents=True, exist_ok=True)
    engine = sa.create_engine(
        url.set(drivername="sqlite+pysqlite"),
        pool_size=16,
        connect_args={"timeout": _BUSY_S, "check_same_thread": False},
    )
    event.listen(engine, "connect", _configure_sqlite)
    event.listen(engine, "begin", _begin_sqlite)
    return engine


def _note_use(_connection: Any, record: Any) -> None:
    record.info["used"] = time.monotonic()


def _check_rested(connection: Any, record: Any, _proxy: Any) -> None:
    """Ask a connection that rested whether its server is still there; asking a busy one doubles the round trips."""
    if time.monotonic() - record.info.get("used", time.monotonic()) < _RESTED_S:
        return
    try:
        connection.autocommit = True
        connection.execute("")
        connection.autocommit = False
    except psycopg.Error as error:
        raise exc.DisconnectionError from error


def _configure_sqlite(connection: Any, _record: object) -> None:
    """WAL lets the API read while a sampler writes; full sync, because an accepted job must survive a power cut."""
    assert isinstance(connection, sqlite3.Connection)
    connection.isolation_level = None
    _switch_to_wal(connection)
    connection.execute("PRAGMA synchronous = FULL")


def _switch_to_wal(connection: sqlite3.Connection) -> None:
    """The first connection of all changes the file's mode, and SQLite doesn't let a second one wait for that."""
    give_up = time.monotonic() + _BUSY_S
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            return
        except sqlite3.OperationalError as error:
            if "locked" not in str(error) or time.monotonic() > give_up:
                raise
            time.sleep(0.02)


def _begin_sqlite(connection: sa.Connection) -> None:
    """A writer takes the lock at once: one that reads first and is upgraded later fails without waiting."""
    writes = connection.get_execution_options().get("writes", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


def migrate(engine: sa.Engine) -> None:
    """Bring the schema to this version; processes that start together take turns."""
    with transaction(engine, writes=True) as db:
        if engine.dialect.name == "postgresql":
            db.execute(sa.select(sa.func.pg_advisory_xact_lock(_MIGRATION_LOCK)))
        command.upgrade(migrations(db), "head")


def migrations(db: sa.Connection) -> Config:
    """The schema's versions, to be applied inside a transaction."""
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations").replace("%", "%%"))
    config.attributes["connection"] = db
    return config


@contextmanager
def transaction(engine: sa.Engine, *, writes: bool) -> Iterator[sa.Connection]:
    """One transaction: committed at the end, rolled back on an error.

    On PostgreSQL each statement of a transaction that doesn't write stands alone: that saves two round trips of three.
    """
    options: dict[str, Any] = {"writes": writes}
    if engine.dialect.name == "postgresql" and not writes:
        options["isolation_level"] = "AUTOCOMMIT"
    with engine.connect().execution_options(**options) as db, db.begin():
        yield db


@contextmanager
def available(engine: sa.Engine) -> Iterator[None]:
    """Turns a database that doesn't answer into LedgerUnavailable, without its password."""
    try:
        yield
    except (exc.OperationalError, exc.InterfaceError, exc.TimeoutError) as error:
        cause = getattr(error, "orig", None) or error
        where = engine.url.render_as_string(hide_password=True)
        raise LedgerUnavailable(
            f"the ledger at {where} doesn't answer ({cause}); start it or correct the URL"
        ) from error


@contextmanager
def database(engine: sa.Engine, *, writes: bool) -> Iterator[sa.Connection]:
    """One transaction of a store beside the ledger's own; LedgerUnavailable when the database doesn't answer."""
    with available(engine), transaction(engine, writes=writes) as db:
        yield db
