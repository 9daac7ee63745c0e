"""Instances of processes: what an event makes of one, and what it has it do."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any, cast

import msgspec
import pytest

from examples.bills import UNPAID_BILL as PROCESS
from examples.bills import BillPaid, BillSent, PutOnHold, Release, Unpaid
from twofold import After, At, Call, Command, Event, NoMore, Process
from twofold.kernel.domain import domain_of
from twofold.kernel.errors import Misconfigured
from twofold.kernel.instances import GivenUp, Sent, instances_of, reaction_id, timer_id
from twofold.kernel.messages import tag_of
from twofold.kernel.process import (
    INSTANCE,
    CallGivenUp,
    CancelInstance,
    FireTimer,
    GiveUpCall,
    InstanceCancelled,
    InstanceRetried,
    RetryInstance,
    TimerFired,
)
from twofold.kernel.view import About

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
SENT = BillSent("b1", "c1", 5, 14.0)
DUE = NOON + timedelta(days=14)


class Told:
    """Instances of one process, folded event by event, and what they sent."""

    def __init__(self, process: Any = PROCESS) -> None:
        self.sent: list[tuple[int, Sent]] = []
        self.row: Any = None
        self._view = instances_of(process, self._tell)
        self._position = 0

    def hear(self, *events: Event) -> list[Sent]:
        """What the last of these has it send."""
        for event in events:
            self._position += 1
            moment = NOON + timedelta(seconds=self._position - 1)
            about = About(self._position, "bill-b1", self._position, moment, "", None, f"c{self._position}", f"k{self._position}")
            for key, part in self._view.parts(event, about).items():
                self.row = self._view.evolved(self.row, event, about.of(key, part))
        return [one for position, one in self.sent if position == self._position]

    def _tell(self, about: About, sent: Sequence[Sent]) -> None:
        self.sent += [(about.position, one) for one in sent]


def fired(due: datetime = DUE, timer: str = "overdue", process: str = PROCESS.name) -> TimerFired:
    return TimerFired(process, "b1", timer, due)


def test_an_instance_begins_with_its_first_event_and_remembers_what_it_belongs_to() -> None:
    bill = Told()
    assert bill.hear(SENT) == []
    assert (bill.row.status, bill.row.since, bill.row.heard_at) == ("running", NOON, NOON)
    assert (bill.row.due, bill.row.timers, bill.row.correlation_id) == (DUE, {"overdue": DUE}, "k1")
    assert bill.hear(fired()) == [PutOnHold("c1", "b1")]
    assert bill.row.state == Unpaid("b1", "c1", is_overdue=True)
    assert (bill.row.due, bill.row.timers, bill.row.correlation_id) == (None, {}, "k1")
    assert (bill.row.since, bill.row.heard_at) == (NOON, NOON + timedelta(seconds=1))
    assert bill.hear(BillPaid("b1")) == [Release("c1", "b1")]
    assert bill.row.status == "done"


def test_what_is_done_has_no_timers() -> None:
    bill = Told()
    bill.hear(SENT, BillPaid("b1"))
    assert (bill.row.status, bill.row.timers, bill.row.due) == ("done", {}, None)
    assert bill.hear(fired()) == [], "it was withdrawn"
    assert not bill.row.state.is_overdue


@pytest.mark.parametrize(
    "event",
    [
        fired(NOON),
        fired(timer="another"),
        fired(process="another"),
        TimerFired(PROCESS.name, "b2", "overdue", DUE),
    ],
    ids=["replaced", "never set", "of another process", "of nobody"],
)
def test_a_timer_that_does_not_stand_is_not_heard(event: TimerFired) -> None:
    bill = Told()
    bill.hear(SENT)
    before = bill.row
    if event.key == "b2":
        bill.row = None
        bill.hear(event)
        assert bill.row is None
    else:
        assert bill.hear(event) == []
        assert bill.row == before


def test_what_is_not_known_to_it_makes_no_instance() -> None:
    bill = Told()
    assert bill.hear(BillPaid("b1")) == []
    assert bill.row is None
    for event in (InstanceCancelled(PROCESS.name, "b1", "x"), InstanceRetried(PROCESS.name, "b1", "x"), fired()):
        assert bill.hear(event) == []
        assert bill.row is None


class Asked(msgspec.Struct, frozen=True):
    """How often what was asked of it."""

    last: str = ""
    heard: int = 0


class Ask(Event, frozen=True):
    what: str


class Compensate(Command, frozen=True):
    bill_id: str


def _react(state: Asked, event: Event) -> list[Any]:
    match event:
        case Ask("set"):
            return [After("a", 10.0), At("b", NOON + timedelta(seconds=5))]
        case Ask("again"):
            return [After("a", 1.0)]
        case Ask("withdraw"):
            return [NoMore("b"), NoMore("never")]
        case Ask("call"):
            return [Call("mail", {"to": "x"})]
        case Ask("both"):
            return [Compensate("1"), Call("mail", {"to": "y"}), After("a", 2.0), Compensate("2")]
        case InstanceCancelled() if state.last == "call":
            return [Compensate("3")]
    return []


def asked(event: Any) -> Any:
    return event.what if isinstance(event, Ask) else None


ASKED = Process[Asked, Ask](
    name="asked",
    state=Asked,
    on=(Ask,),
    key=lambda event: None if event.what == "nobody" else "1",
    evolve=lambda state, event: (
        None if asked(event) == "forget" else Asked(asked(event), (state.heard if state else 0) + 1) if asked(event) else state
    ),
    react=_react,
)
GIVEN_UP = CallGivenUp("asked", "1", "id", "mail", {"to": "x"}, "no answer")


def test_timers_are_set_replaced_and_withdrawn_by_name() -> None:
    """At a moment, or so long after the event was recorded, whenever it is folded."""
    one = Told(ASKED)
    one.hear(Ask("set"))
    assert one.row.timers == {"a": NOON + timedelta(seconds=10), "b": NOON + timedelta(seconds=5)}
    assert one.row.due == NOON + timedelta(seconds=5)
    one.hear(Ask("withdraw"))
    assert one.row.timers == {"a": NOON + timedelta(seconds=10)}
    one.hear(Ask("again"))
    assert one.row.timers == {"a": NOON + timedelta(seconds=3)}
    assert one.row.due == NOON + timedelta(seconds=3)


def test_what_is_sent_is_told_in_order_and_timers_are_not() -> None:
    one = Told(ASKED)
    assert one.hear(Ask("both")) == [Compensate("1"), Call("mail", {"to": "y"}), Compensate("2")]


def test_a_call_that_was_given_up_waits_for_a_retry() -> None:
    one = Told(ASKED)
    assert one.hear(Ask("call")) == [Call("mail", {"to": "x"})]
    assert one.hear(GIVEN_UP) == []
    assert one.row.status == "stuck"
    assert one.row.given_up == {"id": GivenUp("mail", {"to": "x"}, "no answer")}
    assert one.hear(Ask("other")) == [] and one.row.status == "stuck"
    assert one.hear(InstanceRetried("asked", "1", "mended")) == [Call("mail", {"to": "x"}, "id")]
    assert (one.row.status, one.row.given_up) == ("running", {})


def test_who_has_nothing_to_compensate_is_over_when_cancelled() -> None:
    one = Told(ASKED)
    one.hear(Ask("set"), InstanceCancelled("asked", "1", "enough"))
    assert (one.row.status, one.row.timers, one.row.due) == ("cancelled", {}, None)
    assert one.hear(Ask("both")) == [], "it does nothing more"
    assert (one.row.status, one.row.state.last) == ("cancelled", "both"), "and hears what happens"


def test_who_compensates_goes_on_until_that_is_done() -> None:
    one = Told(ASKED)
    one.hear(Ask("call"))
    assert one.hear(InstanceCancelled("asked", "1", "enough")) == [Compensate("3")]
    assert one.row.status == "running"


def test_an_instance_is_forgotten_when_its_state_is() -> None:
    one = Told(ASKED)
    assert one.hear(Ask("nobody")) == [] and one.row is None
    one.hear(Ask("set"))
    assert one.hear(Ask("forget")) == [] and one.row is None


def test_ids_tell_every_wish_from_every_other_and_are_the_same_each_time() -> None:
    about = About(7, "s", 1, NOON, "1")
    later = About(7, "s", 1, NOON + timedelta(microseconds=1), "1")
    ids = [
        reaction_id("p", about, 0),
        reaction_id("p", about, 1),
        reaction_id("q", about, 0),
        reaction_id("p", about.of("2", None), 0),
        reaction_id("p", About(8, "s", 1, NOON, "1"), 0),
        reaction_id("p", later, 0),
        timer_id("p", "1", "t", NOON),
        timer_id("p", "1", "u", NOON),
        timer_id("p", "1", "t", NOON + timedelta(microseconds=1)),
        timer_id("p", "2", "t", NOON),
        timer_id("q", "1", "t", NOON),
    ]
    assert len(set(ids)) == len(ids)
    assert ids[0] == "4d291c62-93ca-579a-92d1-578b681bb955", "on disk, for ever"
    assert ids[6] == "884723d7-48d0-59be-a84b-f7874eb8473b"


@pytest.mark.parametrize(
    ("command", "event"),
    [
        (FireTimer("p/1", "p", "1", "t", DUE), TimerFired("p", "1", "t", DUE)),
        (GiveUpCall("p/1", "p", "1", "id", "mail", {"a": 1}, "e"), CallGivenUp("p", "1", "id", "mail", {"a": 1}, "e")),
        (RetryInstance("p/1", "p", "1", "why"), InstanceRetried("p", "1", "why")),
        (CancelInstance("p/1", "p", "1", "why"), InstanceCancelled("p", "1", "why")),
    ],
    ids=lambda one: type(one).__name__,
)
def test_what_happens_to_an_instance_is_a_fact_of_its_own_stream(command: Any, event: Any) -> None:
    assert INSTANCE.stream_of(command) == "process-p/1"
    assert INSTANCE.decided(None, command, NOON) == [event]


def test_a_domain_knows_its_processes_their_rows_and_their_events() -> None:
    module = SimpleNamespace(__name__="d", DECIDERS=(), VIEWS=(), PROCESSES=())
    assert "TimerFired" not in domain_of(cast(Any, module)).events
    import examples.bills

    domain = domain_of(examples.bills)
    assert domain.processes == {"unpaid_bill": PROCESS}
    assert {"TimerFired", "CallGivenUp", "InstanceRetried", "InstanceCancelled"} <= domain.events.keys()
    assert domain.decider_of[tag_of(FireTimer)] is INSTANCE
    assert domain.views["process_unpaid_bill"].sync == "async"


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"name": "a" * 33}, "at most 32 characters"),
        ({"name": "a b"}, "must be at most 40 ASCII letters"),
        ({"state": int}, "state is a class derived from msgspec.Struct"),
        ({"on": BillSent}, "on is a tuple of classes"),
        ({"key": None}, "key is a function"),
        ({"evolve": None}, "evolve is a function"),
        ({"react": None}, "react is a function"),
        ({"is_done": None}, "is_done is a function"),
        ({"limit_seconds": 0}, "limit_seconds is a number of seconds above 0"),
        ({"limit_seconds": "day"}, "limit_seconds is a number of seconds above 0"),
        ({"on": (Ask,)}, "listens to Ask, which no decider makes"),
        ({"revision": 1.5}, "revision is a number or a text"),
    ],
)
def test_a_process_that_cannot_be_is_refused_at_start(changed: dict[str, Any], told: str) -> None:
    from dataclasses import replace

    import examples.bills as bills

    module = SimpleNamespace(__name__="d", DECIDERS=bills.DECIDERS, VIEWS=bills.VIEWS, PROCESSES=(replace(PROCESS, **changed),))
    with pytest.raises(Misconfigured, match=told):
        domain_of(cast(Any, module))


def test_names_that_belong_to_processes_are_nobody_elses() -> None:
    from dataclasses import replace

    import examples.bills as bills

    views = (replace(bills.CUSTOMERS, name="process_x"),)
    with pytest.raises(Misconfigured, match="view process_x has a name that belongs to processes"):
        domain_of(cast(Any, SimpleNamespace(__name__="d", DECIDERS=bills.DECIDERS, VIEWS=views)))
    deciders = (replace(bills.BILL, name="process"), bills.CUSTOMER)
    with pytest.raises(Misconfigured, match="decider process has a name that belongs to processes"):
        domain_of(cast(Any, SimpleNamespace(__name__="d", DECIDERS=deciders, VIEWS=bills.VIEWS)))
    with pytest.raises(Misconfigured, match="two processes are called"):
        domain_of(cast(Any, SimpleNamespace(__name__="d", DECIDERS=bills.DECIDERS, VIEWS=(), PROCESSES=(PROCESS, PROCESS))))
