"""What the shop asks of its provider: once for each payment, whichever call asks, and in words that the log takes."""

from __future__ import annotations

from pathlib import Path

import pytest

from twofold.kernel.codec import Codec
from twofold.kernel.domain import load_domain
from twofold.kernel.effects import Attempt, CallRefused
from twofold.processes.enveloped import enveloped
from twofold.shop.calls import AskAuthorisation, AskCapture, AskRefund, AskVoid, Notice
from twofold.shop.effects import authorise, capture, notify, refund, void
from twofold.shop.outside.simulated import SimulatedProvider, provider_of
from twofold.testing.clock import ManualClock

ASKED = AskAuthorisation("p1", 1_500, "GBP", "tok_ok")


def attempt(folder: Path, key: str) -> Attempt:
    return Attempt(key, 1, 5.0, {"TWOFOLD_PROVIDER_DATA": str(folder), "TWOFOLD_NOTIFY_URL": "log:"})


def test_money_goes_from_held_to_taken_to_given_back_once(tmp_path: Path) -> None:
    """Every call is repeated, each under another key but the refund: that one may come twice on purpose."""
    yes = authorise(ASKED, attempt(tmp_path, "a1"))
    assert authorise(ASKED, attempt(tmp_path, "a2")) == yes and yes.approved
    for key in ("c1", "c2"):
        capture(AskCapture("p1", yes.reference, 1_500), attempt(tmp_path, key))
    for key in ("r1", "r1", "r2"):
        refund(AskRefund("p1", yes.reference, 1_500, 500), attempt(tmp_path, key))
    [held] = SimulatedProvider(tmp_path).holdings()
    assert (held.authorised, held.captured, held.refunded, held.times_captured) == (1_500, 1_500, 1_000, 1)


def test_a_refund_that_overtakes_its_capture_takes_the_money_first(tmp_path: Path) -> None:
    yes = authorise(ASKED, attempt(tmp_path, "a"))
    refund(AskRefund("p1", yes.reference, 1_500, 1_500), attempt(tmp_path, "r"))
    capture(AskCapture("p1", yes.reference, 1_500), attempt(tmp_path, "c"))
    [held] = SimulatedProvider(tmp_path).holdings()
    assert (held.captured, held.refunded, held.times_captured) == (1_500, 1_500, 1)


def test_a_payment_that_is_voided_before_or_after_its_yes_holds_nothing(tmp_path: Path) -> None:
    yes = authorise(ASKED, attempt(tmp_path, "a"))
    void(AskVoid("p1", ""), attempt(tmp_path, "v1"))
    void(AskVoid("p1", yes.reference), attempt(tmp_path, "v2"))
    void(AskVoid("p2", ""), attempt(tmp_path, "v3"))
    late = authorise(AskAuthorisation("p2", 1, "GBP", "tok_hang"), attempt(tmp_path, "b"))
    assert (late.approved, late.reference) == (False, "")
    assert [held.is_voided for held in SimulatedProvider(tmp_path).holdings()] == [True]
    with pytest.raises(CallRefused):
        capture(AskCapture("p1", yes.reference, 1_500), attempt(tmp_path, "c"))


@pytest.mark.parametrize("token", ["tok_ok", "tok_declined", "unheard-of"])
def test_what_comes_back_is_a_command_the_log_takes(tmp_path: Path, token: str) -> None:
    domain = load_domain("twofold.shop")
    said = [
        authorise(AskAuthorisation("p" * 200, 0, "GBP", token), attempt(tmp_path, "a")),
        notify(Notice("o" * 200, "c", "cancelled", "r" * 1_000), attempt(tmp_path, "n")),
    ]
    for command in said:
        assert command is not None
        made = enveloped(domain, Codec(domain), command, "id", ManualClock().now(), "effect:x")
        assert type(command) in domain.decider_of[made.type].internal


def test_the_provider_is_in_the_folder_of_the_deployment_unless_it_has_its_own(tmp_path: Path) -> None:
    both = [{"TWOFOLD_DATA": str(tmp_path)}, {"TWOFOLD_DATA": "elsewhere", "TWOFOLD_PROVIDER_DATA": str(tmp_path / "provider")}]
    assert provider_of(both[0]) is provider_of(both[1])
    assert (tmp_path / "provider" / "payments.jsonl").exists()
