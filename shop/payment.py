"""The payment of an order, as far as it is known here: what the provider was asked, and what it said.

    (none) ── AuthorisePayment ──> requested ── RecordAuthorisation ──> authorised ── CapturePayment ──> captured
                                     │    └────────────────> declined       │                               │ RefundPayment
                                     └── VoidPayment ──> voided <───────────┘            partly-refunded ──> refunded

A provider may answer when nobody waits any more. An authorisation that this payment has no use for, because it is voided or
declined, or stands on another one, is told by `AuthorisationCameLate`: it is to be voided there, where it holds somebody's money.
"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from twofold.kernel.decider import Decider
from twofold.kernel.errors import Rejected
from twofold.kernel.messages import Command, Event
from twofold.shop.values import TOTAL_MAX, Currency, Id, Text, Word

PaymentStatus = Literal["requested", "authorised", "declined", "captured", "voided", "partly-refunded", "refunded"]
HELD = ("authorised", "captured", "partly-refunded", "refunded")
CAPTURED = HELD[1:]
Amount = Annotated[int, Meta(ge=0, le=TOTAL_MAX, description="minor units")]


class PaymentRequested(Event, frozen=True):
    """The provider is to be asked; `token` says with what the customer pays, `amount` is in minor units."""

    payment_id: str
    order_id: str
    amount: int
    currency: str
    token: str


class PaymentAuthorised(Event, frozen=True):
    """The provider holds the money under this reference."""

    payment_id: str
    order_id: str
    amount: int
    reference: str


class PaymentDeclined(Event, frozen=True):
    payment_id: str
    order_id: str
    reason: str


class AuthorisationCameLate(Event, frozen=True):
    """The provider holds money that nobody wants: it is to be voided there. Nothing else changes."""

    payment_id: str
    order_id: str
    reference: str


class PaymentCaptured(Event, frozen=True):
    payment_id: str
    order_id: str
    amount: int
    reference: str


class PaymentVoided(Event, frozen=True):
    """`reference` is empty when the provider has not said yes; if it does later, that comes late."""

    payment_id: str
    order_id: str
    reference: str
    reason: str


class PaymentRefunded(Event, frozen=True):
    """`amount` of this one; `is_complete` when nothing is left of what was captured."""

    payment_id: str
    order_id: str
    amount: int
    reference: str
    reason: str
    is_complete: bool


class AuthorisePayment(Command, frozen=True):
    payment_id: Id
    order_id: Id
    amount: Amount
    currency: Currency
    token: Id


class RecordAuthorisation(Command, frozen=True):
    """What the provider said; `reference` is its own, empty where it has none for a no."""

    payment_id: Id
    approved: bool
    reference: Word
    reason: Text = ""


class CapturePayment(Command, frozen=True):
    payment_id: Id


class VoidPayment(Command, frozen=True):
    payment_id: Id
    reason: Text


class RefundPayment(Command, frozen=True):
    """All of what was captured, or a part of it; twice the same is twice as much."""

    payment_id: Id
    amount: Annotated[int, Meta(ge=1, le=TOTAL_MAX, description="minor units")]
    reason: Text


class Payment(msgspec.Struct, frozen=True):
    """`reference` is the provider's yes, None without one; `late` that of the last one that came late."""

    requested: PaymentRequested
    status: PaymentStatus = "requested"
    reference: str | None = None
    refunded: int = 0
    late: str | None = None

    @property
    def left(self) -> int:
        """What can be refunded yet."""
        return self.requested.amount - self.refunded if self.status in CAPTURED else 0


def decide(payment: Payment | None, command: Command) -> list[Event]:
    if isinstance(command, AuthorisePayment):
        return _authorise(payment, command)
    if payment is None:
        raise Rejected("no-such-payment")
    match command:
        case RecordAuthorisation():
            return _record(payment, command)
        case CapturePayment():
            return _capture(payment)
        case VoidPayment():
            return _void(payment, command)
        case RefundPayment():
            return _refund(payment, command)
    raise TypeError(type(command).__name__)


def _authorise(payment: Payment | None, command: AuthorisePayment) -> list[Event]:
    requested = PaymentRequested(command.payment_id, command.order_id, command.amount, command.currency, command.token)
    if payment is None:
        return [requested]
    if payment.requested == requested:
        return []
    raise Rejected("already-requested")


def _record(payment: Payment, command: RecordAuthorisation) -> list[Event]:
    """A no changes nothing unless it is the first answer; a second yes is one too many, unless it is the same."""
    payment_id, order_id, amount = command.payment_id, payment.requested.order_id, payment.requested.amount
    is_first = payment.status == "requested"
    if not command.approved:
        return [PaymentDeclined(payment_id, order_id, command.reason)] if is_first else []
    if is_first:
        return [PaymentAuthorised(payment_id, order_id, amount, command.reference)]
    if command.reference in (payment.reference, payment.late):
        return []
    return [AuthorisationCameLate(payment_id, order_id, command.reference)]


def _capture(payment: Payment) -> list[Event]:
    requested = payment.requested
    if payment.status in CAPTURED:
        return []
    if payment.status != "authorised":
        raise Rejected("not-authorised", status=payment.status)
    return [PaymentCaptured(requested.payment_id, requested.order_id, requested.amount, payment.reference or "")]


def _void(payment: Payment, command: VoidPayment) -> list[Event]:
    """Of one that was declined there is nothing to void."""
    if payment.status in ("voided", "declined"):
        return []
    if payment.status in CAPTURED:
        raise Rejected("already-captured", status=payment.status)
    return [PaymentVoided(command.payment_id, payment.requested.order_id, payment.reference or "", command.reason)]


def _refund(payment: Payment, command: RefundPayment) -> list[Event]:
    if payment.status not in CAPTURED:
        raise Rejected("not-captured", status=payment.status)
    if command.amount > payment.left:
        raise Rejected("more-than-captured", amount=command.amount, left=payment.left)
    is_complete = command.amount == payment.left
    order_id, reference = payment.requested.order_id, payment.reference or ""
    return [PaymentRefunded(command.payment_id, order_id, command.amount, reference, command.reason, is_complete)]


def evolve(payment: Payment | None, event: Event) -> Payment | None:
    if isinstance(event, PaymentRequested):
        return Payment(event)
    if payment is None:
        return None
    match event:
        case PaymentAuthorised():
            return msgspec.structs.replace(payment, status="authorised", reference=event.reference)
        case PaymentDeclined():
            return msgspec.structs.replace(payment, status="declined")
        case AuthorisationCameLate():
            return msgspec.structs.replace(payment, late=event.reference)
        case PaymentCaptured():
            return msgspec.structs.replace(payment, status="captured")
        case PaymentVoided():
            return msgspec.structs.replace(payment, status="voided")
        case PaymentRefunded():
            status = "refunded" if event.is_complete else "partly-refunded"
            return msgspec.structs.replace(payment, status=status, refunded=payment.refunded + event.amount)
    return payment


PAYMENT = Decider(
    name="payment",
    key="payment_id",
    commands=(AuthorisePayment, RecordAuthorisation, CapturePayment, VoidPayment, RefundPayment),
    events=(
        PaymentRequested,
        PaymentAuthorised,
        PaymentDeclined,
        AuthorisationCameLate,
        PaymentCaptured,
        PaymentVoided,
        PaymentRefunded,
    ),
    initial=None,
    decide=decide,
    evolve=evolve,
    internal=(AuthorisePayment, RecordAuthorisation, CapturePayment, VoidPayment),
)
