"""SQLite as we use it: WAL, one connection in one process writes and checkpoints, all the others only read.

SQLite before 3.51.3 can corrupt a file in WAL mode that two connections write or checkpoint. So a reader can do neither, and
a lock beside the log's file keeps other processes from writing it. The log writes through `sqlite_file.SqliteFile`, which
shares commits; rows through SQLAlchemy: `connect`, and `writer` for the one connection that may write.
"""

from __future__ import annotations

import fcntl
import os
import sqlite3
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import quote

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.engine import make_url

from twofold.kernel.errors import Misconfigured

BUSY_SECONDS = 1.0
"""How long the log's writer waits for a reader that keeps it from emptying the WAL."""
ROWS_BUSY_SECONDS = 5.0
POOL_WAIT_SECONDS = 5.0
WAL_PAGES = 1_000
"""Pages of write-ahead log after which the writing connection checkpoints it: 4 MB."""
WAL_BYTES_MAX = 64 * 1024 * 1024
"""What is left of a WAL that had grown beyond this once it begins anew."""
AUTO_VACUUM = "auto_vacuum=INCREMENTAL"
"""Of a file that holds nothing yet: pages that come free can be given back. (Of any other it changes nothing.)"""
OPENING_PAGES_MAX = 25_000
"""Free pages that are given back when a file is opened: 100 MB, a second or two. The next time there is more."""
BEGIN = "twofold_begin"
"""Execution option: how a connection begins a transaction."""


def make_writer(connection: sqlite3.Connection, is_durable: bool) -> None:
    """Let this connection write and checkpoint. `is_durable`: a commit waits for the disk, and outlives a loss of power."""
    synchronous = "FULL" if is_durable else "NORMAL"
    settings = (
        "query_only=OFF",
        AUTO_VACUUM,
        "journal_mode=WAL",
        f"synchronous={synchronous}",
        f"wal_autocheckpoint={WAL_PAGES}",
        f"journal_size_limit={WAL_BYTES_MAX}",
    )
    for setting in settings:
        connection.execute(f"PRAGMA {setting}")
    connection.executescript(f"PRAGMA incremental_vacuum({OPENING_PAGES_MAX})")  # `execute` takes one step, a page


def make_private(path: Path) -> None:
    """Have the file there, for its owner alone, as are then those that SQLite puts beside it. Whoever opens it is told why it
    cannot be made. One that is there is not even opened: to close it again would take all of this process' locks on it away, and
    the next one to close it, a backup say, would take itself for the last and remove the WAL that is being written to."""
    with suppress(OSError):
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))


def open_reader(path: Path) -> sqlite3.Connection:
    """Opened read-only, a connection cannot checkpoint either, not even when it is closed."""
    return sqlite3.connect(
        f"file:{quote(str(path))}?mode=ro", uri=True, isolation_level=None, check_same_thread=False, cached_statements=256
    )


def connect(url: str, pool_size: int) -> Engine:
    """An engine whose connections read only. At most `pool_size` at a time, besides the one that `writer` takes out."""
    make_private(Path(make_url(url).database or ""))
    engine = create_engine(
        url,
        pool_size=pool_size + 1,
        max_overflow=0,
        pool_timeout=POOL_WAIT_SECONDS,
        connect_args={"timeout": ROWS_BUSY_SECONDS, "isolation_level": None, "check_same_thread": False},
    )

    @event.listens_for(engine, "connect")
    def read_only(connection: Any, _: Any) -> None:
        connection.execute("PRAGMA wal_autocheckpoint=0")
        connection.execute("PRAGMA query_only=ON")

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        connection.exec_driver_sql(str(connection.get_execution_options().get(BEGIN, "BEGIN")))

    return engine


def writer(engine: Engine) -> Connection:
    """Take a connection out of an engine for good, and make it the file's one writer. A crash may cost its last commits."""
    connection = engine.connect().execution_options(**{BEGIN: "BEGIN IMMEDIATE"})
    connection.detach()
    raw: Any = connection.connection.dbapi_connection
    make_writer(raw, is_durable=False)
    return connection


class FileLock:
    """An advisory lock on a file beside `path`, held from construction to `release`, and freed by any death.

    Raises Misconfigured when another process, or this one already, holds it.
    """

    def __init__(self, path: Path) -> None:
        lock_path = path.with_name(path.name + ".lock")
        try:
            self._descriptor = os.open(lock_path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise Misconfigured(f"TWOFOLD_DATA: {lock_path} cannot be opened ({error.strerror}); use another folder") from error
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            holder = os.read(self._descriptor, 20).decode(errors="replace").strip() or "unknown"
            os.close(self._descriptor)
            raise Misconfigured(f"TWOFOLD_DATA: process {holder} has {path} open; stop it, or use another folder") from error
        make_private(path)
        os.ftruncate(self._descriptor, 0)
        os.pwrite(self._descriptor, f"{os.getpid()}\n".encode(), 0)

    def release(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1
