"""Statements that were prepared before somebody changed what they are about: waited out on a new connection, never parked."""

from __future__ import annotations

from collections.abc import Iterator

import psycopg
import pytest
from sqlalchemy import Engine

from tests.contract.projections import Bugs, Log, Said, domain, projector, reached, running, until, words
from tests.contract.test_execute import asked, executor, statuses
from tests.contract.viewstores import SqlPlace
from tests.servers.postgres import libpq
from twofold.database.postgres import LOG, connect
from twofold.eventstore.migrate import migrate
from twofold.eventstore.postgres import PostgresLog
from twofold.kernel.envelope import Envelope
from twofold.kernel.errors import Unavailable
from twofold.kernel.outcome import Outcome
from twofold.kernel.ports import ViewStore
from twofold.workers.execute import Executor

WARM_UP = 8
"""More often than the driver runs a statement before it prepares it."""
TRIES_MAX = 5
OTHER_CONNECTION = "DEALLOCATE ALL"
"""What a pooler does to a session that is given another of its connections: nothing is prepared there."""


@pytest.fixture
def engine(postgres_url: str) -> Iterator[Engine]:
    migrate(postgres_url)
    engine = connect(postgres_url, 4, LOG)
    yield engine
    engine.dispose()


def decided(worker: Executor, commands: list[Envelope]) -> list[Outcome]:
    """As the lane does it: what is not available is asked for again."""
    for _ in range(TRIES_MAX):
        try:
            return worker.execute(commands)
        except Unavailable:
            continue
    raise AssertionError(f"not available {TRIES_MAX} times in a row")


@pytest.mark.parametrize(
    "change",
    [
        "ALTER TABLE inbox ALTER COLUMN code TYPE varchar(100)",
        "ALTER TABLE events ALTER COLUMN stream TYPE varchar(3000)",
        "ALTER TABLE events RENAME TO happened",
    ],
)
def test_a_table_changed_beside_a_warm_worker_parks_nothing(postgres_url: str, engine: Engine, change: str) -> None:
    """An ordinary migration is not the commands' fault: "cached plan must not change result type" passes on a new connection,
    and a table that is not there comes back or is waited for."""
    worker = executor(PostgresLog(engine))
    for _ in range(WARM_UP):
        worker.execute([asked(1)])
    with psycopg.connect(libpq(postgres_url), autocommit=True) as admin:
        admin.execute(change)
        if "RENAME" in change:
            with pytest.raises(Unavailable):
                worker.execute([asked(1)])
            admin.execute("ALTER TABLE happened RENAME TO events")
    for _ in range(3):
        assert statuses(decided(worker, [asked(1), asked(1, "b")])) == ["succeeded", "succeeded"]
    assert PostgresLog(engine).parked() == []


def test_statements_that_are_prepared_nowhere_park_nothing(engine: Engine) -> None:
    """Behind a pooler, and after DISCARD ALL, the server knows nothing of what the driver prepared."""
    worker = executor(PostgresLog(engine))
    for _ in range(WARM_UP):
        worker.execute([asked(1)])
    with engine.connect() as connection:
        raw = connection.connection.driver_connection
        assert isinstance(raw, psycopg.Connection)
        raw.pgconn.exec_(OTHER_CONNECTION.encode())
    for _ in range(3):
        assert statuses(decided(worker, [asked(1), asked(1, "b")])) == ["succeeded", "succeeded"]
    assert PostgresLog(engine).parked() == []


def test_rows_changed_beside_a_warm_projector_park_no_key(postgres_url: str) -> None:
    """Neither a plan that no longer fits nor a table that is away for a moment is poison in the events."""
    place = SqlPlace(postgres_url)
    codec, view, _ = domain(Bugs())
    log, store = Log(), place.open()
    generation = store.make(view, 1)
    with running(projector(log, store, (view,), codec, page_events=1), generation.slice_ids()):
        for number in range(WARM_UP):
            log.append(said(f"w{number}"))
            until(reached(store, generation, number + 1), "warm")
        with psycopg.connect(libpq(postgres_url), autocommit=True) as admin:
            admin.execute('ALTER TABLE read."heard__g1" ALTER COLUMN "name" TYPE varchar(2000)')
            log.append(said("changed"))
            until(reached(store, generation, WARM_UP + 1), "the event after the change")
            admin.execute('ALTER TABLE read."heard__g1" RENAME TO away')
            log.append(said("away"))
            until(lambda: is_refused(store), "the table is missed")
            admin.execute('ALTER TABLE read.away RENAME TO "heard__g1"')
        until(reached(store, generation, WARM_UP + 2), "the event behind the outage")
        assert store.parked() == []
        assert words(store, view, ["ann"])["ann"][-2:] == ("changed", "away")
    place.close()


def said(word: str) -> Said:
    return Said(("ann",), word)


def is_refused(store: ViewStore) -> bool:
    try:
        store.load("heard", ["ann"])
    except Unavailable:
        return True
    return False
