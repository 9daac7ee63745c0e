"""What a driver's error means: psycopg's, sqlite3's, or either in SQLAlchemy's wrapping.

a key that must be unique is taken    ──> Conflict
the data is at fault, or what we made ──> None: it stays what it is, and parks what it came from
anything else                         ──> Unavailable(neighbour, reason): the same may succeed later, on a new connection

What parks is listed, what is waited for is not: a command that is parked for an outage is worse than a lane that waits.
"""

from __future__ import annotations

import sqlite3

import psycopg
from sqlalchemy.exc import DBAPIError, InvalidRequestError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from twofold.kernel.errors import Conflict, Neighbour, Unavailable, WrongPassword

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

REFUSED = "statement refused"
"""The reason of every other: a plan that no longer fits its table, what another session had prepared, a table or a right that
is missing, a bug of the server. None of it is the data's fault."""

DATA_SQLSTATES = ("22", "23", "54")
"""Classes: a value that cannot be one, a constraint that refuses it, and what is too large for a row, an index or a parser."""

UNHARMED_SQLSTATES = ("22", "23", "21", "40", "54", "55P03", "57014")
"""After any other error a connection is given up: whatever the server knows of it may be what is wrong."""

OVERLOAD_SQLSTATES = ("53200", "53300", "53400")
"""Memory, connections, a configured limit; not the disk: a full one is not relieved by fewer commands."""

TAKEN_SQLSTATES = ("23505", "21000")
"""Unique violation; and the same key twice in one statement, which ON CONFLICT refuses."""

CHECK_SQLSTATE = "23514"
"""A check that has no name is that a row has a partition: it is not the data's fault that there is none."""
WRONG_PASSWORD = "28P01"
WRONG_PASSWORD_TEXTS = ("password authentication failed", "SASL authentication failed", "no password supplied")
"""A connection that was never opened has no SQLSTATE, only a text: PostgreSQL's, PgBouncer's and libpq's, in English. What a
server says in another language is told as it is, as no connection."""
PASSWORD_SETTINGS = {
    Neighbour.LOG: "TWOFOLD_DATABASE_URL",
    Neighbour.ROWS: "TWOFOLD_READ_DATABASE_URL, or else TWOFOLD_DATABASE_URL",
}

DATA_SQLITE = (sqlite3.SQLITE_CONSTRAINT, sqlite3.SQLITE_TOOBIG, sqlite3.SQLITE_MISMATCH, sqlite3.SQLITE_RANGE)

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
    if isinstance(error, InvalidRequestError):
        return _lost(error, neighbour)
    if isinstance(error, DBAPIError):
        ours = as_ours(error.orig, neighbour)
        return _lost(error.orig, neighbour) if ours is None and error.connection_invalidated else ours
    if isinstance(error, psycopg.Error):
        return _of_postgres(error, neighbour)
    return _of_sqlite(error, neighbour) if isinstance(error, sqlite3.Error) else None


def is_unharmed(error: BaseException) -> bool:
    """Whether the connection that raised this is as good as before. Whoever raised it may be any driver's, or nobody's."""
    return not isinstance(error, psycopg.Error) or (error.sqlstate or "22").startswith(UNHARMED_SQLSTATES)


def _of_postgres(error: psycopg.Error, neighbour: Neighbour) -> Unavailable | Conflict | None:
    code = error.sqlstate
    if code is None:
        is_ours = isinstance(error, psycopg.DataError | psycopg.ProgrammingError)  # found before anything was sent
        return None if is_ours else _lost(error, neighbour)
    if code == CHECK_SQLSTATE and error.diag.constraint_name is None:
        return Unavailable(neighbour, "no partition", detail=f"for the new rows of {error.diag.table_name}")
    if code == WRONG_PASSWORD:
        return WrongPassword(neighbour, PASSWORD_SETTINGS[neighbour])
    if code in TAKEN_SQLSTATES:
        return Conflict(error.diag.constraint_name or code)
    if code.startswith(DATA_SQLSTATES):
        return None
    reason = next((reason for begin, reason in TRANSIENT_SQLSTATES.items() if code.startswith(begin)), REFUSED)
    return Unavailable(neighbour, reason, detail=code, is_overload=code in OVERLOAD_SQLSTATES)


def _lost(error: BaseException | None, neighbour: Neighbour) -> Unavailable:
    """What the driver says of it, which names host and port, is for people only."""
    if any(text in str(error) for text in WRONG_PASSWORD_TEXTS):
        return WrongPassword(neighbour, PASSWORD_SETTINGS[neighbour])
    return Unavailable(neighbour, "no connection", detail=str(error).partition("\n")[0])


def _of_sqlite(error: sqlite3.Error, neighbour: Neighbour) -> Unavailable | Conflict | None:
    code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_OK)  # absent from misuse that the module itself finds
    if code == sqlite3.SQLITE_CONSTRAINT_UNIQUE:
        return Conflict(str(error))
    if code & PRIMARY_CODE in (sqlite3.SQLITE_OK, *DATA_SQLITE):
        return None
    reason = TRANSIENT_SQLITE.get(code & PRIMARY_CODE, REFUSED)
    return Unavailable(neighbour, reason, detail=error.sqlite_errorname)
