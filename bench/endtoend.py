"""From HTTP to visible in the view: the house served, embedded, with the whole shop, and the hand-made peer.

The served house also answers how long append → visible takes at a quarter of its single-post load; it is measured here,
on the stack that load was measured on.
"""

from __future__ import annotations

from bench import house, visibility
from bench.databases import fresh_database
from bench.peer import stack as peer
from bench.results import Row
from bench.run import Meter, Run, throughput

ORDERS_ONLY = "bench.domain"
WHOLE_SHOP = "shop"
SINGLES = 8_000
BULK = 20_000
BULK_ITEMS = 1_000
PEER_SINGLES = 1_000
"""The peer's rate needs fewer commands to be measured for the same seconds."""
PEER_BULK_ITEMS = 250


def served_rows(run: Run) -> list[Row]:
    with fresh_database(run.postgres_url) as url, house.served(ORDERS_ONLY, url, run.broker_url, run.folder) as ours:
        meter = Meter(ours)
        rows = throughput(run, meter, "served", "served: PostgreSQL + RabbitMQ", SINGLES, BULK, BULK_ITEMS)
        return rows + visibility.rows(run, meter, rate=rows[0].median / 4)


def whole_shop_rows(run: Run) -> list[Row]:
    with fresh_database(run.postgres_url) as url, house.served(WHOLE_SHOP, url, run.broker_url, run.folder) as ours:
        return throughput(run, Meter(ours), "served-shop", "served, all views of the shop", SINGLES, BULK, BULK_ITEMS)


def embedded_rows(run: Run) -> list[Row]:
    data = run.folder / "embedded"
    with house.embedded(ORDERS_ONLY, data, run.folder) as ours:
        return throughput(run, Meter(ours), "embedded", "embedded: one process, SQLite", SINGLES, BULK, BULK_ITEMS)


def peer_rows(run: Run) -> list[Row]:
    with fresh_database(run.postgres_url) as url, peer.running(url, run.broker_url, "peer", run.folder) as theirs:
        return throughput(run, Meter(theirs), "peer", "hand-made peer", PEER_SINGLES, PEER_SINGLES, PEER_BULK_ITEMS)
