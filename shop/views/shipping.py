"""`shipping`: where an order is on its way, step by step, in the order in which the steps happened."""

from __future__ import annotations

from datetime import UTC, datetime

import msgspec

from twofold.kernel.view import About, View
from twofold.shop.order import OrderDelivered, OrderShipped, TrackingRecorded

SHIPPED, DELIVERED = "shipped", "delivered"


class Step(msgspec.Struct, frozen=True):
    """`place` is empty where it is not known."""

    status: str
    place: str
    at: datetime


class ShippingRow(msgspec.Struct, frozen=True):
    """`status` is that of the last step, in the carrier's own words, until the order is delivered."""

    order_id: str
    status: str
    carrier: str
    tracking_number: str
    steps: tuple[Step, ...]
    delivered_at: datetime | None = None


def keys(event: OrderShipped | TrackingRecorded | OrderDelivered, about: About) -> tuple[str]:
    return (event.order_id,)


def evolve(row: ShippingRow | None, event: OrderShipped | TrackingRecorded | OrderDelivered, about: About) -> ShippingRow | None:
    if isinstance(event, OrderShipped):
        step = Step(SHIPPED, "", _moment(event.shipped_at, about))
        return ShippingRow(event.order_id, SHIPPED, event.carrier, event.tracking_number, (step,))
    if row is None:
        return None
    if isinstance(event, OrderDelivered):
        step = Step(DELIVERED, "", _moment(event.delivered_at, about))
    else:
        step = Step(event.status, event.place, _moment(event.at, about))
    steps = tuple(sorted((*row.steps, step), key=lambda one: one.at))
    delivered_at = step.at if isinstance(event, OrderDelivered) else row.delivered_at
    status = DELIVERED if delivered_at else steps[-1].status
    return msgspec.structs.replace(row, status=status, steps=steps, delivered_at=delivered_at)


def _moment(named: datetime | None, about: About) -> datetime:
    return (named or about.recorded_at).astimezone(UTC)


SHIPPING = View[ShippingRow, OrderShipped | TrackingRecorded | OrderDelivered](
    name="shipping",
    key="order_id",
    row=ShippingRow,
    on=(OrderShipped, TrackingRecorded, OrderDelivered),
    keys=keys,
    evolve=evolve,
)
