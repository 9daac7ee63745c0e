"""Customers are told when their order is confirmed, cancelled, or sent, and when money comes back: each once, because each is one
event, and a call is made once for it."""

from __future__ import annotations

import msgspec

from twofold.kernel.messages import Event
from twofold.kernel.process import Call, CallGivenUp, InstanceRetried, Process
from twofold.shop.calls import Notice
from twofold.shop.order.events import OrderCancelled, OrderConfirmed, OrderShipped
from twofold.shop.payment import PaymentRefunded


class Told(msgspec.Struct, frozen=True):
    """Whose order it is, as far as an event has said so; and whether something could not be sent."""

    customer_id: str = ""
    is_owed: bool = False


def evolve(told: Told | None, event: Event) -> Told:
    told = told or Told()
    match event:
        case CallGivenUp():
            return msgspec.structs.replace(told, is_owed=True)
        case InstanceRetried():
            return msgspec.structs.replace(told, is_owed=False)
        case OrderConfirmed() | OrderCancelled() | OrderShipped():
            return msgspec.structs.replace(told, customer_id=event.customer_id)
    return told


def react(told: Told, event: Event) -> list[Call]:
    match event:
        case OrderConfirmed(order_id, customer_id):
            return [_notify(Notice(order_id, customer_id, "confirmed"))]
        case OrderCancelled(order_id=order_id, customer_id=customer_id, reason=reason):
            return [_notify(Notice(order_id, customer_id, "cancelled", reason))]
        case OrderShipped(order_id, customer_id, carrier, number):
            return [_notify(Notice(order_id, customer_id, "shipped", f"{carrier} {number}"))]
        case PaymentRefunded(order_id=order_id, amount=amount, reason=reason):
            return [_notify(Notice(order_id, told.customer_id, "refunded", reason, amount))]
    return []


def _notify(notice: Notice) -> Call:
    return Call("notify", notice)


NOTIFYING = Process[Told, OrderConfirmed | OrderCancelled | OrderShipped | PaymentRefunded](
    name="notifying",
    state=Told,
    on=(OrderConfirmed, OrderCancelled, OrderShipped, PaymentRefunded),
    key=lambda event: event.order_id,
    evolve=evolve,
    react=react,
    is_done=lambda told: not told.is_owed,
)
