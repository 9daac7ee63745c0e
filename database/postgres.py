"""Connections to PostgreSQL: bounded in every wait, and replaced when broken.

SQLAlchemy owns the pool. Rows are read through it; the log's hot statements, and commits of rows, run on the raw psycopg
connection (`borrowed`), in autocommit, so that one statement is one transaction and one round trip, so are many in a pipeline.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, cast

import psycopg
from psycopg.pq import TransactionStatus
from psycopg.types.string import ByteaBinaryLoader
from sqlalchemy import Connection, Dialect, Engine, ExceptionContext, create_engine, event
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from twofold.database.errors import as_ours, is_unharmed
from twofold.database.urls import normalise_url
from twofold.kernel.errors import Neighbour, Unavailable

POOL_WAIT_SECONDS = 5.0
KEEPALIVE = {"keepalives": 1, "keepalives_idle": 5, "keepalives_interval": 2, "keepalives_count": 3, "tcp_user_timeout": 10_000}
"""A server that vanished without a word is noticed within some ten seconds."""

BORROWED: dict[str, Any] = {"pool_reset_on_return": None}
"""`borrowed` never gives back an open transaction."""

REFUSED_OPTIONS = "unsupported startup parameter"

PSYCOPG = psycopg.Connection[tuple[Any, ...]]


@dataclass(frozen=True)
class Profile:
    """What connections are for decides how long they may take, and what a crash of the server may cost."""

    application_name: str
    variable: str
    """The setting to name when the URL is no good."""
    connect_timeout_seconds: int
    statement_timeout_ms: int
    lock_timeout_ms: int
    idle_in_transaction_timeout_ms: int
    """A process stopped inside a transaction loses it, and its locks with it."""
    is_durable: bool
    """Whether a commit waits for the disk."""
    is_borrowed: bool
    """Whether its connections are used through `borrowed` alone."""
    planner: Mapping[str, str] = field(default_factory=dict)
    """Settings of PostgreSQL's planner. Behind a pooler that drops them its own choice is right as soon as tables are large."""


LOG = Profile(
    application_name="twofold",
    variable="TWOFOLD_DATABASE_URL",
    connect_timeout_seconds=3,
    statement_timeout_ms=10_000,
    lock_timeout_ms=5_000,
    idle_in_transaction_timeout_ms=2_500,  # before the leases of whoever was stopped amid an append have moved elsewhere
    is_durable=True,
    is_borrowed=True,
    planner={
        "enable_seqscan": "off",  # a plan is kept; a table that was one page when it was made need not stay so
        "plan_cache_mode": "force_generic_plan",  # with partitions, planning anew takes longer than what is planned
    },
)
"""Fails fast: commands wait behind it."""

ROWS = Profile(
    application_name="twofold readmodels",
    variable="TWOFOLD_READ_DATABASE_URL",
    connect_timeout_seconds=5,
    statement_timeout_ms=15_000,
    lock_timeout_ms=3_000,
    idle_in_transaction_timeout_ms=3_000,
    is_durable=False,  # a crash may cost the last moments of rows and checkpoint alike: they are folded anew from the log
    is_borrowed=False,
)
"""Statements may be long: a page of rows, a thousand rows written at once."""


def connect(url: str, pool_size: int, profile: Profile) -> Engine:
    """An engine of at most `pool_size` connections, none opened yet. To be made after the last fork. Raises Misconfigured."""
    settings = {
        "timezone": "UTC",
        **profile.planner,
        "jit": "off",  # compiling a plan takes longer than any of ours runs
        "statement_timeout": profile.statement_timeout_ms,
        "lock_timeout": profile.lock_timeout_ms,
        "idle_in_transaction_session_timeout": profile.idle_in_transaction_timeout_ms,
        **({} if profile.is_durable else {"synchronous_commit": "off"}),  # the server may ask for more than "on"
    }
    engine = create_engine(
        normalise_url(url, profile.variable),
        pool_size=pool_size,
        max_overflow=0,
        pool_timeout=POOL_WAIT_SECONDS,
        isolation_level="AUTOCOMMIT",
        pool_use_lifo=True,
        connect_args={
            "application_name": profile.application_name,
            "connect_timeout": profile.connect_timeout_seconds,
            "options": " ".join(f"-c {name}={value}" for name, value in settings.items()),
            **KEEPALIVE,
        },
        **(BORROWED if profile.is_borrowed else {}),
    )
    event.listen(engine, "do_connect", _connect)
    event.listen(engine, "connect", _furnish)
    event.listen(engine, "handle_error", _give_up_harmed)
    return engine


@contextmanager
def borrowed(engine: Engine, neighbour: Neighbour = Neighbour.LOG) -> Iterator[PSYCOPG]:
    """A psycopg connection, in autocommit, outside any transaction. Raises Unavailable and Conflict, not psycopg's.

    Whatever ends the block early, an open transaction is rolled back. A connection that broke, or on which something went wrong
    that is not the data's fault, is replaced, together with all idle ones: they are usually broken by the same restart, and hold
    the same plans.
    """
    try:
        proxied = engine.raw_connection()
    except (psycopg.OperationalError, DBAPIError, PoolTimeout) as error:
        raise as_ours(error, neighbour) or Unavailable(neighbour, "no connection") from error
    raw = cast(PSYCOPG, proxied.driver_connection)
    try:
        yield raw
    except BaseException as error:
        try:
            if not is_unharmed(error):
                raw.close()
            elif not raw.closed and raw.info.transaction_status != TransactionStatus.IDLE:
                raw.rollback()
        except psycopg.Error:
            raw.close()
        if raw.closed:
            proxied.invalidate()
            engine.dispose()
        if isinstance(error, psycopg.Error) and (ours := as_ours(error, neighbour)):
            raise ours from error
        raise
    finally:
        proxied.close()


@contextmanager
def transaction(engine: Engine) -> Iterator[Connection]:
    """Through SQLAlchemy, whose connections are in autocommit otherwise."""
    with engine.execution_options(isolation_level="READ COMMITTED").begin() as connection:
        yield connection


def fetch(engine: Engine, statement: str, values: Sequence[Any] | Mapping[str, Any] = ()) -> list[tuple[Any, ...]]:
    """All rows of one statement that only reads, on a borrowed connection; JSON comes as the bytes it is.

    A connection that broke while it was idle, or holds a plan that no longer fits, is replaced once without a word.
    """
    try:
        return _fetch(engine, statement, values)
    except Unavailable as error:
        if error.__cause__ is None or is_unharmed(error.__cause__):
            raise
        return _fetch(engine, statement, values)


def _fetch(engine: Engine, statement: str, values: Sequence[Any] | Mapping[str, Any]) -> list[tuple[Any, ...]]:
    with borrowed(engine) as connection:
        return connection.execute(statement, values, binary=True).fetchall()


def _give_up_harmed(context: ExceptionContext) -> None:
    """What SQLAlchemy raises is the same; the connection is replaced, and so are the idle ones, as in `borrowed`."""
    if context.original_exception is not None and not is_unharmed(context.original_exception):
        context.is_disconnect = True


def _connect(dialect: Dialect, _record: object, arguments: Any, parameters: dict[str, Any]) -> Any:
    """A pooler may refuse what a session is to be like; its own limits are in force then (docs/architecture.md)."""
    try:
        return dialect.connect(*arguments, **parameters)
    except psycopg.OperationalError as error:
        if REFUSED_OPTIONS not in str(error):
            raise
    return dialect.connect(*arguments, **{name: value for name, value in parameters.items() if name != "options"})


def _furnish(connection: PSYCOPG, _record: object) -> None:
    """JSON columns of binary results come as the bytes they are (text results, which rows use, are as ever).

    Behind a pooler the next transaction may be on another connection of the server: nothing is prepared, and UTC is asked for."""
    connection.adapters.register_loader("json", ByteaBinaryLoader)
    row = connection.execute("SELECT pg_backend_pid()").fetchone()
    if row and row[0] != connection.info.backend_pid:
        connection.prepare_threshold = None
        connection.execute("SET TIME ZONE 'UTC'")  # which poolers remember for their clients
    connection.commit()
