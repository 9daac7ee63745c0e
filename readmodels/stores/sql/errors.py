"""What a database says, in the words of the house: Unavailable where waiting helps; anything else is a bug or poisoned data."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from sqlalchemy.exc import DBAPIError, TimeoutError

from twofold.kernel.errors import Neighbour, Unavailable

PASSING_SQLSTATES = ("08", "40", "53", "57", "55P03", "25P03", "58")
"""Connection, rollback (deadlock, serialization), resources, operator intervention, lock not available, idle too long, system."""

PASSING_SQLITE = {
    sqlite3.SQLITE_BUSY,
    sqlite3.SQLITE_LOCKED,
    sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_FULL,
    sqlite3.SQLITE_CANTOPEN,
    sqlite3.SQLITE_NOMEM,
    sqlite3.SQLITE_INTERRUPT,
    sqlite3.SQLITE_READONLY,
    sqlite3.SQLITE_PROTOCOL,
}


@contextmanager
def in_our_words(neighbour: Neighbour) -> Iterator[None]:
    """Raises Unavailable(neighbour) for a database that did not answer or asks to try again."""
    try:
        yield
    except TimeoutError as error:
        raise Unavailable(neighbour) from error
    except DBAPIError as error:
        if error.connection_invalidated or will_pass(error.orig):
            raise Unavailable(neighbour) from error
        raise


def will_pass(error: Any) -> bool:
    """Whether the same statement may succeed later."""
    if isinstance(error, sqlite3.Error):
        return (getattr(error, "sqlite_errorcode", 0) & 0xFF) in PASSING_SQLITE
    sqlstate = getattr(error, "sqlstate", None)
    if sqlstate is None:
        return type(error).__name__ in ("OperationalError", "InterfaceError", "ConnectionTimeout")
    return str(sqlstate).startswith(PASSING_SQLSTATES)
