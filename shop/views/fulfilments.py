"""How far the automatic orders are on their way, and why those that are cancelled came to nothing."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

import msgspec

from twofold.kernel.messages import Event
from twofold.kernel.view import About, View
from twofold.shop.order.events import OrderCancelled, OrderConfirmed, OrderDelivered, OrderPlaced, OrderShipped
from twofold.shop.payment import PaymentRequested

FulfilmentState = Literal["reserving", "authorising", "confirmed", "shipped", "delivered", "cancelled"]
STATES: dict[type[Event], FulfilmentState] = {
    OrderPlaced: "reserving",
    PaymentRequested: "authorising",
    OrderConfirmed: "confirmed",
    OrderShipped: "shipped",
    OrderDelivered: "delivered",
    OrderCancelled: "cancelled",
}


class FulfilmentRow(msgspec.Struct, frozen=True):
    """`since`: when it came to this state. `reason` says why it is cancelled."""

    order_id: str
    state: FulfilmentState
    since: datetime
    reason: str = ""


def _keys(event: Event, about: About) -> tuple[str, ...]:
    if isinstance(event, OrderPlaced) and event.fulfilment != "automatic":
        return ()
    order_id: str = event.order_id  # type: ignore[attr-defined]
    return (order_id,)


def _evolve(row: FulfilmentRow | None, event: Event, about: About) -> FulfilmentRow | None:
    """An order fulfilled by hand has no row. A payment that is requested for one that is cancelled by now changes nothing."""
    if row is None and not isinstance(event, OrderPlaced):
        return None
    if row is not None and row.state == "cancelled":
        return row
    reason = event.reason if isinstance(event, OrderCancelled) else ""
    return FulfilmentRow(about.key, STATES[type(event)], about.recorded_at, reason)


FULFILMENTS = View(
    name="fulfilments",
    key="order_id",
    row=FulfilmentRow,
    on=tuple(STATES),
    keys=_keys,
    evolve=_evolve,
    indexes=("state",),
    orders=("since",),
)
