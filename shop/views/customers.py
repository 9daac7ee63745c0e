"""`customer_orders`: what each customer bought and got back; `recent_orders`: the last ten orders, to look at."""

from __future__ import annotations

from datetime import datetime
from typing import get_args

import msgspec

from twofold.kernel.view import About, View
from twofold.shop.order import OrderCancelled, OrderPlaced, OrderReturned, Status
from twofold.shop.returns import ReturnRecorded
from twofold.shop.views.moments import Refund, Sale, happened_at
from twofold.shop.views.orders import Moved, status_after

RECENT_COUNT = 10


class CustomerRow(msgspec.Struct, frozen=True):
    """`units` were bought, `spent` paid for them before refunds (minor units). `recent` is newest first.

    The order times are None for a customer who only ever returned something.
    """

    customer_id: str
    orders: int = 0
    units: int = 0
    spent: int = 0
    refunded: int = 0
    first_order_at: datetime | None = None
    last_order_at: datetime | None = None
    recent: tuple[str, ...] = ()
    recent_at: tuple[datetime, ...] = ()


class RecentOrder(msgspec.Struct, frozen=True):
    """One order as a customer's list shows it; `total` in minor units of `currency`."""

    order_id: str
    placed_at: datetime
    total: int
    currency: str
    status: Status


class RecentRow(msgspec.Struct, frozen=True):
    """Newest first, at most `RECENT_COUNT`."""

    customer_id: str
    orders: tuple[RecentOrder, ...] = ()


def keys(event: Sale | Refund, about: About) -> tuple[str]:
    return (event.customer_id,)


def evolve_customer(row: CustomerRow | None, event: Sale | Refund, about: About) -> CustomerRow:
    row = row or CustomerRow(event.customer_id)
    if not isinstance(event, OrderPlaced):
        return msgspec.structs.replace(row, refunded=row.refunded + event.total)
    at = happened_at(event, about)
    newest = sorted([*zip(row.recent_at, row.recent, strict=True), (at, event.order_id)], reverse=True)[:RECENT_COUNT]
    return CustomerRow(
        customer_id=row.customer_id,
        orders=row.orders + 1,
        units=row.units + event.units,
        spent=row.spent + event.total,
        refunded=row.refunded,
        first_order_at=min(row.first_order_at or at, at),
        last_order_at=max(row.last_order_at or at, at),
        recent=tuple([order_id for _, order_id in newest]),
        recent_at=tuple([moment for moment, _ in newest]),
    )


def recent_keys(event: OrderPlaced | Moved, about: About) -> tuple[str]:
    return (event.customer_id,)


def evolve_recent(row: RecentRow | None, event: OrderPlaced | Moved, about: About) -> RecentRow:
    orders = row.orders if row else ()
    if isinstance(event, OrderPlaced):
        order = RecentOrder(event.order_id, happened_at(event, about), event.total, event.currency, "placed")
        newest = sorted((*orders, order), key=lambda shown: (shown.placed_at, shown.order_id), reverse=True)
        return RecentRow(event.customer_id, tuple(newest[:RECENT_COUNT]))
    status = status_after(event)
    changed = [msgspec.structs.replace(o, status=status) if o.order_id == event.order_id else o for o in orders]
    return RecentRow(event.customer_id, tuple(changed))


CUSTOMER_ORDERS = View[CustomerRow, OrderPlaced | OrderCancelled | OrderReturned | ReturnRecorded](
    name="customer_orders",
    key="customer_id",
    row=CustomerRow,
    on=(OrderPlaced, OrderCancelled, OrderReturned, ReturnRecorded),
    keys=keys,
    evolve=evolve_customer,
)

RECENT_ORDERS = View[RecentRow, OrderPlaced | Moved](
    name="recent_orders",
    key="customer_id",
    row=RecentRow,
    on=(OrderPlaced, *get_args(Moved)),
    keys=recent_keys,
    evolve=evolve_recent,
    store="redis",
)
