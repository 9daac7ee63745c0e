"""The customer's dashboard: one page of what his own stream and those of his orders say."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from tests.contract.hotel import happened
from twofold.kernel.codec import Codec
from twofold.kernel.domain import load_domain
from twofold.kernel.messages import Event
from twofold.kernel.rows import Advance, Row
from twofold.readmodels.live.store import LiveViewStore
from twofold.readmodels.stores.routed import RoutedViewStore
from twofold.shop.customer import CustomerRegistered, LastLoginUpdated, ProfileUpdated
from twofold.shop.order import OrderCancelled, OrderConfirmed, OrderDelivered, OrderPlaced, OrderReturned, OrderShipped
from twofold.shop.values import Address, Line
from twofold.shop.views.customers import RecentOrder
from twofold.shop.views.dashboard import CUSTOMER_DASHBOARD, DashboardRow
from twofold.shop.views.orders import ORDERS
from twofold.testing import rows
from twofold.testing.memory_log import MemoryLog
from twofold.testing.memory_rows import MemoryViewStore

AT = datetime(2026, 1, 1, tzinfo=UTC)
ADDRESS = Address("Ann", "1 High St", "Leeds", "LS1", "United Kingdom")
LINES = (Line("mug", "A mug", 2, 500),)


def placed(number: int, customer_id: str = "ann") -> OrderPlaced:
    at = AT + timedelta(days=number)
    return OrderPlaced(f"o{number}", customer_id, LINES, ADDRESS, "GBP", at, "none", 2, 1000)


def cancelled(number: int) -> OrderCancelled:
    return OrderCancelled(f"o{number}", "ann", "United Kingdom", LINES, 2, 1000, "changed my mind")


def returned(number: int, is_complete: bool) -> OrderReturned:
    return OrderReturned(f"o{number}", "ann", "United Kingdom", (), 1, 500, "broken", is_complete)


REGISTERED = CustomerRegistered("ann", "Ann", "ann@example.org", "")


def shown(*events: Event) -> DashboardRow:
    return rows(CUSTOMER_DASHBOARD, *events)["ann"]


def test_it_shows_who_it_is_and_when_he_was_here_last() -> None:
    row = shown(REGISTERED, ProfileUpdated("ann", None, "ann@new.example", "123"), LastLoginUpdated("ann", AT))
    assert row == DashboardRow("ann", "Ann", "ann@new.example", "123", AT)


def test_it_sums_his_orders_and_knows_which_are_on_their_way() -> None:
    row = shown(
        *(placed(number) for number in range(4)),
        REGISTERED,
        OrderConfirmed("o1", "ann"),
        OrderShipped("o1", "ann", "Mail", "1", None),
        cancelled(2),
        OrderDelivered("o3", "ann", None),
        returned(3, is_complete=False),
    )
    assert (row.name, row.orders, row.spent, row.refunded) == ("Ann", 4, 4000, 1500)
    assert [(order.order_id, order.status) for order in row.recent] == [
        ("o3", "partly-returned"),
        ("o2", "cancelled"),
        ("o1", "shipped"),
        ("o0", "placed"),
    ]
    assert row.open == ("o0", "o1")


def test_the_last_ten_are_those_of_the_business_whatever_was_recorded_first() -> None:
    forth, back = shown(*map(placed, range(12))), shown(*map(placed, reversed(range(12))))
    assert forth == back and [order.order_id for order in forth.recent] == [f"o{number}" for number in range(11, 1, -1)]
    assert isinstance(forth.recent[0], RecentOrder) and (forth.orders, len(forth.open)) == (12, 12)


def test_its_streams_hold_every_event_of_a_customer_and_no_other() -> None:
    """Folded from the streams that are named for it, or from the whole log: the same row."""
    log, codec, orders = MemoryLog(), Codec(load_domain("twofold.shop")), MemoryViewStore()
    history: list[tuple[str, int, Event]] = [("customer-ann", 1, REGISTERED), ("customer-bob", 1, REGISTERED)]
    history[1] = ("customer-bob", 1, CustomerRegistered("bob", "Bob", "bob@example.org", ""))
    history += [(f"order-o{number}", 1, placed(number, "bob" if number % 3 == 0 else "ann")) for number in range(1, 9)]
    history += [
        ("order-o1", 2, OrderConfirmed("o1", "ann")),
        ("order-o2", 2, cancelled(2)),
        ("customer-ann", 2, LastLoginUpdated("ann", AT)),
    ]
    for stream, version, event in history:
        log.append([happened(stream, version, event)])
    head = log.head()[0]
    generation = orders.make(ORDERS, 1)
    folded = rows(ORDERS, *(event for _, _, event in history))
    orders.commit([Advance(generation.slice_ids()[0], 0, head, {key: Row(key, row, head) for key, row in folded.items()})])
    live = LiveViewStore(log, codec, lambda: routed)
    routed = RoutedViewStore({"orders": orders, "customer_dashboard": live})
    live.make(CUSTOMER_DASHBOARD, 1)
    found = {key: row.value for key, row in live.load("customer_dashboard", ["ann", "bob", "cid"]).items()}
    assert found == rows(CUSTOMER_DASHBOARD, *(event for _, _, event in history)) and len(found) == 2
    routed.close()
