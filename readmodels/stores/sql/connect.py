"""Opens engines. A connection that waits for ever is a projector that stands still: every wait here has an end.

SQLite: every connection reads only, and never checkpoints the write-ahead log; the one connection the store takes out for
writing is told otherwise (`writer`). Two connections that write or checkpoint one file can corrupt it before 3.51.3.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import URL, Connection, Engine, create_engine, event, make_url

CONNECT_SECONDS = 5
POOL_WAIT_SECONDS = 5.0
STATEMENT_MS = 15_000
LOCK_MS = 3_000
IDLE_IN_TRANSACTION_MS = 3_000
"""A process stopped in mid-transaction must not hold the locks of its checkpoints for longer."""
KEEPALIVE = {"keepalives": 1, "keepalives_idle": 5, "keepalives_interval": 2, "keepalives_count": 3, "tcp_user_timeout": 10_000}
SQLITE_BUSY_SECONDS = 5.0
WAL_PAGES = 1_000
"""Pages of write-ahead log after which the writing connection checkpoints it: 4 MB."""
BEGIN = "twofold_begin"
"""Execution option: how a connection begins a transaction on SQLite."""


def connect(url: str, pool_size: int) -> Engine:
    """An engine for views: `sqlite:///path`, `postgresql://…` or `postgresql+psycopg://…`. Nothing is opened yet.

    At most `pool_size` operations run at a time; one more waits, bounded, and then raises Unavailable. Call it after fork only.
    """
    parsed = make_url(url)
    if parsed.get_backend_name() == "sqlite":
        return _sqlite(parsed, pool_size)
    return _postgres(parsed.set(drivername="postgresql+psycopg"), pool_size)


def writer(engine: Engine) -> Connection:
    """Take a connection out of a SQLite engine for good, and make it the file's one writer."""
    connection = engine.connect().execution_options(**{BEGIN: "BEGIN IMMEDIATE"})
    connection.detach()
    raw: Any = connection.connection.dbapi_connection
    for setting in ("query_only=OFF", "journal_mode=WAL", "synchronous=NORMAL", f"wal_autocheckpoint={WAL_PAGES}"):
        raw.execute(f"PRAGMA {setting}")
    return connection


def _postgres(url: URL, pool_size: int) -> Engine:
    # A crash of the server may cost the last moments of rows and checkpoint alike; they are folded anew from the log.
    settings = {
        "timezone": "UTC",
        "synchronous_commit": "off",
        "statement_timeout": STATEMENT_MS,
        "lock_timeout": LOCK_MS,
        "idle_in_transaction_session_timeout": IDLE_IN_TRANSACTION_MS,
    }
    options = " ".join(f"-c {name}={value}" for name, value in settings.items())
    return create_engine(
        url,
        pool_size=pool_size,
        max_overflow=0,
        pool_timeout=POOL_WAIT_SECONDS,
        connect_args={
            "connect_timeout": CONNECT_SECONDS,
            "application_name": "twofold readmodels",
            "options": options,
            **KEEPALIVE,
        },
    )


def _sqlite(url: URL, pool_size: int) -> Engine:
    engine = create_engine(
        url,
        pool_size=pool_size + 1,
        max_overflow=0,
        pool_timeout=POOL_WAIT_SECONDS,
        connect_args={"timeout": SQLITE_BUSY_SECONDS, "isolation_level": None, "check_same_thread": False},
    )

    @event.listens_for(engine, "connect")
    def read_only(connection: Any, _: Any) -> None:
        connection.execute("PRAGMA wal_autocheckpoint=0")
        connection.execute("PRAGMA query_only=ON")

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        connection.exec_driver_sql(str(connection.get_execution_options().get(BEGIN, "BEGIN")))

    return engine
