"""The database is lost, and what there is instead has not got the last commits: a backup, or a replica that takes over.

What it had not got is gone, and nothing else: docs/operate.md says what to type, and this is what it types.
"""

from __future__ import annotations

import asyncio
import sqlite3
import subprocess
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from random import Random
from threading import Thread

import psycopg
import pytest
import redis

from tests.chaos.checker import shown
from tests.chaos.client import Load
from tests.chaos.embedded import Embedded
from tests.chaos.record import Record
from tests.chaos.rooms import wait_until
from tests.chaos.served import Backends, Plan, Served
from tests.servers import Servers
from tests.servers.binaries import path_of
from tests.servers.postgres import libpq

LOAD_SECONDS = 1.0
STREAMS, TELLERS = 20, 1
SETTLE_SECONDS_MAX = 60.0
TOOL_SECONDS_MAX = 60.0


@pytest.fixture
def served(backends: Backends, tmp_path: Path) -> Iterator[Served]:
    with Served(backends, tmp_path, Plan(gateways=1, workers=1, projectors=1)) as served:
        yield served


def test_what_a_backup_holds_is_whole_and_orders_flow_on_from_there(served: Served, tmp_path: Path) -> None:
    dump = tmp_path / "backup.dump"
    kept = _orders(served, "kept")
    _run([path_of("pg_dump"), "--format=custom", f"--file={dump}", libpq(served.database_url)])
    assert not served.checker.check(kept)
    head = served.stores.head()
    lost = _orders(served, "again")
    assert served.stores.head() > head

    for room in served.rooms:
        room.stop()
    served.stores.close()
    _restore(served, dump)
    for room in served.rooms:
        room.start()
    for room in served.rooms:
        room.wait_ready()

    _goes_on(served, head, kept, lost)


def test_a_replica_that_lost_the_tail_takes_over_while_everything_runs(
    servers: Servers, backends: Backends, tmp_path: Path
) -> None:
    """Workers have folded what it has not got, and their clients send all of it again."""
    with servers.private_postgres() as primary, servers.standby(primary) as standby:
        plan = Plan(gateways=1, workers=2, projectors=1)
        with Served(Backends(primary, backends.rabbitmq, backends.redis), tmp_path, plan) as served:
            kept = _orders(served, "kept")
            assert not served.checker.check(kept)
            standby.detach()
            head = served.stores.head()
            lost = _orders(served, "again")
            standby.take_over()
            for gateway in served.gateways:
                gateway.stop()
                gateway.start()
                gateway.wait_ready()
            _goes_on(served, head, kept, lost)


def _goes_on(served: Served, head: int, kept: Record, lost: Record) -> None:
    """The log ends at `head`; what came later never was, and may come again; rows that remember it are folded anew."""
    assert served.stores.head() == head
    assert served.stores.has_outcomes(kept.accepted), "what was kept was decided, and stays so"
    assert not served.stores.inbox(lost.accepted), "what came after it never was"
    redis.Redis.from_url(served.backends.redis.url).flushdb()
    again = _orders(served, "again")
    assert not (violations := served.checker.check(again)), "\n".join([*shown(violations), served.tails()])
    assert served.checker.check_all_rows() == []


def test_the_files_of_an_embedded_system_are_copied_while_orders_flow_in(tmp_path: Path) -> None:
    """The rows first, then the log: rows that a log has not got yet would be rows of nothing."""
    (tmp_path / "first").mkdir()
    with Embedded(tmp_path / "first") as first:
        kept = _orders(first, "kept")
        for name in ("views.db", "log.db"):
            loading = Thread(target=_orders, args=(first, f"beside-{name}"))
            loading.start()
            _copy(first.data / name, tmp_path / "second" / "data" / name)
            loading.join()
    with Embedded(tmp_path / "second") as second:
        assert second.stores.has_outcomes(kept.accepted)
        again = _orders(second, "again")
        assert second.stores.has_outcomes(again.accepted)
        second.checker.check(again)
        assert second.checker.check_all_rows() == []


def _orders(system: Served | Embedded, name: str) -> Record:
    """Some orders, all decided and shown."""
    record = Record()
    urls = system.urls if isinstance(system, Served) else [system.room.url]
    asyncio.run(Load(urls, record, name, Random(name)).run(LOAD_SECONDS, STREAMS, TELLERS))
    wait_until("all is shown", lambda: system.checker.is_settled(record), SETTLE_SECONDS_MAX, system.tails)
    return record


def _copy(file: Path, copy: Path) -> None:
    """What `sqlite3 FILE ".backup COPY"` does: one moment of a file that is being written to."""
    copy.parent.mkdir(parents=True, exist_ok=True)
    with closing(sqlite3.connect(file)) as source, closing(sqlite3.connect(copy)) as target:
        source.backup(target)


def _restore(served: Served, dump: Path) -> None:
    admin = libpq(served.backends.postgres.url)
    with psycopg.connect(admin, autocommit=True) as connection:
        connection.execute(f'DROP DATABASE "{served.name}" WITH (FORCE)')
        connection.execute(f'CREATE DATABASE "{served.name}"')
    _run([path_of("pg_restore"), "--exit-on-error", f"--dbname={libpq(served.database_url)}", str(dump)])


def _run(command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, timeout=TOOL_SECONDS_MAX, check=False)
    assert done.returncode == 0, done.stderr.decode()
