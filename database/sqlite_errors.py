"""What SQLite says, in the words of the house."""

from __future__ import annotations

import sqlite3

from twofold.kernel.errors import Conflict, Neighbour, Unavailable

_ANSWERED_NOT = {
    sqlite3.SQLITE_BUSY,
    sqlite3.SQLITE_LOCKED,
    sqlite3.SQLITE_NOMEM,
    sqlite3.SQLITE_READONLY,
    sqlite3.SQLITE_INTERRUPT,
    sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_FULL,
    sqlite3.SQLITE_CANTOPEN,
    sqlite3.SQLITE_PROTOCOL,
}
"""Result codes after which the same may succeed: somebody is in the way, or the disk is."""


def as_ours(error: sqlite3.Error, name: str, neighbour: Neighbour = Neighbour.LOG) -> Exception:
    """Unavailable or Conflict; the error itself when it is neither: wrong data, or a bug. `name` is the file's."""
    code = getattr(error, "sqlite_errorcode", None)
    if code is None:
        return error
    if code == sqlite3.SQLITE_CONSTRAINT_UNIQUE:
        return Conflict(str(error))
    return (
        Unavailable(neighbour, "cannot be used now", detail=f"{name}: {error.sqlite_errorname}")
        if code & 0xFF in _ANSWERED_NOT
        else error
    )
