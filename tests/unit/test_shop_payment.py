"""What becomes of a payment, whatever the provider says, and whenever it says it."""

from __future__ import annotations

import pytest

from twofold.kernel.messages import Command, Event
from twofold.shop.payment import (
    PAYMENT,
    AuthorisationCameLate,
    AuthorisePayment,
    CapturePayment,
    PaymentAuthorised,
    PaymentCaptured,
    PaymentDeclined,
    PaymentRefunded,
    PaymentRequested,
    PaymentVoided,
    RecordAuthorisation,
    RefundPayment,
    VoidPayment,
)
from twofold.shop.views.payments import PAYMENTS, PaymentRow
from twofold.testing import given, rows

ASK = AuthorisePayment("p", "7", 900, "GBP", "tok_ok")
REQUESTED = PaymentRequested("p", "7", 900, "GBP", "tok_ok")
YES, NO = RecordAuthorisation("p", True, "ref"), RecordAuthorisation("p", False, "", "no money")
AUTHORISED = PaymentAuthorised("p", "7", 900, "ref")
DECLINED = PaymentDeclined("p", "7", "no money")
CAPTURED = PaymentCaptured("p", "7", 900, "ref")
TIMED_OUT, VOIDED = PaymentVoided("p", "7", "", "payment-timeout"), PaymentVoided("p", "7", "ref", "cancelled")
PART = PaymentRefunded("p", "7", 400, "ref", "broken", False)
REST = PaymentRefunded("p", "7", 500, "ref", "broken", True)
LATE = AuthorisationCameLate("p", "7", "ref")

PAST: dict[str, tuple[Event, ...]] = {
    "requested": (REQUESTED,),
    "declined": (REQUESTED, DECLINED),
    "authorised": (REQUESTED, AUTHORISED),
    "timed out": (REQUESTED, TIMED_OUT),
    "voided": (REQUESTED, AUTHORISED, VOIDED),
    "captured": (REQUESTED, AUTHORISED, CAPTURED),
    "partly refunded": (REQUESTED, AUTHORISED, CAPTURED, PART),
    "refunded": (REQUESTED, AUTHORISED, CAPTURED, PART, REST),
}


def test_a_payment_is_requested_once() -> None:
    given(PAYMENT).when(ASK).then(REQUESTED)
    for past in PAST.values():
        given(PAYMENT, *past).when(ASK).nothing_happened()
        given(PAYMENT, *past).when(AuthorisePayment("p", "7", 901, "GBP", "tok_ok")).rejected("already-requested")


@pytest.mark.parametrize("command", [YES, NO, CapturePayment("p"), VoidPayment("p", ""), RefundPayment("p", 1, "")], ids=str)
def test_nothing_is_done_with_a_payment_that_nobody_asked_for(command: Command) -> None:
    given(PAYMENT).when(command).rejected("no-such-payment")


@pytest.mark.parametrize(
    ("past", "yes", "no"),
    [
        ("requested", AUTHORISED, DECLINED),
        ("declined", LATE, None),
        ("authorised", None, None),
        ("timed out", LATE, None),
        ("voided", None, None),
        ("captured", None, None),
        ("refunded", None, None),
    ],
)
def test_what_the_provider_says_counts_once_and_what_comes_late_is_told(past: str, yes: Event | None, no: Event | None) -> None:
    """A yes that nobody waits for holds somebody's money until it is voided: there has to be an event to react to."""
    given(PAYMENT, *PAST[past]).when(YES).then(*([yes] if yes else []))
    given(PAYMENT, *PAST[past]).when(NO).then(*([no] if no else []))
    if yes:
        given(PAYMENT, *PAST[past], yes).when(YES).nothing_happened()


@pytest.mark.parametrize("past", sorted(PAST.keys() - {"requested"}))
def test_a_second_authorisation_comes_late_whatever_became_of_the_first(past: str) -> None:
    other = RecordAuthorisation("p", True, "another")
    given(PAYMENT, *PAST[past]).when(other).then(AuthorisationCameLate("p", "7", "another"))
    given(PAYMENT, *PAST[past], AuthorisationCameLate("p", "7", "another")).when(other).nothing_happened()


@pytest.mark.parametrize(
    ("past", "capture", "void"),
    [
        ("requested", "not-authorised", TIMED_OUT),
        ("declined", "not-authorised", None),
        ("authorised", CAPTURED, VOIDED),
        ("timed out", "not-authorised", None),
        ("voided", "not-authorised", None),
        ("captured", None, "already-captured"),
        ("partly refunded", None, "already-captured"),
        ("refunded", None, "already-captured"),
    ],
)
def test_money_is_captured_or_let_go_never_both(past: str, capture: Event | str | None, void: Event | str | None) -> None:
    reason = "payment-timeout" if past == "requested" else "cancelled"
    for command, expected in ((CapturePayment("p"), capture), (VoidPayment("p", reason), void)):
        became = given(PAYMENT, *PAST[past]).when(command)
        if isinstance(expected, str):
            became.rejected(expected)
        else:
            became.then(*([expected] if expected else []))


def test_never_more_is_refunded_than_was_captured() -> None:
    given(PAYMENT, *PAST["captured"]).when(RefundPayment("p", 400, "broken")).then(PART)
    given(PAYMENT, *PAST["partly refunded"]).when(RefundPayment("p", 500, "broken")).then(REST)
    given(PAYMENT, *PAST["captured"]).when(RefundPayment("p", 901, "")).rejected("more-than-captured", amount=901, left=900)
    given(PAYMENT, *PAST["partly refunded"]).when(RefundPayment("p", 501, "")).rejected("more-than-captured", left=500)
    given(PAYMENT, *PAST["refunded"]).when(RefundPayment("p", 1, "")).rejected("more-than-captured", left=0)
    for past in ("requested", "declined", "authorised", "timed out", "voided"):
        given(PAYMENT, *PAST[past]).when(RefundPayment("p", 1, "")).rejected("not-captured")


@pytest.mark.parametrize(
    ("past", "status", "captured", "refunded", "reference", "reason"),
    [
        ("requested", "requested", 0, 0, "", ""),
        ("declined", "declined", 0, 0, "", "no money"),
        ("authorised", "authorised", 0, 0, "ref", ""),
        ("timed out", "voided", 0, 0, "", "payment-timeout"),
        ("voided", "voided", 0, 0, "ref", "cancelled"),
        ("captured", "captured", 900, 0, "ref", ""),
        ("partly refunded", "partly-refunded", 900, 400, "ref", "broken"),
        ("refunded", "refunded", 900, 900, "ref", "broken"),
    ],
)
def test_the_view_shows_where_the_money_is(
    past: str, status: object, captured: int, refunded: int, reference: str, reason: str
) -> None:
    shown = rows(PAYMENTS, *PAST[past], LATE)
    assert shown == {"p": PaymentRow("p", "7", status, 900, "GBP", captured, refunded, reference, reason)}  # type: ignore[arg-type]
