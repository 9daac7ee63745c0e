"""Fulfilment: what has to happen for an order with `fulfilment` automatic, over stock, payment and order, and is undone when one
of them says no.

    placed ── reserve every product ──> reserving ── all reserved: authorise ──> authorising ── yes: confirm ──> confirmed
                                            │ out of stock                           │ no, or no answer in time     │ shipped
                                            └───────────── cancel the order <────────┘                              v
                                                                 │                              issue, capture ──> shipped
                                    release, void ──> cancelled <┴── the customer cancels            returned: refund, restock

Whoever cancels an order, the same is undone, because the order itself says that it is cancelled. What says yes too late (a
product reserved, a payment authorised for an order that is cancelled by now) is given back as it comes.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from twofold.kernel.messages import Command, Event
from twofold.kernel.process import (
    After,
    Call,
    CallGivenUp,
    CommandRejected,
    InstanceCancelled,
    InstanceRetried,
    NoMore,
    Process,
    Reaction,
    TimerFired,
)
from twofold.shop.calls import AskAuthorisation, AskCapture, AskRefund, AskVoid
from twofold.shop.order.commands import CancelOrder, ConfirmOrder
from twofold.shop.order.events import OrderCancelled, OrderConfirmed, OrderPlaced, OrderReturned, OrderShipped
from twofold.shop.payment import (
    AuthorisationCameLate,
    AuthorisePayment,
    CapturePayment,
    PaymentAuthorised,
    PaymentCaptured,
    PaymentDeclined,
    PaymentRefunded,
    PaymentRequested,
    PaymentVoided,
    RefundPayment,
    VoidPayment,
)
from twofold.shop.stock import IssueStock, ReceiveStock, ReleaseStock, ReserveStock, StockReserved

PAYMENT_SECONDS_MAX = 30.0
"""How long a provider may take to say yes or no; then the payment is voided, and the order cancelled."""
LIMIT_SECONDS = 300.0
"""Nothing here takes so long unless somebody has to look at it."""
OUT_OF_STOCK, DECLINED, TIMEOUT, BY_HAND = "out-of-stock", "payment-declined", "payment-timeout", "cancelled-by-hand"
PAYMENT_TIMER = "payment"

Phase = Literal["reserving", "authorising", "confirming", "confirmed", "shipped", "cancelled"]


class Fulfilment(msgspec.Struct, frozen=True):
    """Of one order. `wanted` is pieces by product, `reserved` those products that are, `answered` of how many the stock has said
    yes or no. `payment` is what the payment has come to; its id is the order's. `is_owed`: the provider was told in vain what to
    do with the money, and somebody has to see to it."""

    order_id: str
    total: int
    currency: str
    token: str
    wanted: dict[str, int]
    reserved: tuple[str, ...] = ()
    answered: int = 0
    phase: Phase = "reserving"
    payment: Literal["none", "requested", "settled", "captured"] = "none"
    is_owed: bool = False


def evolve(order: Fulfilment | None, event: Event) -> Fulfilment | None:
    if isinstance(event, OrderPlaced):
        wanted: dict[str, int] = {}
        for line in event.lines:
            wanted[line.sku] = wanted.get(line.sku, 0) + line.quantity
        return Fulfilment(event.order_id, event.total, event.currency, event.payment_token, wanted)
    if order is None:
        return None
    changed = msgspec.structs.replace
    match event:
        case StockReserved(sku=sku):
            order = changed(order, reserved=(*order.reserved, sku), answered=order.answered + 1)
            is_all = order.phase == "reserving" and len(order.reserved) == len(order.wanted)
            return changed(order, phase="authorising") if is_all else order
        case CommandRejected(type="ReserveStock"):
            return changed(order, answered=order.answered + 1)
        case PaymentRequested():
            return changed(order, payment="requested")
        case PaymentAuthorised():
            return changed(order, phase="confirming") if order.phase == "authorising" else order
        case PaymentDeclined() | PaymentVoided():
            return changed(order, payment="settled")
        case PaymentCaptured():
            return changed(order, payment="captured")
        case OrderConfirmed():
            return changed(order, phase="confirmed")
        case OrderShipped():
            return changed(order, phase="shipped")
        case OrderCancelled():
            return changed(order, phase="cancelled")
        case CallGivenUp(effect=effect) if effect != "authorise":
            return changed(order, is_owed=True)
        case InstanceRetried():
            return changed(order, is_owed=False)
    return order


def react(order: Fulfilment, event: Event) -> list[Reaction]:
    order_id, is_cancelled = order.order_id, order.phase == "cancelled"
    match event:
        case OrderPlaced():
            return [ReserveStock(sku, order_id, quantity) for sku, quantity in order.wanted.items()]
        case StockReserved(sku=sku) if is_cancelled:
            return [ReleaseStock(sku, order_id, "the order is cancelled")]
        case StockReserved() if order.phase == "authorising":
            return [AuthorisePayment(order_id, order_id, order.total, order.currency, order.token)]
        case CommandRejected(type="ReserveStock"):
            return [CancelOrder(order_id, OUT_OF_STOCK)]
        case PaymentRequested() if is_cancelled:
            return [VoidPayment(order_id, "the order is cancelled")]
        case PaymentRequested(amount=amount, currency=currency, token=token):
            asked = AskAuthorisation(order_id, amount, currency, token)
            return [Call("authorise", asked), After(PAYMENT_TIMER, PAYMENT_SECONDS_MAX)]
        case PaymentAuthorised() if not is_cancelled:
            return [NoMore(PAYMENT_TIMER), ConfirmOrder(order_id)]
        case PaymentDeclined():
            return [NoMore(PAYMENT_TIMER), CancelOrder(order_id, DECLINED)]
        case TimerFired(timer="payment") if not is_cancelled:
            return [VoidPayment(order_id, TIMEOUT), CancelOrder(order_id, TIMEOUT)]
        case PaymentVoided(reference=reference) | AuthorisationCameLate(reference=reference):
            return [Call("void", AskVoid(order_id, reference))]
        case OrderCancelled(reason=reason):
            released: list[Command] = [ReleaseStock(sku, order_id, reason) for sku in order.reserved]
            void = [VoidPayment(order_id, reason)] if order.payment == "requested" else []
            return [NoMore(PAYMENT_TIMER), *released, *void]
        case OrderShipped():
            return [*(IssueStock(sku, order_id) for sku in order.wanted), CapturePayment(order_id)]
        case PaymentCaptured(reference=reference, amount=amount):
            return [Call("capture", AskCapture(order_id, reference, amount))]
        case OrderReturned(lines=lines, total=total, reason=reason):
            restocked = [ReceiveStock(line.sku, line.quantity, f"returned {order_id}"[:200]) for line in lines]
            return [*restocked, *([RefundPayment(order_id, total, reason)] if total else [])]
        case PaymentRefunded(reference=reference, amount=amount):
            return [Call("refund", AskRefund(order_id, reference, order.total, amount))]
        case InstanceCancelled():
            return [CancelOrder(order_id, BY_HAND)]
    return []


def is_done(order: Fulfilment) -> bool:
    """A cancelled order when all products have answered and its payment is settled; any other when it is paid. Whatever comes
    back later is seen to as it comes."""
    if order.is_owed:
        return False
    if order.phase == "cancelled":
        return order.answered == len(order.wanted) and order.payment != "requested"
    return order.phase == "shipped" and order.payment == "captured"


def _order_of(event: Event) -> str | None:
    if isinstance(event, OrderPlaced) and event.fulfilment != "automatic":
        return None
    order_id: str = event.order_id  # type: ignore[attr-defined]
    return order_id


FULFILMENT = Process(
    name="fulfilment",
    state=Fulfilment,
    on=(
        OrderPlaced,
        OrderConfirmed,
        OrderShipped,
        OrderCancelled,
        OrderReturned,
        StockReserved,
        PaymentRequested,
        PaymentAuthorised,
        PaymentDeclined,
        AuthorisationCameLate,
        PaymentCaptured,
        PaymentVoided,
        PaymentRefunded,
    ),
    key=_order_of,
    evolve=evolve,
    react=react,
    is_done=is_done,
    limit_seconds=LIMIT_SECONDS,
)
