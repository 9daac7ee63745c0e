"""View stores to test: one opener for each implementation, and a small domain whose rows use every kind of column."""

from __future__ import annotations

import uuid
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast

import msgspec
import psycopg
import pytest
import redis
from sqlalchemy import Engine

from tests.servers import Servers
from tests.servers.postgres import libpq
from twofold.kernel.ids import slice_of
from twofold.kernel.messages import Event
from twofold.kernel.ports import ViewStore
from twofold.kernel.rows import Advance, Generation, Row
from twofold.kernel.view import About, AnyView, SliceId, View
from twofold.readmodels.stores.redis import RedisViewStore
from twofold.readmodels.stores.search.http import SearchClient
from twofold.readmodels.stores.search.indexes import Indexes
from twofold.readmodels.stores.search.store import SearchViewStore
from twofold.readmodels.stores.sql import SqlViewStore, connect
from twofold.testing.memory_rebuilds import Kept
from twofold.testing.memory_rows import MemoryViewStore

NOON = datetime(2010, 12, 1, 12, 0, 0, 123456, tzinfo=UTC)
POOL_SIZE = 4


class Counted(Event, frozen=True):
    keys: tuple[str, ...]
    amount: int


class Part(msgspec.Struct, frozen=True):
    sku: str
    price: int


class Everything(msgspec.Struct, frozen=True):
    name: str
    count: int = 0
    ratio: float = 0.5
    is_open: bool = False
    seen_at: datetime | None = None
    colour: str | None = None
    parts: tuple[Part, ...] = ()
    numbers: dict[str, int] = {}


def counted_keys(event: Counted, about: About) -> tuple[str, ...]:
    return event.keys


def evolve_everything(row: Everything | None, event: Counted, about: About) -> Everything:
    row = row or Everything(about.key)
    return msgspec.structs.replace(row, count=row.count + event.amount, seen_at=about.recorded_at)


EVERYTHING = View(
    name="everything",
    key="name",
    row=Everything,
    on=(Counted,),
    keys=counted_keys,
    evolve=evolve_everything,
    indexes=("colour", "is_open"),
    orders=("count", "ratio", "seen_at"),
)


class Place(ABC):
    """Where rows are kept; it outlives the stores opened on it."""

    @abstractmethod
    def open(self) -> ViewStore:
        """Another store on the same rows, as another process has it."""

    @abstractmethod
    def empty(self) -> None:
        """Take everything away, as a flush or a lost disk does."""

    @abstractmethod
    def plant_building(self, view: AnyView, number: int) -> None:
        """A generation of this view, being built, with nothing in it."""

    @abstractmethod
    def break_rows(self, view: AnyView) -> None:
        """Let every write of this view's first generation fail."""

    @abstractmethod
    def let_time_pass(self, seconds: float) -> None:
        """Everything that was noted about who uses which generation was noted so long ago."""

    @abstractmethod
    def close(self) -> None: ...


class SqlPlace(Place):
    """On SQLite one process has one store: it is the same each time."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._engines: list[Engine] = []
        self._only: SqlViewStore | None = None

    def open(self) -> ViewStore:
        if self._only is not None:
            return self._only
        engine = connect(self._url, POOL_SIZE)
        self._engines.append(engine)
        store = SqlViewStore(engine)
        self._only = store if engine.dialect.name == "sqlite" else None
        return store

    def empty(self) -> None:
        engine = connect(self._url, 1)
        prefix = "" if engine.dialect.name == "sqlite" else "read."
        with engine.begin() as connection:
            if not prefix:
                connection.exec_driver_sql("PRAGMA query_only=OFF")
            tables = connection.exec_driver_sql(f"SELECT view, generation FROM {prefix}generations").fetchall()
            for view, generation in tables:
                connection.exec_driver_sql(f'DELETE FROM {prefix}"{view}__g{generation}"')
            connection.exec_driver_sql(f"UPDATE {prefix}checkpoints SET position = 0")
            connection.exec_driver_sql(f"DELETE FROM {prefix}parked_keys")
            connection.exec_driver_sql(f"DELETE FROM {prefix}parked_positions")
        engine.dispose()

    def plant_building(self, view: AnyView, number: int) -> None:
        self._run(f"INSERT INTO {{}}generations SELECT view, {number}, slices, shape, 'building' FROM {{}}generations")
        self._run(f'CREATE TABLE {{}}"{view.name}__g{number}" AS SELECT * FROM {{}}"{view.name}__g1" WHERE 1 = 0')

    def keep_checkpoints_as(self, release: str) -> None:
        """A row for each slice: of release 0.1.0 without marks, of those between it and 0.2 with them."""
        if "sqlite" in self._url:
            self._run("ALTER TABLE checkpoints DROP COLUMN mark")
            return
        columns = "view, generation, slice, position" + ("" if release == "0.1.0" else ", mark")
        with psycopg.connect(libpq(self._url)) as connection:
            connection.execute(
                f"CREATE TABLE read.kept WITH (fillfactor = 50) AS SELECT {columns} FROM read.checkpoints".encode()
            )
            connection.execute("DROP VIEW read.checkpoints; DROP FUNCTION read.write_checkpoint; DROP TABLE read.standings")
            connection.execute("ALTER TABLE read.kept RENAME TO checkpoints")
            connection.execute("ALTER TABLE read.checkpoints ADD PRIMARY KEY (view, generation, slice)")

    def break_rows(self, view: AnyView) -> None:
        self._run(f'DROP TABLE {{}}"{view.name}__g1"')

    def let_time_pass(self, seconds: float) -> None:
        self._run(f"UPDATE {{}}generation_users SET until = until - {seconds}")

    def _run(self, statement: str) -> None:
        engine = connect(self._url, 1)
        prefix = "" if engine.dialect.name == "sqlite" else "read."
        with engine.begin() as connection:
            if not prefix:
                connection.exec_driver_sql("PRAGMA query_only=OFF")
            connection.exec_driver_sql(statement.replace("{}", prefix))
        engine.dispose()

    def close(self) -> None:
        for engine in self._engines:
            engine.dispose()
        if "postgresql" in self._url:
            with psycopg.connect(libpq(self._url), autocommit=True) as connection:
                connection.execute("DROP SCHEMA IF EXISTS read CASCADE")


class SearchPlace(SqlPlace):
    """Rows in OpenSearch, the rest in SQL."""

    def __init__(self, url: str, search_url: str, prefix: str) -> None:
        super().__init__(url)
        self.client = SearchClient(search_url)
        self.prefix = prefix
        self._store: ViewStore | None = None

    def open(self) -> ViewStore:
        if self._store is None or self._only is None:
            self._store = SearchViewStore(cast(SqlViewStore, super().open()), Indexes(self.client, self.prefix))
        return self._store

    def empty(self) -> None:
        for name in self._indexes():
            self.client.ask("DELETE", f"/{name}")

    def close(self) -> None:
        self.empty()
        self.client.close()
        super().close()

    def _indexes(self) -> list[str]:
        return list(self.client.ask("GET", f"/{self.prefix}-*?filter_path=*.aliases"))


class RedisPlace(Place):
    def __init__(self, url: str, prefix: str) -> None:
        self._client = redis.Redis.from_url(url)
        self._prefix = prefix

    def open(self) -> ViewStore:
        return RedisViewStore(self._client, self._prefix)

    def empty(self) -> None:
        for key in self._client.scan_iter(f"{{{self._prefix}:*"):
            self._client.delete(key)

    def plant_building(self, view: AnyView, number: int) -> None:
        named = f"{{{self._prefix}:{view.name}}}"
        [record] = self._client.hvals(f"{named}:generations")
        self._client.hset(f"{named}:generations", str(number), record)
        self._client.hset(f"{named}:states", str(number), "building")

    def break_rows(self, view: AnyView) -> None:
        self._client.set(f"{{{self._prefix}:{view.name}}}:g1:by:0", "not a sorted set")

    def let_time_pass(self, seconds: float) -> None:
        for users in self._client.scan_iter(f"{{{self._prefix}:*:users"):
            for name in self._client.hkeys(users):
                self._client.hincrbyfloat(users, name, -seconds)

    def close(self) -> None:
        self.empty()
        self._client.close()


@pytest.fixture(scope="module")
def rows_url(servers: Servers) -> Iterator[str]:
    """A PostgreSQL database for the tests of one module, which leave it empty: making one takes as long as ten tests."""
    name = f"twofold_rows_{uuid.uuid4().hex[:12]}"
    with psycopg.connect(libpq(servers.postgres_url), autocommit=True) as admin:
        admin.execute(f'CREATE DATABASE "{name}"')
    yield servers.postgres_url.rpartition("/")[0] + "/" + name
    with psycopg.connect(libpq(servers.postgres_url), autocommit=True) as admin:
        admin.execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')


class FrozenRows(dict[str, Row]):
    """Takes nothing."""

    def __setitem__(self, key: str, row: Row) -> None:
        raise RuntimeError("these rows take nothing")


class MemoryPlace(Place):
    """One process has one store."""

    def __init__(self) -> None:
        self._only = MemoryViewStore()

    def open(self) -> ViewStore:
        return self._only

    def empty(self) -> None:
        for build in [build for builds in self._only.kept.values() for build in builds]:
            build.rows.clear()
            build.positions.update(dict.fromkeys(build.positions, 0))

    def plant_building(self, view: AnyView, number: int) -> None:
        [build] = self._only.kept[view.name]
        generation = msgspec.structs.replace(build.generation, number=number, state="building")
        self._only.kept[view.name].append(Kept(view, generation, build.shape, {}, {}))

    def break_rows(self, view: AnyView) -> None:
        [build] = self._only.kept[view.name]
        build.rows = FrozenRows()

    def let_time_pass(self, seconds: float) -> None:
        """Nothing is noted."""

    def close(self) -> None:
        pass


KINDS = ("sqlite", "postgres", "redis", "memory", "opensearch")
SEARCHED_KINDS = ("sqlite", "postgres", "memory", "opensearch", "opensearch beside sqlite")
"""Where views are kept that are searched."""


@contextmanager
def place(kind: str, request: Any) -> Iterator[Place]:
    """A fresh place for one test; the fixtures it needs are asked for only where they are needed."""
    opened: Place
    folder: Path
    if kind == "postgres":
        opened = SqlPlace(request.getfixturevalue("rows_url"))
    elif kind == "memory":
        opened = MemoryPlace()
    elif kind.startswith("opensearch"):
        folder = request.getfixturevalue("tmp_path")
        ledger = f"sqlite:///{folder / 'views.db'}" if "sqlite" in kind else request.getfixturevalue("rows_url")
        opened = SearchPlace(ledger, request.getfixturevalue("search_url"), request.getfixturevalue("unique"))
    elif kind == "redis":
        opened = RedisPlace(request.getfixturevalue("redis_url"), request.getfixturevalue("unique"))
    else:
        folder = request.getfixturevalue("tmp_path")
        opened = SqlPlace(f"sqlite:///{folder / 'views.db'}")
    try:
        yield opened
    finally:
        opened.close()


def put(store: ViewStore, generation: Generation, rows: Mapping[str, msgspec.Struct | None], position: int) -> None:
    """Take every slice to this position, with these rows. Fails unless all of them moved."""
    at = store.positions(generation.view)
    advances = [
        Advance(
            slice=slice_id,
            expected=at[slice_id],
            position=position,
            rows={
                key: None if value is None else Row(key, value, position)
                for key, value in rows.items()
                if slice_of(key, generation.slices) == slice_id.slice
            },
        )
        for slice_id in generation.slice_ids()
    ]
    assert store.commit(advances) == set(generation.slice_ids())


def slice_with(generation: Generation, key: str) -> SliceId:
    return generation.slice_ids()[slice_of(key, generation.slices)]
