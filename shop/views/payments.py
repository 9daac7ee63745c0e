"""`payments`: what was asked of each payment, what the provider said, and where the money is."""

from __future__ import annotations

from typing import get_args

import msgspec

from twofold.kernel.view import About, View
from twofold.shop.payment import (
    PaymentAuthorised,
    PaymentCaptured,
    PaymentDeclined,
    PaymentRefunded,
    PaymentRequested,
    PaymentStatus,
    PaymentVoided,
)

Paid = PaymentRequested | PaymentAuthorised | PaymentDeclined | PaymentCaptured | PaymentVoided | PaymentRefunded
"""What gives a payment another status."""


class PaymentRow(msgspec.Struct, frozen=True):
    """`amount`, `captured` and `refunded` are minor units of `currency`. `reason` says why it was declined,
    voided or refunded last."""

    payment_id: str
    order_id: str
    status: PaymentStatus
    amount: int
    currency: str
    captured: int = 0
    refunded: int = 0
    reference: str = ""
    reason: str = ""


def keys(event: Paid, about: About) -> tuple[str]:
    return (event.payment_id,)


def evolve(row: PaymentRow | None, event: Paid, about: About) -> PaymentRow | None:
    if isinstance(event, PaymentRequested):
        return PaymentRow(event.payment_id, event.order_id, "requested", event.amount, event.currency)
    if row is None:
        return None
    row = msgspec.structs.replace(row, status=payment_status_after(event))
    match event:
        case PaymentAuthorised():
            return msgspec.structs.replace(row, reference=event.reference)
        case PaymentCaptured():
            return msgspec.structs.replace(row, captured=event.amount)
        case PaymentRefunded():
            return msgspec.structs.replace(row, refunded=row.refunded + event.amount, reason=event.reason)
    return msgspec.structs.replace(row, reason=event.reason)


def payment_status_after(event: Paid) -> PaymentStatus:
    """What a payment is after this happened to it."""
    match event:
        case PaymentRequested():
            return "requested"
        case PaymentAuthorised():
            return "authorised"
        case PaymentDeclined():
            return "declined"
        case PaymentCaptured():
            return "captured"
        case PaymentVoided():
            return "voided"
    return "refunded" if event.is_complete else "partly-refunded"


PAYMENTS = View[PaymentRow, Paid](
    name="payments",
    key="payment_id",
    row=PaymentRow,
    on=get_args(Paid),
    keys=keys,
    evolve=evolve,
    indexes=("order_id", "status"),
)
