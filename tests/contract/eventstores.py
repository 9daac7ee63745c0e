"""Event stores to test: one opener for each implementation, and decisions to append to them."""

from __future__ import annotations

import sqlite3
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import psycopg

from tests.servers.postgres import libpq
from twofold.database.postgres import LOG, connect
from twofold.database.sqlite_file import SqliteFile
from twofold.eventstore.migrate import PARTITION_POSITIONS, migrate
from twofold.eventstore.postgres import PostgresLog
from twofold.eventstore.sqlite import SqliteLog
from twofold.kernel.envelope import Envelope, fingerprint_of
from twofold.kernel.ids import new_command_id
from twofold.kernel.log import Decision, LastEvent, Meta, NewEvent, Recorded
from twofold.kernel.outcome import Status
from twofold.kernel.ports import Log
from twofold.testing.memory_log import MemoryLog

POOL_SIZE = 12
ACCEPTED_AT = datetime(2010, 12, 1, 8, 26, 0, 123456, tzinfo=UTC)


class SameViews:
    """Inline views that are always the same, and no work."""

    number = 0

    def folding_seconds(self) -> float:
        return 0.0

    def attach(self, connection: Any) -> None:
        """Nothing has changed."""


class Place(ABC):
    """A migrated database that outlives the stores opened on it."""

    @abstractmethod
    def open(self) -> Log:
        """A store; what was opened before is closed first."""

    @abstractmethod
    def close(self) -> None: ...

    @abstractmethod
    def need_inline_views(self, number: int) -> None:
        """Have every append fold the inline views of this number from now on."""

    @abstractmethod
    def lose_after(self, position: int) -> None:
        """What a failover does to a replica that had not got the rest: events and outcomes beyond this position are not there."""

    @abstractmethod
    def drop_snapshots(self) -> None:
        """As an operator may, at any time."""

    @abstractmethod
    def make_counted(self) -> None:
        """Make room for inline rows: (position, stream) of events."""

    @abstractmethod
    def count_in(self, connection: Any, position: int, stream: str) -> None:
        """Write one of them on the connection of an append in progress."""

    @abstractmethod
    def count_on(self, connection: Any) -> int:
        """How many of them this connection sees."""

    @abstractmethod
    def counted(self) -> list[tuple[Any, ...]]:
        """Those that are committed, by position."""


class SqlPlace(Place):
    lift_guard: tuple[str, ...]
    """What lets events be removed at all."""

    @abstractmethod
    def execute(self, statement: str) -> list[tuple[Any, ...]]:
        """Run SQL behind the store's back."""

    def need_inline_views(self, number: int) -> None:
        self.execute(f"UPDATE log_head SET inline_views = {number}")

    def lose_after(self, position: int) -> None:
        for statement in (*self.lift_guard, "DELETE FROM events WHERE position > {0}", "DELETE FROM inbox WHERE position > {0}"):
            self.execute(statement.format(position))
        self.execute(f"UPDATE log_head SET position = {position}")

    def drop_snapshots(self) -> None:
        self.execute("DELETE FROM snapshots")

    def make_counted(self) -> None:
        self.execute("CREATE TABLE counted (position bigint, stream text)")

    def count_in(self, connection: Any, position: int, stream: str) -> None:
        connection.execute(f"INSERT INTO counted VALUES ({position}, '{stream}')")

    def count_on(self, connection: Any) -> int:
        return int(connection.execute("SELECT count(*) FROM counted").fetchone()[0])

    def counted(self) -> list[tuple[Any, ...]]:
        return self.execute("SELECT position, stream FROM counted ORDER BY position")


class MemoryPlace(Place):
    def __init__(self) -> None:
        self.log = MemoryLog()

    def open(self) -> Log:
        return self.log

    def close(self) -> None:
        """Nothing is held open."""

    def need_inline_views(self, number: int) -> None:
        self.log.inline_views = number

    def lose_after(self, position: int) -> None:
        self.log.lose_after(position)

    def drop_snapshots(self) -> None:
        self.log.snapshots.clear()

    def make_counted(self) -> None:
        self.log.rows["counted"] = {}

    def count_in(self, connection: Any, position: int, stream: str) -> None:
        connection.rows["counted"][str(position)] = stream

    def count_on(self, connection: Any) -> int:
        return len(connection.rows["counted"])

    def counted(self) -> list[tuple[Any, ...]]:
        return [(int(position), stream) for position, stream in self.log.rows["counted"].items()]


class PostgresPlace(SqlPlace):
    lift_guard = ("ALTER TABLE events DISABLE TRIGGER ALL",)

    def __init__(self, url: str, partition_positions: int = PARTITION_POSITIONS) -> None:
        migrate(url, partition_positions)
        self.url = url
        self.engine = connect(url, POOL_SIZE, LOG)

    def open(self) -> Log:
        self.engine.dispose()
        return PostgresLog(self.engine)

    def close(self) -> None:
        self.engine.dispose()

    def execute(self, statement: str) -> list[tuple[Any, ...]]:
        with psycopg.connect(libpq(self.url), autocommit=True) as connection:
            cursor = connection.execute(statement)
            return cursor.fetchall() if cursor.description else []


class SqlitePlace(SqlPlace):
    lift_guard = ("DROP TRIGGER IF EXISTS events_are_not_removed",)

    def __init__(self, path: Path) -> None:
        migrate(f"sqlite:///{path}")
        self.path = path
        self.file: SqliteFile | None = None

    def open(self) -> Log:
        self.close()
        self.file = SqliteFile(self.path)
        return SqliteLog(self.file)

    def close(self) -> None:
        if self.file:
            self.file.close()
        self.file = None

    def execute(self, statement: str) -> list[tuple[Any, ...]]:
        if self.file:
            return self.file.write(lambda writer: writer.execute(statement).fetchall())
        with sqlite3.connect(self.path) as connection:
            return connection.execute(statement).fetchall()


@contextmanager
def place(kind: str, request: Any) -> Iterator[Place]:
    """A fresh place for one test; the fixtures it needs are asked for only where they are needed."""
    opened: Place
    if kind == "postgres":
        opened = PostgresPlace(request.getfixturevalue("postgres_url"))
    elif kind == "memory":
        opened = MemoryPlace()
    else:
        opened = SqlitePlace(request.getfixturevalue("tmp_path") / "log.db")
    try:
        yield opened
    finally:
        opened.close()


def envelope(stream: str = "order-1", command_id: str | None = None, attempt: int = 1, data: bytes = b'{"n":1}') -> Envelope:
    return Envelope(
        command_id=command_id or new_command_id(),
        type="PlaceOrder",
        stream=stream,
        data=msgspec.Raw(data),
        fingerprint=fingerprint_of("PlaceOrder", data),
        accepted_at=ACCEPTED_AT,
        attempt=attempt,
    )


def decided(
    sent: Envelope, version: int = 0, count: int = 0, status: Status | None = None, data: bytes = b'{"n":1}', **more: Any
) -> Decision:
    """A decision with `count` events, the last of which makes the stream's version `version`."""
    meta = Meta(sent.command_id, "anonymous")
    versions = range(version - count + 1, version + 1)
    events = tuple(NewEvent(sent.stream, each, "OrderPlaced", data, meta) for each in versions)
    return Decision(sent, status or ("succeeded" if count else "ignored"), version, events, **more)


def last_event(event: Recorded) -> LastEvent:
    """What somebody who has read it knows of its stream."""
    return LastEvent(event.version, event.meta.command_id, event.recorded_at, event.position)


def placed(stream: str, version: int = 1, count: int = 1, data: bytes = b'{"n":1}') -> Decision:
    """A fresh command that succeeded with `count` events."""
    return decided(envelope(stream), version, count, data=data)
