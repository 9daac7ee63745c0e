"""Behind a pooler in transaction mode every transaction may have another connection of the server: all goes on as without it."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import Engine

from tests.contract.projections import Bugs, Log, Said, domain, projector, reached, running, until, words
from tests.contract.test_execute import asked, executor, statuses
from tests.contract.viewstores import SqlPlace
from tests.servers import Servers
from twofold.database.postgres import LOG, connect
from twofold.eventstore.migrate import is_current, migrate
from twofold.eventstore.postgres import PostgresLog
from twofold.eventstore.postgres.leases import PostgresLeases
from twofold.kernel.members import Member

ROUNDS = 30
"""Many times what the driver lets pass before it prepares a statement."""
WORKERS = 4
"""More than the pooler has connections."""


@pytest.fixture(params=["", "options"])
def pooled_url(request: pytest.FixtureRequest, servers: Servers, postgres_url: str) -> Iterator[str]:
    """A pooler may refuse the limits that a connection brings along, or say nothing and forget them."""
    with servers.pgbouncer(postgres_url, ignored=request.param) as url:
        yield url


@pytest.fixture
def engines(pooled_url: str) -> Iterator[list[Engine]]:
    migrate(pooled_url)
    assert is_current(pooled_url)
    engines = [connect(pooled_url, 2, LOG) for _ in range(WORKERS)]
    yield engines
    for engine in engines:
        engine.dispose()


def test_workers_that_share_connections_decide_everything_at_the_first_try(engines: list[Engine]) -> None:
    """What one of them prepares is not there for its next statement, and what another prepares has the same name."""

    def work(number: int) -> list[str]:
        worker = executor(PostgresLog(engines[number]))
        batches = [[asked(1, f"{number}"), asked(5_000, f"{number}"), asked(1, f"other-{number}")] for _ in range(ROUNDS)]
        return [status for batch in batches for status in statuses(worker.execute(batch))]

    with ThreadPoolExecutor(WORKERS) as pool:
        for found in pool.map(work, range(WORKERS)):
            assert found == ["succeeded", "rejected", "succeeded"] * ROUNDS
    log = PostgresLog(engines[0])
    assert log.parked() == [] and log.head()[0] == WORKERS * ROUNDS * 2


def test_times_are_utc_and_leases_are_kept(engines: list[Engine]) -> None:
    """Neither belongs to a connection."""
    executor(PostgresLog(engines[0])).execute([asked(1)])
    _, recorded_at = PostgresLog(engines[1]).head()
    assert recorded_at is not None and recorded_at.utcoffset() is not None
    assert recorded_at.tzname() == "UTC"
    leases = [PostgresLeases(engine) for engine in engines]
    for _ in range(ROUNDS):
        held = [set(lease.renew(Member("workers", f"m{n}"), ["0", "1", "2", "3"], 10.0)) for n, lease in enumerate(leases)]
    assert sorted(resource for resources in held for resource in resources) == ["0", "1", "2", "3"]


def test_a_projector_folds_through_it(pooled_url: str) -> None:
    place = SqlPlace(pooled_url)
    codec, view, _ = domain(Bugs())
    log, store = Log(), place.open()
    generation = store.make(view, 4)
    with running(projector(log, store, (view,), codec, page_events=1), generation.slice_ids()):
        for number in range(ROUNDS):
            log.append(Said(("ann", "bob", "cyd"), f"w{number}"))
        until(reached(store, generation, ROUNDS), "everything is folded")
    for _ in range(ROUNDS):
        heard = words(store, view, ["ann", "bob", "cyd"])
    assert heard == dict.fromkeys(("ann", "bob", "cyd"), tuple(f"w{number}" for number in range(ROUNDS)))
    assert store.parked() == []
    place.close()
