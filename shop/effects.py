"""What the shop asks of the outside: a payment provider (shop/outside/provider.py) and whoever delivers notices.

A payment is authorised, captured and voided at most once, so the provider's key for each of these is made of the payment: also a
call that is asked for twice, in two words, is done once. A refund may come again, and so has the call's own key.
"""

from __future__ import annotations

import msgspec

from twofold.kernel.effects import AnyEffect, Attempt, Effect
from twofold.shop.notification import RecordNotification, notification_key
from twofold.shop.outside.notices import Kind, Notice, channel_of
from twofold.shop.outside.simulated import provider_of
from twofold.shop.payment import RecordAuthorisation

AUTHORISE_SECONDS = 2.5
"""The slow ones take one. Somebody waits for it."""
MONEY_SECONDS = 5.0
MONEY_TRIES = 30
"""What is captured, voided or refunded was promised: some twenty minutes of trying, before somebody has to look."""
MAIL_SECONDS = 20.0
WITHOUT_MINOR = ["BIF", "CLP", "DJF", "GNF", "ISK", "JPY", "KMF", "KRW", "PYG", "RWF", "UGX", "VND", "VUV", "XAF", "XOF", "XPF"]
OF_THOUSANDS = ["BHD", "IQD", "JOD", "KWD", "LYD", "OMR", "TND"]
"""Of ISO 4217, those whose minor unit is not a hundredth."""


class AuthoriseCall(msgspec.Struct, frozen=True):
    """Comes back as RecordAuthorisation."""

    payment_id: str
    amount: int
    currency: str
    token: str


class CaptureCall(msgspec.Struct, frozen=True):
    payment_id: str
    reference: str
    amount: int


class VoidCall(msgspec.Struct, frozen=True):
    """`reference`: of one authorisation. A payment may have a second one, which came late."""

    payment_id: str
    reference: str


class RefundCall(msgspec.Struct, frozen=True):
    payment_id: str
    reference: str
    amount: int


class NotifyCall(msgspec.Struct, frozen=True):
    """Comes back as RecordNotification, unless there is nobody to write to. `to` is an address, `name` the customer's; the rest
    as far as its kind has it: `reason` (cancelled), `carrier`, `tracking_number` (shipped), `amount`, `currency` (refunded)."""

    order_id: str
    kind: Kind
    to: str = ""
    name: str = ""
    reason: str = ""
    carrier: str = ""
    tracking_number: str = ""
    amount: int = 0
    currency: str = ""


def authorise(call: AuthoriseCall, attempt: Attempt) -> RecordAuthorisation:
    provider, key = provider_of(attempt.settings), f"{call.payment_id}/authorise"
    said = provider.authorise(key, call.payment_id, call.amount, call.currency, call.token, _within(attempt))
    return RecordAuthorisation(call.payment_id, said.approved, said.reference, said.reason)


def capture(call: CaptureCall, attempt: Attempt) -> None:
    provider_of(attempt.settings).capture(f"{call.payment_id}/capture", call.reference, call.amount, _within(attempt))


def void(call: VoidCall, attempt: Attempt) -> None:
    provider_of(attempt.settings).void(f"{call.reference}/void", call.reference, _within(attempt))


def refund(call: RefundCall, attempt: Attempt) -> None:
    provider_of(attempt.settings).refund(attempt.key, call.reference, call.amount, _within(attempt))


def notify(call: NotifyCall, attempt: Attempt) -> RecordNotification | None:
    notice = Notice(attempt.key, call.kind, call.order_id, call.to, f"Your order {call.order_id}: {call.kind}", text_of(call))
    if not channel_of(attempt.settings["TWOFOLD_NOTIFY_URL"]).deliver(notice, _within(attempt)):
        return None
    return RecordNotification(notification_key(call.order_id, call.kind), call.order_id, call.kind, attempt.key)


def text_of(call: NotifyCall) -> str:
    match call.kind:
        case "confirmed":
            told = f"we have everything for your order {call.order_id}, and it is paid. It will leave soon."
        case "cancelled":
            told = f"your order {call.order_id} was cancelled: {call.reason or 'no reason was given'}."
        case "shipped":
            told = f"your order {call.order_id} is on its way with {call.carrier}, {call.tracking_number}."
        case "refunded":
            told = f"we have given back {money(call.amount, call.currency)} for your order {call.order_id}."
    return f"Dear {call.name or 'customer'},\n\n{told}\n"


def money(amount: int, currency: str) -> str:
    """Minor units as people write them."""
    digits = 0 if currency in WITHOUT_MINOR else 3 if currency in OF_THOUSANDS else 2
    major, minor = divmod(amount, 10**digits)
    return f"{major}.{minor:0{digits}} {currency}" if digits else f"{major} {currency}"


def _within(attempt: Attempt) -> float:
    """A little sooner than the time is over: whoever gives up by himself says why, and leaves no thread behind."""
    return attempt.deadline_seconds * 0.8


EFFECTS: tuple[AnyEffect, ...] = (
    Effect("authorise", AuthoriseCall, authorise, deadline_seconds=AUTHORISE_SECONDS),
    Effect("capture", CaptureCall, capture, deadline_seconds=MONEY_SECONDS, tries_max=MONEY_TRIES),
    Effect("void", VoidCall, void, deadline_seconds=MONEY_SECONDS, tries_max=MONEY_TRIES),
    Effect("refund", RefundCall, refund, deadline_seconds=MONEY_SECONDS, tries_max=MONEY_TRIES),
    Effect("notify", NotifyCall, notify, deadline_seconds=MAIL_SECONDS, tries_max=MONEY_TRIES),
)
