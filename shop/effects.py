"""What the shop asks of the outside (shop/calls.py), and how: a payment provider, and whoever delivers notices.

A payment is authorised, captured and voided at most once, so the provider's key for each of these is made of the payment: also a
call that is asked for twice, in two words, is done once. A refund may come again, and so has the call's own key.
"""

from __future__ import annotations

from twofold.kernel.effects import AnyEffect, Attempt, Effect
from twofold.shop.calls import AskAuthorisation, AskCapture, AskRefund, AskVoid, Notice
from twofold.shop.notification import RecordNotification, notification_key
from twofold.shop.outside.notices import Letter, channel_of
from twofold.shop.outside.simulated import provider_of
from twofold.shop.payment import RecordAuthorisation

AUTHORISE_SECONDS = 2.5
"""The slow ones take one. Somebody waits for it."""
MONEY_SECONDS = 5.0
MONEY_TRIES = 30
"""What is captured, voided or refunded was promised: some twenty minutes of trying, before somebody has to look."""
MAIL_SECONDS = 20.0


def authorise(call: AskAuthorisation, attempt: Attempt) -> RecordAuthorisation:
    provider, key = provider_of(attempt.settings), f"{call.payment_id}/authorise"
    said = provider.authorise(key, call.payment_id, call.amount, call.currency, call.token, _within(attempt))
    return RecordAuthorisation(call.payment_id, said.approved, said.reference, said.reason)


def capture(call: AskCapture, attempt: Attempt) -> None:
    provider_of(attempt.settings).capture(f"{call.payment_id}/capture", call.reference, call.amount, _within(attempt))


def void(call: AskVoid, attempt: Attempt) -> None:
    key = f"{call.payment_id}/void/{call.reference}"
    provider_of(attempt.settings).void(key, call.payment_id, call.reference, _within(attempt))


def refund(call: AskRefund, attempt: Attempt) -> None:
    """What is given back was taken before: here, where nobody has come to it yet."""
    capture(AskCapture(call.payment_id, call.reference, call.captured), attempt)
    provider_of(attempt.settings).refund(attempt.key, call.reference, call.amount, _within(attempt))


def notify(call: Notice, attempt: Attempt) -> RecordNotification | None:
    """None when there is nobody to write to. A customer is written to under his id, if that is an address."""
    subject = f"Your order {call.order_id}: {call.kind}"
    message = Letter(attempt.key, call.kind, call.order_id, call.customer_id, subject, text_of(call))
    if not channel_of(attempt.settings["TWOFOLD_NOTIFY_URL"]).deliver(message, _within(attempt)):
        return None
    return RecordNotification(notification_key(call.order_id, call.kind), call.order_id, call.kind, attempt.key)


def text_of(call: Notice) -> str:
    order, detail = f"your order {call.order_id}", call.detail or "no reason was given"
    match call.kind:
        case "confirmed":
            told = f"we have everything for {order}, and it is paid. It will leave soon."
        case "cancelled":
            told = f"{order} was cancelled: {detail}."
        case "shipped":
            told = f"{order} is on its way with {call.detail}."
        case "refunded":
            major, minor = divmod(call.amount, 100)
            told = f"you get back {major}.{minor:02} for {order}: {detail}."
    return f"Dear customer,\n\n{told}\n"


def _within(attempt: Attempt) -> float:
    """A little sooner than the time is over: whoever gives up by himself says why, and leaves no thread behind."""
    return attempt.deadline_seconds * 0.8


EFFECTS: tuple[AnyEffect, ...] = (
    Effect("authorise", AskAuthorisation, authorise, deadline_seconds=AUTHORISE_SECONDS),
    Effect("capture", AskCapture, capture, deadline_seconds=MONEY_SECONDS, tries_max=MONEY_TRIES),
    Effect("void", AskVoid, void, deadline_seconds=MONEY_SECONDS, tries_max=MONEY_TRIES),
    Effect("refund", AskRefund, refund, deadline_seconds=MONEY_SECONDS, tries_max=MONEY_TRIES),
    Effect("notify", Notice, notify, deadline_seconds=MAIL_SECONDS, tries_max=MONEY_TRIES),
)
