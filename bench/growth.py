"""Whether anything grows with the log: a worker's memory, the time of a command and of a query, from 10,000 to 500,000 commands.

The served house is filled by bulk posts. At each size it is left alone until it shows everything, then asked one thing at
a time over one connection: a command with `Prefer: wait` until its outcome, a row by key, a page by index.
"""

from __future__ import annotations

import http.client
import random
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from itertools import count as counting
from statistics import median

import msgspec

from bench import house, orders
from bench.databases import fresh_database
from bench.endtoend import BULK_ITEMS, ORDERS_ONLY
from bench.load import Work
from bench.load import run as run_load
from bench.processes import HOST, wait_until
from bench.results import Row
from bench.run import BULK_CONNECTIONS, VISIBLE_SECONDS_MAX, Meter, Run

SIZES = (10_000, 100_000, 250_000, 500_000)
STEP = 25_000
"""So many commands under way before they are waited for: the broker and the views are never far behind."""
ASKED = 300
WARM = 200

Ask = Callable[[], None]


def rows(run: Run) -> list[Row]:
    """Three rows for each size; the keys of the first and the last are those the floors name."""
    found: list[Row] = []
    with fresh_database(run.postgres_url) as url, house.served(ORDERS_ONLY, url, run.broker_url, run.folder) as ours:
        meter = Meter(ours)
        for number, size in enumerate(map(run.count, SIZES)):
            place = {0: "first", len(SIZES) - 1: "last"}.get(number, str(number))
            _fill(meter, size)
            with closing(http.client.HTTPConnection(HOST, ours.port, timeout=30)) as connection:
                found += _at(run, meter, size, place, connection)
    return found


def _fill(meter: Meter, size: int) -> None:
    while meter.events < size:
        step = min(STEP, size - meter.events)
        load = Work(HOST, meter.side.port, f"grow{meter.events}", step, BULK_CONNECTIONS, BULK_ITEMS)
        run_load(load)
        meter.events += step
        wait_until("the views", lambda: meter.side.shows(meter.events), VISIBLE_SECONDS_MAX, meter.side.members)


def _at(run: Run, meter: Meter, size: int, place: str, connection: http.client.HTTPConnection) -> Iterator[Row]:
    dice = random.Random(size)
    numbers = counting()

    def command() -> None:
        body = msgspec.json.encode(orders.place_order(f"asked{size}", next(numbers)))
        _ask(connection, "POST", "/commands/PlaceOrder", body, {"Content-Type": "application/json", "Prefer": "wait=10"})
        meter.events += 1

    def query() -> None:
        key = orders.order_id("grow0", dice.randrange(min(size, run.count(SIZES[0]))))
        _ask(connection, "GET", f"/views/orders/{key}", None, {})

    def page() -> None:
        _ask(connection, "GET", f"/views/orders?customer_id=customer-{dice.randrange(97)}&limit=50", None, {})

    at = f"at {size:,} commands"
    for kind, label, ask in (
        ("command", "a command", command),
        ("query", "a row by key", query),
        ("page", "a page by index", page),
    ):
        _milliseconds(ask, WARM)
        values = tuple(_milliseconds(ask, ASKED) for _ in range(run.repeats))
        yield Row(f"growth-{kind}-{place}", f"{label}, {at}", "ms", values, "median of one at a time")
    memory = next(member for member in meter.side.members if member.name.startswith("workers")).rss_bytes() / 1024 / 1024
    yield Row(f"growth-memory-{place}", f"memory of a worker, {at}", "MiB", (memory,), "resident")


def _milliseconds(ask: Ask, times: int) -> float:
    """The median of so many, one after the other."""
    seconds = []
    for _ in range(times):
        begin = time.perf_counter()
        ask()
        seconds.append(time.perf_counter() - begin)
    return median(seconds) * 1000


def _ask(connection: http.client.HTTPConnection, method: str, path: str, body: bytes | None, headers: dict[str, str]) -> None:
    """Raises RuntimeError unless the answer is 200."""
    connection.request(method, path, body, headers)
    answer = connection.getresponse()
    text = answer.read()
    if answer.status != 200:
        raise RuntimeError(f"{method} {path}: {answer.status} {text[:300]!r}")
