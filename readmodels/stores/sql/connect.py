"""Opens engines for views: on PostgreSQL with the limits that rows have, on SQLite to read only."""

from __future__ import annotations

from sqlalchemy import Engine

from twofold.database import postgres, sqlite
from twofold.database.session import in_our_words
from twofold.database.urls import normalise_url, sqlite_path
from twofold.kernel.errors import Neighbour


def connect(url: str, pool_size: int) -> Engine:
    """An engine for `sqlite:///path` or `postgresql://…`. Nothing is opened yet. Call it after fork only. Raises Misconfigured.

    At most `pool_size` operations run at a time; one more waits, bounded, and then raises Unavailable.
    """
    url = normalise_url(url, postgres.ROWS.variable)
    return sqlite.connect(url, pool_size) if sqlite_path(url) else postgres.connect(url, pool_size, postgres.ROWS)


def ask(url: str) -> None:
    """Whether it lets us in. Raises Unavailable, WrongPassword and Misconfigured."""
    engine = connect(url, 1)
    try:
        with in_our_words(Neighbour.ROWS), engine.connect():
            return
    finally:
        engine.dispose()
