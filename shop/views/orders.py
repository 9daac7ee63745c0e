"""`orders`: one row for each order, as it stands now, with what its payment says of it."""

from __future__ import annotations

from datetime import datetime
from typing import Literal, get_args

import msgspec

from twofold.kernel.view import About, View
from twofold.shop.order import (
    OrderCancelled,
    OrderConfirmed,
    OrderDelivered,
    OrderPlaced,
    OrderReturned,
    OrderShipped,
    ShippingAddressUpdated,
    Status,
)
from twofold.shop.payment import PaymentStatus
from twofold.shop.values import Address
from twofold.shop.views.moments import happened_at
from twofold.shop.views.payments import Paid, payment_status_after

Moved = OrderConfirmed | OrderCancelled | OrderShipped | OrderDelivered | OrderReturned
"""What gives an order another status."""


class OrderRow(msgspec.Struct, frozen=True):
    """`lines` and `units` are counts of what was ordered; `total` and `refunded` are minor units of `currency`.

    `reason` says why it was cancelled, or returned last. `refunded` is what cancelled and returned lines were worth, whether or
    not the money was taken yet: that is what `payment_status` says; `none` for an order that no payment here is known of.
    """

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
    payment_status: PaymentStatus | Literal["none"] = "none"
    reason: str = ""


def keys(event: OrderPlaced | Moved | ShippingAddressUpdated | Paid, about: About) -> tuple[str]:
    return (event.order_id,)


def evolve(row: OrderRow | None, event: OrderPlaced | Moved | ShippingAddressUpdated | Paid, about: About) -> OrderRow | None:
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
    if isinstance(event, OrderCancelled | OrderReturned):
        refunded = row.refunded + event.total
        return msgspec.structs.replace(row, status=status_after(event), refunded=refunded, reason=event.reason)
    if isinstance(event, OrderConfirmed | OrderShipped | OrderDelivered):
        return msgspec.structs.replace(row, status=status_after(event))
    return msgspec.structs.replace(row, payment_status=payment_status_after(event))


def status_after(event: Moved) -> Status:
    """What an order is after this happened to it."""
    match event:
        case OrderConfirmed():
            return "confirmed"
        case OrderCancelled():
            return "cancelled"
        case OrderShipped():
            return "shipped"
        case OrderDelivered():
            return "delivered"
    return "returned" if event.is_complete else "partly-returned"


ORDERS = View[OrderRow, OrderPlaced | Moved | ShippingAddressUpdated | Paid](
    name="orders",
    key="order_id",
    row=OrderRow,
    on=(OrderPlaced, *get_args(Moved), ShippingAddressUpdated, *get_args(Paid)),
    keys=keys,
    evolve=evolve,
    indexes=("customer_id", "status", "country"),
)
