"""`orders`: one row for each order, as it stands now."""

from __future__ import annotations

from datetime import datetime

import msgspec

from twofold.kernel.view import About, View
from twofold.shop.order import OrderCancelled, OrderPlaced, OrderReturned, ShippingAddressUpdated, Status
from twofold.shop.values import Address
from twofold.shop.views.moments import happened_at


class OrderRow(msgspec.Struct, frozen=True):
    """`lines` and `units` are counts of what was ordered; `total` and `refunded` are minor units of `currency`."""

    order_id: str
    customer_id: str
    status: Status
    country: str
    placed_at: datetime
    lines: int
    units: int
    currency: str
    total: int
    refunded: int
    shipping_address: Address


Known = OrderPlaced | OrderCancelled | OrderReturned | ShippingAddressUpdated


def keys(event: Known, about: About) -> tuple[str]:
    return (event.order_id,)


def evolve(row: OrderRow | None, event: Known, about: About) -> OrderRow | None:
    if isinstance(event, OrderPlaced):
        return OrderRow(
            order_id=event.order_id,
            customer_id=event.customer_id,
            status="placed",
            country=event.shipping_address.country,
            placed_at=happened_at(event, about),
            lines=len(event.lines),
            units=event.units,
            currency=event.currency,
            total=event.total,
            refunded=0,
            shipping_address=event.shipping_address,
        )
    if row is None:
        return None
    if isinstance(event, ShippingAddressUpdated):
        address = event.shipping_address
        return msgspec.structs.replace(row, shipping_address=address, country=address.country)
    return msgspec.structs.replace(row, status=status_after(event), refunded=row.refunded + event.total)


def status_after(event: OrderCancelled | OrderReturned) -> Status:
    """What an order is after it was cancelled or returned."""
    if isinstance(event, OrderCancelled):
        return "cancelled"
    return "returned" if event.is_complete else "partly-returned"


ORDERS = View[OrderRow, OrderPlaced | OrderCancelled | OrderReturned | ShippingAddressUpdated](
    name="orders",
    key="order_id",
    row=OrderRow,
    on=(OrderPlaced, OrderCancelled, OrderReturned, ShippingAddressUpdated),
    keys=keys,
    evolve=evolve,
    indexes=("customer_id", "status", "country"),
)
