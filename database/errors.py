"""What a driver's error means: psycopg's, sqlite3's, or either in SQLAlchemy's wrapping.

the same may succeed later            ──> Unavailable(neighbour, reason)
a key that must be unique is taken    ──> Conflict
anything else                         ──> None: wrong data, or a bug; it stays what it is, and is loud
"""

from __future__ import annotations

import sqlite3

import psycopg
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from twofold.kernel.errors import Conflict, Neighbour, Unavailable

TRANSIENT_SQLSTATES = {
    "08": "no connection",
    "25006": "read only",  # a standby, or a server that runs out of transaction ids
    "25P03": "idle in transaction",
    "40": "rolled back",  # deadlock, serialization
    "53": "out of resources",
    "55P03": "lock not available",
    "57014": "statement timed out",
    "57": "shut down",
    "58": "system error",
}
"""Reasons by SQLSTATE or its class, the special before the general. https://www.postgresql.org/docs/current/errcodes-appendix.html"""

OVERLOAD_SQLSTATES = ("53200", "53300", "53400")
"""Memory, connections, a configured limit; not the disk: a full one is not relieved by fewer commands."""

TAKEN_SQLSTATES = ("23505", "21000")
"""Unique violation; and the same key twice in one statement, which ON CONFLICT refuses."""

TRANSIENT_SQLITE = {
    sqlite3.SQLITE_BUSY: "locked",
    sqlite3.SQLITE_LOCKED: "locked",
    sqlite3.SQLITE_NOMEM: "out of resources",
    sqlite3.SQLITE_READONLY: "read only",
    sqlite3.SQLITE_INTERRUPT: "interrupted",
    sqlite3.SQLITE_IOERR: "system error",
    sqlite3.SQLITE_FULL: "out of resources",
    sqlite3.SQLITE_CANTOPEN: "system error",
    sqlite3.SQLITE_PROTOCOL: "locked",
}
"""Reasons by primary result code: somebody is in the way, or the disk is. https://www.sqlite.org/rescode.html"""

PRIMARY_CODE = 0xFF
"""The bits of an SQLite result code that are its primary code."""


def as_ours(error: BaseException | None, neighbour: Neighbour) -> Unavailable | Conflict | None:
    """Unavailable or Conflict, to be raised from `error`; None when it is neither, and is to be left as it is."""
    if isinstance(error, PoolTimeout):
        return Unavailable(neighbour, "no free connection", is_overload=True)
    if isinstance(error, DBAPIError):
        ours = as_ours(error.orig, neighbour)
        return _lost(error.orig, neighbour) if ours is None and error.connection_invalidated else ours
    if isinstance(error, psycopg.Error):
        return _of_postgres(error, neighbour)
    return _of_sqlite(error, neighbour) if isinstance(error, sqlite3.Error) else None


def _of_postgres(error: psycopg.Error, neighbour: Neighbour) -> Unavailable | Conflict | None:
    code = error.sqlstate
    if code is None:
        is_lost = isinstance(error, psycopg.OperationalError | psycopg.InterfaceError)
        return _lost(error, neighbour) if is_lost else None
    if code in TAKEN_SQLSTATES:
        return Conflict(error.diag.constraint_name or code)
    reason = next((reason for begin, reason in TRANSIENT_SQLSTATES.items() if code.startswith(begin)), None)
    return Unavailable(neighbour, reason, detail=code, is_overload=code in OVERLOAD_SQLSTATES) if reason else None


def _lost(error: BaseException | None, neighbour: Neighbour) -> Unavailable:
    """What the driver says of it, which names host and port, is for people only."""
    return Unavailable(neighbour, "no connection", detail=str(error).partition("\n")[0])


def _of_sqlite(error: sqlite3.Error, neighbour: Neighbour) -> Unavailable | Conflict | None:
    code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_OK)  # absent from misuse that the module itself finds
    if code == sqlite3.SQLITE_CONSTRAINT_UNIQUE:
        return Conflict(str(error))
    reason = TRANSIENT_SQLITE.get(code & PRIMARY_CODE)
    return Unavailable(neighbour, reason, detail=error.sqlite_errorname) if reason else None
