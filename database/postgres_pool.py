"""Connections to PostgreSQL: bounded in every wait, replaced when broken, and psycopg's errors turned into ours.

SQLAlchemy owns the pool; the hot statements run on the raw psycopg connection, in autocommit, so that one statement is one
transaction and one round trip.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, cast

import psycopg
from psycopg import errors
from psycopg.pq import TransactionStatus
from psycopg.types.string import ByteaBinaryLoader
from sqlalchemy import Engine, create_engine, event
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from twofold.database.urls import normalise_url
from twofold.kernel.errors import Conflict, Neighbour, Unavailable

POOL_WAIT_SECONDS = 5.0
CONNECT_TIMEOUT_SECONDS = 3
STATEMENT_TIMEOUT_MS = 10_000
LOCK_TIMEOUT_MS = 5_000
IDLE_IN_TRANSACTION_TIMEOUT_MS = 2_500
"""A process stopped inside a transaction loses it, and the log's head with it, before its leases have moved elsewhere."""
TCP_DEAD_AFTER_MS = 10_000

ANSWERED_NOT = ("08", "40", "53", "57", "58", "25P03", "25006", "55P03")
"""SQLSTATEs after which the same may succeed: connection, serialization and deadlock, resources and disk, shutdown and
timeout, system errors, idle in transaction, read-only (a standby), lock not available."""

PSYCOPG = psycopg.Connection[tuple[Any, ...]]


def connect(url: str, pool_size: int) -> Engine:
    """An engine of at most `pool_size` connections, none opened yet. To be made after the last fork. Raises Misconfigured."""
    engine = create_engine(
        normalise_url(url),
        isolation_level="AUTOCOMMIT",
        pool_size=pool_size,
        max_overflow=0,
        pool_timeout=POOL_WAIT_SECONDS,
        pool_use_lifo=True,
        pool_reset_on_return=None,  # `borrowed` never gives back an open transaction
        connect_args={
            "application_name": "twofold",
            "connect_timeout": CONNECT_TIMEOUT_SECONDS,
            "keepalives": 1,
            "keepalives_idle": 5,
            "keepalives_interval": 2,
            "keepalives_count": 3,
            "tcp_user_timeout": TCP_DEAD_AFTER_MS,
            "options": f"-c statement_timeout={STATEMENT_TIMEOUT_MS} -c lock_timeout={LOCK_TIMEOUT_MS}"
            f" -c idle_in_transaction_session_timeout={IDLE_IN_TRANSACTION_TIMEOUT_MS} -c timezone=UTC -c jit=off",
        },
    )
    event.listen(engine, "connect", _json_as_bytes)
    return engine


@contextmanager
def borrowed(engine: Engine) -> Iterator[PSYCOPG]:
    """A psycopg connection, in autocommit, outside any transaction. Raises Unavailable and Conflict in psycopg's stead.

    Whatever ends the block early, an open transaction is rolled back. A connection that broke is replaced, together with all
    idle ones: they are usually broken by the same restart.
    """
    try:
        proxied = engine.raw_connection()
    except (psycopg.OperationalError, DBAPIError, PoolTimeout) as error:
        raise Unavailable(Neighbour.LOG, "no connection") from error
    raw = cast(PSYCOPG, proxied.driver_connection)
    try:
        yield raw
    except BaseException as error:
        try:
            if not raw.closed and raw.info.transaction_status != TransactionStatus.IDLE:
                raw.rollback()
        except psycopg.Error:
            raw.close()
        if raw.closed:
            proxied.invalidate()
            engine.dispose()
        if isinstance(error, psycopg.Error) and (ours := _as_ours(error)):
            raise ours from error
        raise
    finally:
        proxied.close()


def _as_ours(error: psycopg.Error) -> Exception | None:
    """None for what is neither: wrong data, or a bug."""
    if isinstance(error, errors.UniqueViolation | errors.CardinalityViolation):
        # A position taken twice would mean that the head is not the log's: nothing that deciding again could mend.
        return None if error.diag.constraint_name == "events_pkey" else Conflict(error.diag.constraint_name or "inbox")
    if error.sqlstate is None:
        lost = isinstance(error, psycopg.OperationalError | psycopg.InterfaceError)
        return Unavailable(Neighbour.LOG, "connection lost") if lost else None
    return Unavailable(Neighbour.LOG, "did not do it", detail=error.sqlstate) if error.sqlstate.startswith(ANSWERED_NOT) else None


def _json_as_bytes(connection: PSYCOPG, _record: object) -> None:
    """JSON columns of binary results come as the bytes they are. Text results, which other rooms use, are as ever."""
    connection.adapters.register_loader("json", ByteaBinaryLoader)
