"""How fast views are built from an existing log: one projector, all slices, from position 0 to the head."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import bench.domain
import twofold.database.postgres
import twofold.database.sqlite_file
import twofold.eventstore.migrate
import twofold.eventstore.postgres
import twofold.eventstore.sqlite
import twofold.readmodels.stores.sql
from bench import inprocess, orders
from bench.databases import fresh_database
from bench.processes import TICK_SECONDS
from bench.results import Row
from bench.run import Run
from twofold import shop
from twofold.bus.embedded.bell import LocalBell
from twofold.kernel.codec import Codec
from twofold.kernel.domain import Domain, domain_of
from twofold.kernel.ports import Log
from twofold.readmodels.projection.projector import Projector
from twofold.subscriptions.log_cache import log_of

EVENTS = 30_000
SLICES = 4
CONNECTIONS = 4
SECONDS_MAX = 180.0


def rows(run: Run) -> list[Row]:
    """Events per second, of the orders view alone and of the whole shop's views, on PostgreSQL and on SQLite."""
    events = run.count(EVENTS)
    found = []
    with fresh_database(run.postgres_url) as url:
        twofold.eventstore.migrate.migrate(url)
        engine = twofold.database.postgres.connect(url, CONNECTIONS, twofold.database.postgres.LOG)
        log = twofold.eventstore.postgres.PostgresLog(engine)
        inprocess.fill(log, events)
        for key, domain in _domains():
            values = []
            for _ in range(run.repeats):
                with fresh_database(run.postgres_url) as rows_url:
                    values.append(_events_per_second(log, rows_url, domain))
            found.append(Row(f"replay-postgres-{key}", f"replay on PostgreSQL, {key}", "events/s", tuple(values)))
        engine.dispose()
    path = run.folder / "replay.db"
    twofold.eventstore.migrate.migrate(f"sqlite:///{path}")
    file = twofold.database.sqlite_file.SqliteFile(path)
    log_file = twofold.eventstore.sqlite.SqliteLog(file)
    inprocess.fill(log_file, events)
    for key, domain in _domains():
        values = [_events_per_second(log_file, _rows_file(run.folder, key, number), domain) for number in range(run.repeats)]
        found.append(Row(f"replay-sqlite-{key}", f"replay on SQLite, {key}", "events/s", tuple(values)))
    file.close()
    return found


def _domains() -> list[tuple[str, Domain]]:
    return [("1 view", domain_of(bench.domain)), ("the shop's views", domain_of(shop))]


def _rows_file(folder: Path, key: str, number: int) -> str:
    return f"sqlite:///{folder / f'replay-{len(key)}-{number}.db'}"


def _events_per_second(log: Log, rows_url: str, domain: Domain) -> float:
    """Raises RuntimeError when the views do not reach the head in time."""
    engine = twofold.readmodels.stores.sql.connect(rows_url, CONNECTIONS)
    store = twofold.readmodels.stores.sql.SqlViewStore(engine)
    views = [view for view in domain.views.values() if view.sync == "async"]
    slices = [slice_id for view in views for slice_id in store.make(view, SLICES).slice_ids()]
    projector = Projector(log_of(log, Codec(domain), views), store, [views], LocalBell())
    projector.hold(slices)
    stop = threading.Event()
    thread = threading.Thread(target=projector.run, args=(stop,), name="replay")
    head, _ = log.head()
    begin = time.perf_counter()
    thread.start()
    try:
        while min(store.positions().values()) < head:
            if time.perf_counter() - begin > SECONDS_MAX:
                raise RuntimeError(f"replay: not at {head} within {SECONDS_MAX:.0f} s, but at {store.positions()}")
            time.sleep(TICK_SECONDS)
        seconds = time.perf_counter() - begin
        _check(store, head)
        return head / seconds
    finally:
        stop.set()
        thread.join(10.0)
        engine.dispose()


def _check(store: twofold.readmodels.stores.sql.SqlViewStore, head: int) -> None:
    """Half of the events placed an order, and each has its row. Raises RuntimeError."""
    rows = store.load("orders", [orders.order_id(inprocess.FILL, number) for number in range(head // 2)])
    if len(rows) != head // 2:
        raise RuntimeError(f"replay: {len(rows)} rows for {head // 2} orders")
