"""The `eventsourcing` library in process: the same order, placed or loaded, decided and saved, one save after the other.

Configured as its documentation says for speed: aggregates cached without looking for newer events (the unique version
keeps the cache honest, as it does for our workers), pooled connections, no snapshots. `save` may carry several aggregates;
that is not how its applications are written, and is measured as a row of its own.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit
from uuid import NAMESPACE_URL, UUID, uuid5

from eventsourcing.application import Application
from eventsourcing.domain import Aggregate, event

from bench import orders

ROUND = 256
"""So many orders are placed, then the same ones get another address, and so on: half of all saves are of a loaded aggregate."""
CACHE_AGGREGATES = 1_000


class Order(Aggregate):
    """The decider's rules for the two commands of the measurement, in the library's own idiom."""

    @event("Placed")
    def __init__(
        self, order_id: str, customer_id: str, lines: list[dict[str, Any]], shipping_address: dict[str, str], fulfilment: str
    ) -> None:
        self.order_id = order_id
        self.customer_id = customer_id
        self.lines = lines
        self.shipping_address = shipping_address
        self.fulfilment = fulfilment
        self.status = "placed"
        self.units = sum(line["quantity"] for line in lines)
        self.total = sum(line["quantity"] * line["unit_price"] for line in lines)

    @staticmethod
    def create_id(order_id: str) -> UUID:
        return uuid5(NAMESPACE_URL, f"/orders/{order_id}")

    def update_address(self, shipping_address: dict[str, str]) -> None:
        if self.status != "placed":
            raise ValueError(self.status)
        if shipping_address != self.shipping_address:
            self._readdress(shipping_address)

    @event("Readdressed")
    def _readdress(self, shipping_address: dict[str, str]) -> None:
        self.shipping_address = shipping_address


class Orders(Application[UUID]):
    """Commands as methods, as in the library's tutorial."""

    def place(self, **fields: Any) -> None:
        self.save(Order(**fields))

    def update_address(self, order_id: str, shipping_address: dict[str, str]) -> None:
        order: Order = self.repository.get(Order.create_id(order_id))
        order.update_address(shipping_address)
        self.save(order)


def on_postgres(url: str, db_functions: bool) -> Orders:
    """An application over this database. `db_functions`: its option of inserting through a stored function, one round trip."""
    parts = urlsplit(url)
    return Orders(
        env={
            **_CACHE,
            "PERSISTENCE_MODULE": "eventsourcing.postgres",
            "POSTGRES_DBNAME": parts.path.lstrip("/"),
            "POSTGRES_HOST": parts.hostname or "",
            "POSTGRES_PORT": str(parts.port or 5432),
            "POSTGRES_USER": parts.username or "",
            "POSTGRES_PASSWORD": parts.password or "none",
            "POSTGRES_ENABLE_DB_FUNCTIONS": "yes" if db_functions else "no",
        }
    )


def on_sqlite(path: str) -> Orders:
    return Orders(env={**_CACHE, "PERSISTENCE_MODULE": "eventsourcing.sqlite", "SQLITE_DBNAME": path})


def saves_per_second(application: Orders, prefix: str, count: int) -> float:
    """Half new orders, half loaded ones. Raises AssertionError when the log does not hold what was asked."""
    before = application.recorder.max_notification_id() or 0
    begin = time.perf_counter()
    for numbers in rounds(count // 2):
        for number in numbers:
            application.place(**orders.place_order(prefix, number))
        for number in numbers:
            application.update_address(**orders.update_address(prefix, number))
    seconds = time.perf_counter() - begin
    saved = (application.recorder.max_notification_id() or 0) - before
    assert saved == count // 2 * 2, f"{saved} events for {count} commands"
    return saved / seconds


def joint_saves_per_second(application: Orders, prefix: str, count: int, together: int) -> float:
    """Commands a second when so many new orders are saved in one `save`."""
    begin = time.perf_counter()
    for start in range(0, count, together):
        application.save(*[Order(**orders.place_order(prefix, number)) for number in range(start, start + together)])
    return count / (time.perf_counter() - begin)


def rounds(count: int) -> Iterator[range]:
    for start in range(0, count, ROUND):
        yield range(start, min(start + ROUND, count))


_CACHE = {"AGGREGATE_CACHE_MAXSIZE": str(CACHE_AGGREGATES), "AGGREGATE_CACHE_FASTFORWARD": "no"}
