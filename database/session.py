"""One transaction's way to run SQL: the same through an engine as on the raw connection of an append in progress, and what goes
wrong in our words."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Protocol

from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError, InvalidRequestError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from twofold.database.errors import as_ours
from twofold.kernel.errors import Neighbour, Unavailable

Values = Sequence[Any]


class Session(Protocol):
    """Runs statements in one transaction that somebody else begins and ends."""

    def rows(self, sql: str, values: Values = ()) -> list[Any]:
        """The rows that a statement returns."""

    def count(self, sql: str, values: Values = ()) -> int:
        """How many rows a statement changed."""

    def each(self, sql: str, many: Sequence[Values]) -> None:
        """Run a statement once for each of these values; not at all when there are none."""

    def run(self, sql: str) -> None:
        """Run a statement without values."""


class EngineSession:
    """Through SQLAlchemy, which replaces broken connections."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def rows(self, sql: str, values: Values = ()) -> list[Any]:
        return list(self._connection.exec_driver_sql(sql, tuple(values)).fetchall())

    def count(self, sql: str, values: Values = ()) -> int:
        return self._connection.exec_driver_sql(sql, tuple(values)).rowcount

    def each(self, sql: str, many: Sequence[Values]) -> None:
        if many:
            self._connection.exec_driver_sql(sql, [tuple(values) for values in many])

    def run(self, sql: str) -> None:
        self._connection.exec_driver_sql(sql)


class RawSession:
    """On a psycopg or sqlite3 connection."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection

    def rows(self, sql: str, values: Values = ()) -> list[Any]:
        return list(self._connection.execute(sql, values).fetchall())

    def count(self, sql: str, values: Values = ()) -> int:
        return int(self._connection.execute(sql, values).rowcount)

    def each(self, sql: str, many: Sequence[Values]) -> None:
        if many:
            self._connection.cursor().executemany(sql, many)

    def run(self, sql: str) -> None:
        self._connection.execute(sql)


@contextmanager
def in_our_words(neighbour: Neighbour) -> Iterator[None]:
    """Raises Unavailable(neighbour) in a driver's stead. A key that is taken stays the driver's error."""
    try:
        yield
    except (DBAPIError, InvalidRequestError, PoolTimeout) as error:
        if isinstance(ours := as_ours(error, neighbour), Unavailable):
            raise ours from error
        raise
