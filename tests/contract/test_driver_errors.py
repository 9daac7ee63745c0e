"""Errors as real servers raise them, where log and rows meet them: through a borrowed connection, and through an engine."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import psycopg
import pytest
import redis
from sqlalchemy import Engine

from tests.servers import Servers
from tests.servers.postgres import libpq
from tests.unit.test_driver_errors import OURS, OVERLOADED, SQLSTATES
from twofold.database import sqlite
from twofold.database.postgres import LOG, ROWS, Profile, borrowed, connect, transaction
from twofold.database.session import in_our_words
from twofold.database.sqlite_file import SqliteFile
from twofold.kernel.errors import Conflict, Neighbour, Unavailable
from twofold.readmodels.stores.redis.connect import client_of
from twofold.readmodels.stores.redis.errors import in_our_words as redis_in_our_words

Run = Callable[[str], Any]


@pytest.fixture(scope="module")
def engines(servers: Servers) -> Iterator[dict[str, Engine]]:
    engines = {name: connect(servers.postgres_url, 2, profile) for name, (profile, _) in SIDES.items()}
    yield engines
    for engine in engines.values():
        engine.dispose()


def on_log(engine: Engine, statement: str) -> None:
    with borrowed(engine) as connection:
        connection.execute(statement)


def on_rows(engine: Engine, statement: str) -> None:
    with in_our_words(Neighbour.ROWS), transaction(engine) as connection:
        connection.exec_driver_sql(statement)


def on_commits(engine: Engine, statement: str) -> None:
    with borrowed(engine, Neighbour.ROWS) as connection, connection.pipeline():
        for each in ("BEGIN", statement, "COMMIT"):
            connection.execute(each)


SIDES = {"log": (LOG, on_log), "rows": (ROWS, on_rows), "commits": (ROWS, on_commits)}


@pytest.mark.parametrize("side", SIDES)
@pytest.mark.parametrize(("sqlstate", "expected"), SQLSTATES.items())
def test_each_sqlstate_as_the_server_raises_it(
    engines: dict[str, Engine], sqlstate: str, expected: str | None, side: str
) -> None:
    """The driver, its wrapping and the pool between us and the server must not change what an error means."""
    _, run = SIDES[side]
    with pytest.raises(Exception) as caught:
        run(engines[side], f"DO $$ BEGIN RAISE EXCEPTION 'planted' USING ERRCODE = '{sqlstate}'; END $$")
    if expected is OURS or (expected == "conflict" and side == "rows"):
        assert not isinstance(caught.value, Unavailable | Conflict)
    elif expected == "conflict":
        assert isinstance(caught.value, Conflict)
    else:
        assert isinstance(caught.value, Unavailable)
        assert caught.value.reason == expected
        assert caught.value.detail.endswith("its user or password is refused" if expected == "wrong password" else sqlstate)
        assert caught.value.is_overload == (sqlstate in OVERLOADED)
        assert caught.value.neighbour == (Neighbour.LOG if side == "log" else Neighbour.ROWS)


@pytest.mark.parametrize("side", SIDES)
def test_limits_hold_and_are_unavailable(servers: Servers, side: str) -> None:
    """No wait without an end: a statement, a lock, a transaction that nobody goes on with, a free connection."""
    profile, run = SIDES[side]
    hasty = replace(profile, statement_timeout_ms=100, lock_timeout_ms=50, idle_in_transaction_timeout_ms=100)
    engine = connect(servers.postgres_url, 1, hasty)
    try:
        with pytest.raises(Unavailable, match="statement timed out"):
            run(engine, "SELECT pg_sleep(5)")
        with psycopg.connect(libpq(servers.postgres_url)) as holder:
            holder.execute("SELECT pg_advisory_xact_lock(4711)")
            with pytest.raises(Unavailable, match="lock not available"):
                run(engine, "SELECT pg_advisory_xact_lock(4711)")
        with pytest.raises(Unavailable, match="idle in transaction"):
            idle(engine, profile)
        run(engine, "SELECT 1")
    finally:
        engine.dispose()


def idle(engine: Engine, profile: Profile) -> None:
    if profile.is_borrowed:
        with borrowed(engine) as connection:
            connection.execute("BEGIN")
            threading.Event().wait(0.4)
            connection.execute("SELECT 1")
    else:
        with in_our_words(Neighbour.ROWS), transaction(engine) as connection:
            connection.exec_driver_sql("SELECT 1")
            threading.Event().wait(0.4)
            connection.exec_driver_sql("SELECT 1")


@pytest.mark.parametrize("side", SIDES)
def test_no_free_connection_is_overload(servers: Servers, side: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The server may be idle: it is we who ask for more than we allow ourselves."""
    monkeypatch.setattr("twofold.database.postgres.POOL_WAIT_SECONDS", 0.1)
    profile, run = SIDES[side]
    engine = connect(servers.postgres_url, 1, profile)
    with engine.connect(), pytest.raises(Unavailable, match="no free connection") as caught:
        run(engine, "SELECT 1")
    assert caught.value.is_overload
    engine.dispose()


def test_a_deadlock_passes(postgres_url: str) -> None:
    """One of the two is rolled back, and may come again."""
    engine = connect(postgres_url, 2, ROWS)
    on_rows(engine, "CREATE TABLE pair (name text PRIMARY KEY)")
    on_rows(engine, "INSERT INTO pair VALUES ('a'), ('b')")
    met = threading.Barrier(2)

    def cross(names: str) -> str:
        try:
            with in_our_words(Neighbour.ROWS), transaction(engine) as connection:
                for number, name in enumerate(names):
                    connection.exec_driver_sql(f"SELECT * FROM pair WHERE name = '{name}' FOR UPDATE")
                    if number == 0:
                        met.wait(10)
        except Unavailable as error:
            return error.detail
        return "done"

    with ThreadPoolExecutor(2) as pool:
        assert sorted(pool.map(cross, ("ab", "ba"))) == ["40P01", "done"]
    engine.dispose()


@pytest.mark.parametrize("side", SIDES)
def test_a_server_that_only_reads_is_unavailable(postgres_url: str, side: str) -> None:
    """A standby becomes a primary."""
    profile, run = SIDES[side]
    with psycopg.connect(libpq(postgres_url), autocommit=True) as admin:
        admin.execute(f'ALTER DATABASE "{admin.info.dbname}" SET default_transaction_read_only = on')
    engine = connect(postgres_url, 1, profile)
    with pytest.raises(Unavailable, match="25006"):
        run(engine, "CREATE TABLE pair (name text)")
    engine.dispose()


@pytest.mark.parametrize("side", SIDES)
def test_a_database_that_is_not_there_or_full_is_unavailable(servers: Servers, side: str, unique: str) -> None:
    """Found while connecting, where the driver tells nothing but a text."""
    profile, run = SIDES[side]
    with psycopg.connect(libpq(servers.postgres_url), autocommit=True) as admin:
        admin.execute(f"CREATE ROLE {unique} LOGIN CONNECTION LIMIT 0")
    before, _, after = servers.postgres_url.partition("twofold@")
    for url, why in ((f"{before}{unique}@{after}", "too many connections"), (f"{servers.postgres_url}_none", "does not exist")):
        engine = connect(url, 1, profile)
        with pytest.raises(Unavailable, match=why) as caught:
            run(engine, "SELECT 1")
        assert caught.value.reason == "no connection"
        engine.dispose()
    with psycopg.connect(libpq(servers.postgres_url), autocommit=True) as admin:
        admin.execute(f"DROP ROLE {unique}")


def test_a_locked_and_a_missing_sqlite_file_are_unavailable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Somebody else's tool may hold the file of rows, or its folder may be gone."""
    monkeypatch.setattr(sqlite, "ROWS_BUSY_SECONDS", 0.1)
    first, second = (sqlite.connect(f"sqlite:///{tmp_path / 'rows.db'}", 1) for _ in range(2))
    one, other = sqlite.writer(first), sqlite.writer(second)
    with one.begin():
        with pytest.raises(Unavailable, match="locked") as caught, in_our_words(Neighbour.ROWS), other.begin():
            pass
        assert caught.value.neighbour == "rows"
    with pytest.raises(Unavailable, match="read only"), in_our_words(Neighbour.ROWS), first.begin() as reader:
        reader.exec_driver_sql("CREATE TABLE t (n)")
    lost = sqlite.connect(f"sqlite:///{tmp_path / 'no such folder' / 'rows.db'}", 1)
    with pytest.raises(Unavailable, match="system error"), in_our_words(Neighbour.ROWS), lost.connect():
        pass
    for engine in (first, second, lost):
        engine.dispose()
    one.close()
    other.close()


def test_what_a_job_on_the_logs_file_raises(tmp_path: Path) -> None:
    """A taken key is a conflict, data that no column holds stays what it is, and a table that is missing is waited for."""
    file = SqliteFile(tmp_path / "log.db")
    file.write(lambda writer: writer.execute("CREATE TABLE t (n UNIQUE)").close())
    file.write(lambda writer: writer.execute("INSERT INTO t VALUES (1)").close())
    with pytest.raises(Conflict):
        file.write(lambda writer: writer.execute("INSERT INTO t VALUES (1)").close())
    with pytest.raises(sqlite3.IntegrityError, match="datatype mismatch"):
        file.write(lambda writer: writer.execute("INSERT INTO t (rowid, n) VALUES ('x', 2)").close())
    with pytest.raises(Unavailable, match="statement refused"):
        file.fetch("SELECT * FROM elsewhere")
    file.close()


def test_replies_of_a_redis_that_lacks_something(servers: Servers) -> None:
    """A full memory, a replica, a primary that is gone: each is waited out."""
    with servers.private_redis() as server, client_of(server.url) as client:
        client.config_set("maxmemory", "1")
        with pytest.raises(Unavailable, match="out of resources"), redis_in_our_words():
            client.set("a", "b")
        with pytest.raises(Unavailable, match="out of resources"), redis_in_our_words():
            client.eval("return redis.call('SET', KEYS[1], 'b')", 1, "a")
        client.config_set("maxmemory", "0")
        client.set("a", "b")
        client.replicaof("127.0.0.1", "1")
        with pytest.raises(Unavailable, match="read only"), redis_in_our_words():
            client.set("a", "c")
        client.config_set("replica-serve-stale-data", "no")
        with pytest.raises(Unavailable, match="no primary"), redis_in_our_words():
            client.get("a")
        client.config_set("replica-serve-stale-data", "yes")
        with pytest.raises(Unavailable, match="refused"), redis_in_our_words():
            client.lrange("a", 0, 1)
        with pytest.raises(redis.ResponseError, match="wrong number of arguments"), redis_in_our_words():
            client.execute_command("GET")
        server.kill()
        with pytest.raises(Unavailable, match="no connection"), redis_in_our_words():
            client.get("a")
