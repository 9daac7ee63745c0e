"""What each way costs and gives: a command until its outcome, a row by key, and how soon after the outcome the row shows it.

One house after the other, served, with the same load: a product whose stream holds 1,000 events is asked for and written to, one
thing at a time over one connection. Who asks right after the outcome, and brings no token, may be shown the row from before it:
how often that happened is counted.
"""

from __future__ import annotations

import http.client
import time
from collections.abc import Callable
from contextlib import closing
from itertools import count as counting
from statistics import median

import msgspec

from bench import house
from bench.databases import fresh_database
from bench.processes import HOST, wait_until
from bench.results import Row
from bench.run import VISIBLE_SECONDS_MAX, Run

WAYS = {"inline": "bench.ways.inline", "async": "bench.ways.asynchronous", "live": "bench.ways.live"}
SKU = "mug"
EVENTS = 1_000
ASKED = 300
WARM = 100
JSON = {"Content-Type": "application/json"}

Asked = tuple[http.client.HTTPMessage, bytes]


def rows(run: Run) -> list[Row]:
    """Four rows for each way."""
    return [row for sync, domain in WAYS.items() for row in _of_domain(run, sync, domain)]


def _of_domain(run: Run, sync: str, domain: str) -> list[Row]:
    with (
        fresh_database(run.postgres_url) as url,
        house.served(domain, url, run.broker_url, run.folder) as ours,
        closing(http.client.HTTPConnection(HOST, ours.port, timeout=30)) as connection,
    ):
        stock = Stock(connection)
        stock.fill(EVENTS)
        wait_until("the stock", lambda: ours.shows(EVENTS), VISIBLE_SECONDS_MAX, ours.members)
        return _of(run, sync, stock)


class Stock:
    """One product, over one connection."""

    def __init__(self, connection: http.client.HTTPConnection) -> None:
        self._connection = connection
        self._numbers = counting()
        self.position = 0
        self.token = ""

    def fill(self, events: int) -> None:
        items = [{"type": "AdjustStock", "data": self._adjustment()} for _ in range(events)]
        _ask(self._connection, "POST", "/commands", msgspec.json.encode(items), JSON, 202)

    def write(self) -> None:
        """Until its outcome."""
        body = msgspec.json.encode(self._adjustment())
        _, answer = _ask(self._connection, "POST", "/commands/AdjustStock", body, JSON | {"Prefer": "wait=10"})
        outcome = msgspec.json.decode(answer)
        self.position, self.token = outcome["position"], outcome["command_id"]

    def read(self) -> int:
        """The row as it is; where it stands."""
        headers, _ = _ask(self._connection, "GET", f"/views/stock/{SKU}", None, {})
        return int(headers["View-Position"])

    def read_own_write(self) -> None:
        headers = {"Consistency-Token": self.token, "Prefer": "wait=10"}
        _ask(self._connection, "GET", f"/views/stock/{SKU}", None, headers)

    def _adjustment(self) -> dict[str, object]:
        return {"sku": SKU, "quantity": 1 + next(self._numbers) % 9, "reason": "counted"}


def _of(run: Run, sync: str, stock: Stock) -> list[Row]:
    def write() -> float:
        return _seconds(stock.write)

    def read() -> float:
        return _seconds(stock.read)

    def shown() -> float:
        stock.write()
        return _seconds(stock.read_own_write)

    def stale() -> float:
        stock.write()
        return float(stock.read() < stock.position)

    for ask in (stock.write, stock.read, shown):
        for _ in range(run.count(WARM)):
            ask()
    writes, reads, visible, missed = (
        tuple(of([one() for _ in range(run.count(ASKED))]) for _ in range(run.repeats))
        for one, of in ((write, _milliseconds), (read, _milliseconds), (shown, _milliseconds), (stale, _percent))
    )
    label = f"stock of a product, {sync}"
    return [
        Row(f"ways-{sync}-write", f"{label}: a command until its outcome", "ms", writes, "median of one at a time"),
        Row(f"ways-{sync}-read", f"{label}: its row by key", "ms", reads, f"{EVENTS:,} events or more make it"),
        Row(f"ways-{sync}-shown", f"{label}: outcome → a row that shows it", "ms", visible, "read with the command's token"),
        Row(f"ways-{sync}-stale", f"{label}: read right after the outcome, from before it", "%", missed, "read without a token"),
    ]


def _seconds(ask: Callable[[], object]) -> float:
    begin = time.perf_counter()
    ask()
    return time.perf_counter() - begin


def _milliseconds(seconds: list[float]) -> float:
    return median(seconds) * 1000


def _percent(found: list[float]) -> float:
    return 100 * sum(found) / len(found)


def _ask(
    connection: http.client.HTTPConnection, method: str, path: str, body: bytes | None, headers: dict[str, str], status: int = 200
) -> Asked:
    """Raises RuntimeError for any other status."""
    connection.request(method, path, body, headers)
    answer = connection.getresponse()
    text = answer.read()
    if answer.status != status:
        raise RuntimeError(f"{method} {path}: {answer.status} {text[:300]!r}")
    return answer.headers, text
