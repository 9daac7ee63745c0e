"""The testkit of processes: what it lets pass, and what it does not."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import msgspec
import pytest

from examples.bills import UNPAID_BILL, BillPaid, BillSent, HeldBack, PutOnHold, Release, Unpaid
from twofold import After, At, Call, Command, Event, NoMore, Process
from twofold.kernel.instances import GivenUp
from twofold.kernel.process import CallGivenUp, InstanceCancelled, InstanceRetried, Reaction, TimerFired
from twofold.testing import NOON, process

SENT = BillSent("b1", "ann", 500, 14.0)


class Ping(Event, frozen=True):
    to: str
    says: str = ""


class Pong(Command, frozen=True):
    to: str
    at: datetime | None = None


class Heard(msgspec.Struct, frozen=True):
    said: tuple[str, ...] = ()


class Request(msgspec.Struct, frozen=True):
    to: str


def hear(heard: Heard | None, event: Any) -> Heard:
    said = (heard or Heard()).said
    return Heard((*said, event.timer if isinstance(event, TimerFired) else getattr(event, "says", "?")))


def answer(heard: Heard, event: Any) -> Iterator[Reaction]:
    match event:
        case Ping(says="mail"):
            yield Call("mail", Request(event.to))
        case Ping(says="timers"):
            yield After("second", 120)
            yield At("first", NOON + timedelta(minutes=1))
            yield After("never", 30)
            yield NoMore("never")
        case Ping(says="naive"):
            yield Pong(event.to, datetime(2026, 1, 1))
        case Ping(says="wrong"):
            yield Pong(7)  # type: ignore[arg-type]
        case Ping(says="endless") | TimerFired(timer="endless"):
            yield After("endless", 0)
        case TimerFired(timer="first"):
            yield Pong("first")
            yield After("third", 30)
        case TimerFired() | InstanceCancelled():
            yield Pong(getattr(event, "timer", "cancelled"))


PINGS = Process[Heard, Ping](name="pings", state=Heard, on=(Ping,), key=lambda event: event.to, evolve=hear, react=answer)


def test_a_beginning_may_go_on_in_several_ways() -> None:
    begun = process(UNPAID_BILL).given(SENT)
    assert begun.timers == {"overdue": timedelta(days=14)} and begun.status == "running"
    late = begun.after(days=20).sends(PutOnHold("ann", "b1"))
    assert begun.when(BillPaid("b1")).nothing_happened().is_done
    assert late.state == Unpaid("b1", "ann", is_overdue=True) and late.timers == {} and not late.is_done
    assert begun.state == Unpaid("b1", "ann") and begun.timers == {"overdue": timedelta(days=14)}


def test_timers_fire_in_the_order_in_which_they_fall_due_and_are_reacted_to_at_that_moment() -> None:
    """The third is set when the first fires, and falls due before the second."""
    story = process(PINGS).given(Ping("a", "timers")).after(minutes=5)
    story.sends(Pong("first"), Pong("third"), Pong("second"))
    assert story.state == Heard(("timers", "first", "third", "second"))


def test_time_passes_in_parts_as_it_does_at_once() -> None:
    story = process(PINGS).given(Ping("a", "timers")).after(seconds=59).nothing_happened()
    assert story.timers == {"first": timedelta(seconds=1), "second": timedelta(seconds=61)}
    story.after(seconds=1).sends(Pong("first")).after(seconds=30).sends(Pong("third")).after(hours=1).sends(Pong("second"))


def test_a_timer_that_has_been_due_when_it_was_set_fires_when_time_goes_on() -> None:
    process(PINGS, at=NOON + timedelta(hours=1)).given(Ping("a", "timers")).after().sends(Pong("first"))


def test_instances_do_not_hear_of_each_other() -> None:
    both = process(PINGS).given(Ping("a", "x"), Ping("b", "timers")).after(minutes=1).sends(Pong("first"))
    assert both.state == Heard(("timers", "first")) and both.of("a").state == Heard(("x",))
    assert both.of("nobody").state is None and both.of("a").sends(Pong("first")).status == "running"


def test_calls_are_told_apart_from_commands_and_made_again_when_they_were_given_up() -> None:
    mail = Call("mail", Request("a"))
    story = process(PINGS).when(Ping("a", "mail")).calls(mail).sends()
    stuck = story.when(CallGivenUp("pings", "a", "c1", "mail", {"to": "a"}, "nobody answers"))
    assert stuck.status == "stuck"
    stuck.when(InstanceRetried("pings", "a", "it is back")).calls(Call("mail", {"to": "a"}, "c1"))
    stuck.when(InstanceCancelled("pings", "a", "enough")).sends(Pong("cancelled")).calls()
    assert GivenUp("mail", {"to": "a"}, "nobody answers") in stuck._rows["a"].given_up.values()


def test_a_cancellation_that_is_not_reacted_to_ends_it() -> None:
    story = process(UNPAID_BILL).given(SENT).when(InstanceCancelled("unpaid_bill", "b1", "by hand")).nothing_happened()
    assert story.status == "cancelled"
    story.after(days=100).nothing_happened()


def test_what_is_not_as_expected_is_shown_beside_what_is() -> None:
    story = process(UNPAID_BILL).given(SENT).after(days=14)
    with pytest.raises(AssertionError) as raised:
        story.sends(PutOnHold("bob", "b1"), Release("ann", "b1"))
    told = str(raised.value)
    assert "what unpaid_bill sends after 14 days, 0:00:00 had passed is not" in told
    assert "- PutOnHold(customer_id='bob', bill_id='b1')" in told and "- Release(customer_id='ann', bill_id='b1')" in told
    assert "+ PutOnHold(customer_id='ann', bill_id='b1')" in told
    with pytest.raises(AssertionError, match="does after"):
        story.nothing_happened()
    with pytest.raises(AssertionError, match="calls after Ping"):
        process(PINGS).when(Ping("a", "mail")).calls()
    with pytest.raises(AssertionError, match="sends after"):
        story.sends()


def test_what_the_room_would_park_or_never_hear_fails_loudly() -> None:
    with pytest.raises(TypeError, match="does not hear HeldBack"):
        process(UNPAID_BILL).when(HeldBack("ann", "b1"))  # type: ignore[arg-type]
    for wrong in ("naive", "wrong"):
        with pytest.raises(ValueError, match="process pings sends a Pong that is refused at the door"):
            process(PINGS).when(Ping("a", wrong))
    with pytest.raises(RuntimeError, match="timers fired"):
        process(PINGS).given(Ping("a", "endless")).after(seconds=1)
    with pytest.raises(ValueError, match="back in time"):
        process(PINGS).after(days=-1)


def test_what_concerns_no_instance_and_what_ends_with_nothing_leave_nothing() -> None:
    nobody = replace(UNPAID_BILL, key=lambda event: None)
    assert process(nobody).when(SENT).nothing_happened().state is None
    assert process(UNPAID_BILL).when(BillPaid("b1")).nothing_happened().status is None
