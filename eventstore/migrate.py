"""Bring the schema of the log, the inbox and the leases up to date, and tell whether it is.

The roof calls this before anything opens the database. Revisions live in `migrations/versions`, each with the SQL of both
databases; alembic runs them in one transaction and notes the last one in the table `eventstore_version`.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, create_engine, text
from sqlalchemy.exc import DatabaseError
from sqlalchemy.pool import NullPool

from twofold.database.errors import as_ours
from twofold.database.sqlite import AUTO_VACUUM, FileLock
from twofold.database.urls import normalise_url, sqlite_path
from twofold.kernel.errors import Misconfigured, Neighbour, Unavailable

MIGRATIONS = Path(__file__).with_name("migrations")
VERSION_TABLE = "eventstore_version"
CONNECT_TIMEOUT_SECONDS = 5
LOCK_TIMEOUT = "60s"
"""How long one migrating process waits for another."""
MIGRATION_LOCK = 0x74776F666F6C64
"""Key of the PostgreSQL advisory lock that lets one process migrate at a time: "twofold" in ASCII."""


PARTITION_POSITIONS = 10_000_000
"""Of a log on PostgreSQL: events and outcomes of so many positions stand in tables of their own (docs/decisions/0026)."""


def migrate(url: str, partition_positions: int = PARTITION_POSITIONS) -> None:
    """Make or upgrade the tables; nothing happens when they are up to date, or a later version's. Any number may call it at once.
    Tables that hold nothing yet are made in partitions, unless of 0 positions.

    An SQLite file must not be open for writing anywhere: migrate first, then construct `SqliteFile`.
    Raises Misconfigured for a URL or a file that cannot be used, Unavailable when the server does not answer.
    """
    with migrating(url) as connection:
        if _is_later(_revisions(connection)):
            return
        config = Config()
        config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
        config.attributes.update(connection=connection, version_table=VERSION_TABLE, partition_positions=partition_positions)
        command.upgrade(config, "head")


def is_current(url: str) -> bool:
    """Whether the tables are those of this version, or of a later one, which has only added to them. False, too, for an SQLite
    file that is not there; it is not made."""
    path = sqlite_path(normalise_url(url))
    if path is not None and not path.exists():
        return False
    with looking(url) as connection:
        found = _revisions(connection)
    return set(found) == set(ScriptDirectory(str(MIGRATIONS)).get_heads()) or _is_later(found)


@contextmanager
def migrating(url: str, lock_timeout: str = LOCK_TIMEOUT) -> Iterator[Connection]:
    """A connection in a transaction that one process at a time may have; an SQLite file is held by it alone.

    `lock_timeout`: what it locks after that it gets within this time, or is Unavailable."""
    url = normalise_url(url)
    path = sqlite_path(url)
    lock = FileLock(path) if path else None
    try:
        with _connected(url) as connection:
            if path is None:
                connection.execute(text(f"SET LOCAL lock_timeout = '{LOCK_TIMEOUT}'"))
                connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": MIGRATION_LOCK})
                connection.execute(text(f"SET LOCAL lock_timeout = '{lock_timeout}'"))
            else:
                connection.exec_driver_sql(f"PRAGMA {AUTO_VACUUM}")
                connection.exec_driver_sql("BEGIN IMMEDIATE")
            yield connection
    finally:
        if lock:
            lock.release()


@contextmanager
def looking(url: str) -> Iterator[Connection]:
    """A connection that changes nothing, beside whoever has an SQLite file."""
    url = normalise_url(url)
    path = sqlite_path(url)
    with _connected(url if path is None else f"sqlite:///file:{path}?mode=ro&uri=true") as connection:
        yield connection


def _is_later(found: Collection[str]) -> bool:
    """Whether a later version has migrated: this one does not know its revision."""
    return not set(found) <= {script.revision for script in ScriptDirectory(str(MIGRATIONS)).walk_revisions()}


def _revisions(connection: Connection) -> tuple[str, ...]:
    return tuple(MigrationContext.configure(connection, opts={"version_table": VERSION_TABLE}).get_current_heads())


@contextmanager
def _connected(url: str) -> Iterator[Connection]:
    """A connection of its own, inside one transaction that is committed at the end."""
    arguments: dict[str, Any] = {}
    if not url.startswith("sqlite"):
        arguments = {"connect_timeout": CONNECT_TIMEOUT_SECONDS, "prepare_threshold": None}  # there may be a pooler between
    engine = create_engine(url, poolclass=NullPool, connect_args=arguments)
    try:
        with engine.begin() as connection:
            yield connection
    except DatabaseError as error:
        if getattr(error.orig, "sqlite_errorcode", None) == sqlite3.SQLITE_NOTADB:
            raise Misconfigured(f"TWOFOLD_DATABASE_URL: {url} is no SQLite database ({error.orig}); move it away") from error
        if isinstance(ours := as_ours(error, Neighbour.LOG), Unavailable):
            raise ours from error
        raise
    finally:
        engine.dispose()
