"""What processes ask for is durable before their checkpoints move; and timers are fired when they are due."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any, cast

import msgspec
import pytest

from tests.contract.projections import BEGIN, Log, QuietBell, until
from twofold import After, Call, Command, CommandRejected, Decider, Effect, Event, Process, Rejected
from twofold.folding import SentThrough
from twofold.kernel.builds import Build
from twofold.kernel.codec import Codec, encode
from twofold.kernel.domain import domain_of
from twofold.kernel.effects import AskedCall
from twofold.kernel.envelope import Envelope, fingerprint_of
from twofold.kernel.errors import Neighbour, Unavailable
from twofold.kernel.ids import new_command_id
from twofold.kernel.instances import timer_id
from twofold.kernel.ports import LogPages, ViewStore
from twofold.kernel.process import CallGivenUp, InstanceRetried
from twofold.kernel.rows import Generation
from twofold.processes.reactions import Reactions
from twofold.processes.timers import AGAIN_SECONDS, Timers
from twofold.readmodels.projection.projector import Projector
from twofold.subscriptions.log_cache import log_of
from twofold.testing.clock import ManualClock
from twofold.testing.memory_bus import MemoryBell, MemoryOutcomes
from twofold.testing.memory_log import MemoryLog
from twofold.testing.memory_rows import MemoryViewStore
from twofold.workers.execute import Executor

VIEW = "process_ask"


class Wish(Event, frozen=True):
    key: str
    what: str


class Do(Command, frozen=True):
    key: str
    what: str


class Note(msgspec.Struct, frozen=True):
    text: str


class State(msgspec.Struct, frozen=True):
    wishes: tuple[str, ...] = ()


class Rig:
    """A process that does what it is told, folded step by step."""

    def __init__(self) -> None:
        self.bugs: set[str] = set()
        self.sent: list[Envelope] = []
        self.calls: list[AskedCall] = []
        self.failures = 0
        self.sent_before_commit: list[int] = []
        self.log, self.store, self.clock = Log(), MemoryViewStore(), ManualClock(BEGIN)
        process = Process[State, Wish]("ask", State, (Wish,), lambda event: event.key, self._evolve, self._react)
        decider = Decider[int, Do, Wish]("wish", "key", (Do,), (Wish,), 0, lambda n, c: [Wish(c.key, c.what)], lambda n, e: n)
        effect = Effect[Note]("note", Note, lambda request, attempt: None)
        module = SimpleNamespace(__name__="w", DECIDERS=(decider,), VIEWS=(), PROCESSES=(process,), EFFECTS=(effect,))
        self.domain = domain_of(cast(Any, module))
        self.codec = Codec(self.domain)
        self.generation = self.store.make(self.domain.views[VIEW], 2)
        self.sent_through = SentThrough({})
        self.projector = self._projector()

    def _evolve(self, state: State | None, event: Any) -> State:
        what = getattr(event, "what", type(event).__name__)
        return State((*(state.wishes if state else ()), what))

    def _react(self, state: State, event: Any) -> list[Any]:
        what = getattr(event, "what", "")
        if what in self.bugs:
            raise RuntimeError(what)
        if what.startswith("after"):
            return [After("t", float(what.removeprefix("after")))]
        if what.startswith("note"):
            return [Call("note", Note(what))]
        if what.startswith("odd"):
            return [Call("odd", Note(what)) if what == "odd call" else Note("no command")]
        return [Do(event.key, f"{what}!")] if what and not what.endswith("!") else []

    def _projector(self) -> Any:
        reactions = Reactions(self.domain, self.codec, self.clock, self._send, self, self.sent_through.through)
        store = cast(ViewStore, reactions.sent_by(self.store))
        views = list(reactions.views.values())
        projector = Projector(log_of(cast(LogPages, self.log), self.codec, views), store, [views], QuietBell(), 10)
        projector.hold(self.generation.slice_ids())
        return projector

    def _send(self, envelopes: Sequence[Envelope]) -> None:
        self.sent += envelopes
        self.sent_before_commit += [min(self.store.positions(VIEW).values())]
        if self.failures:
            self.failures -= 1
            raise Unavailable(Neighbour.BROKER, "not confirmed")

    def put(self, calls: Sequence[AskedCall], delay_seconds: float = 0.0) -> None:
        self.calls += calls

    def step(self) -> None:
        subscription = self.projector._subscriptions[0]
        while subscription.round():
            pass

    def wishes(self, key: str) -> tuple[str, ...]:
        rows = self.store.load(VIEW, [key])
        return cast(Any, rows[key].value).state.wishes if key in rows else ()

    def positions(self) -> set[int]:
        return set(self.store.positions(VIEW).values())


@pytest.fixture
def rig() -> Rig:
    return Rig()


def wish(rig: Rig, *wishes: str, key: str = "1") -> None:
    for what in wishes:
        rig.log.append(Wish(key, what), f"wish-{key}")


def test_a_call_that_is_made_again_by_hand_is_the_same_call(rig: Rig) -> None:
    """Whoever was asked may have done it, and only the answer was lost: by its key he can tell, and gives no money back twice."""
    wish(rig, "note")
    rig.step()
    [first] = rig.calls
    rig.log.append(CallGivenUp("ask", "1", first.call_id, "note", {"text": "note"}, "no answer"), "process-ask/1")
    rig.log.append(InstanceRetried("ask", "1", "it is back"), "process-ask/1")
    rig.step()
    assert [call.call_id for call in rig.calls] == [first.call_id] * 2
    assert rig.calls[1].number == 1 and rig.calls[1].asked_at > first.asked_at


def test_what_is_asked_for_is_durable_before_the_checkpoint_moves(rig: Rig) -> None:
    wish(rig, "tea", "milk")
    rig.step()
    assert [(one.type, one.stream, bytes(one.data)) for one in rig.sent] == [
        ("Do", "wish-1", b'{"key":"1","what":"tea!"}'),
        ("Do", "wish-1", b'{"key":"1","what":"milk!"}'),
    ]
    assert rig.sent_before_commit == [0], "once a step, and nothing was committed then"
    assert rig.positions() == {2}
    first = rig.sent[0]
    assert (first.principal, first.causation_id, first.correlation_id, first.accepted_at) == ("process:ask/1", "id", "id", BEGIN)
    assert first.fingerprint and first.expected_version is None


def test_what_may_not_be_durable_is_sent_again_under_the_same_ids(rig: Rig) -> None:
    wish(rig, "tea")
    rig.failures = 1
    with pytest.raises(Unavailable):
        rig.step()
    assert rig.positions() == {0}, "nothing moves before it is"
    rig.projector._readers[0].forget()
    rig.step()
    assert rig.positions() == {1}
    assert [one.command_id for one in rig.sent] == [rig.sent[0].command_id] * 2
    assert rig.sent[0].fingerprint == rig.sent[1].fingerprint


def test_who_begins_where_another_died_repeats_him_word_for_word(rig: Rig) -> None:
    """The commands of the dead one are in their lanes: the inbox answers these with the first outcome."""
    wish(rig, "tea", "milk")
    rig.failures = 1
    with pytest.raises(Unavailable):
        rig.step()
    rig.projector = rig._projector()
    rig.step()
    ids = [one.command_id for one in rig.sent]
    assert ids[:2] == ids[2:] and len(set(ids)) == 2


def test_a_bug_parks_its_instance_alone_and_what_it_owes_is_sent_when_it_is_mended(rig: Rig) -> None:
    rig.bugs = {"tea"}
    wish(rig, "tea", "milk")
    wish(rig, "water", key="2")
    rig.step()
    assert [bytes(one.data) for one in rig.sent] == [b'{"key":"2","what":"water!"}']
    assert [one.key for one in rig.store.parked_lines(VIEW)] == ["1"]
    assert rig.positions() == {3}
    rig.bugs.clear()
    rig.store.request_retry(VIEW, "1")

    def drained() -> bool:
        rig.step()
        return len(rig.sent) > 2

    until(drained, "the line is worked off")
    assert [bytes(one.data) for one in rig.sent[1:]] == [b'{"key":"1","what":"tea!"}', b'{"key":"1","what":"milk!"}']
    assert rig.wishes("1") == ("tea", "milk")


@pytest.mark.parametrize(
    ("what", "told"),
    [("odd", "Note"), ("odd call", "which is not among the domain's EFFECTS")],
)
def test_what_nobody_could_do_parks_its_instance(rig: Rig, what: str, told: str) -> None:
    wish(rig, what)
    rig.step()
    if what == "odd":
        assert rig.sent == [] and not rig.store.parked_lines(VIEW), "what is no reaction is none"
    else:
        assert told in rig.store.parked(VIEW)[0].error
    assert rig.sent == []


def test_calls_are_put_where_they_are_performed(rig: Rig) -> None:
    wish(rig, "note this")
    rig.step()
    (call,) = rig.calls
    assert (call.effect, call.process, call.key, bytes(call.request)) == ("note", "ask", "1", b'{"text":"note this"}')
    assert (call.causation_id, call.asked_at) == ("id", BEGIN + timedelta(seconds=1))


def test_what_is_built_beside_sends_only_what_the_live_one_has_not(rig: Rig) -> None:
    """Else a rebuild would send the whole past again."""
    wish(rig, "tea", "milk")
    rig.step()
    sent = len(rig.sent)
    view = rig.domain.views[VIEW]
    rig.store.rebuild(view, 0.0, 0.0)
    builds = rig.store.builds([VIEW])
    beside = next(one for one in builds if one.generation.state == "building")
    rig.sent_through.look(builds)
    rig.store = rig.store.beside()
    rig.store.attach(view, beside)
    rig.generation = beside.generation
    wish(rig, "more")
    rig.projector = rig._projector()
    rig.step()
    assert [bytes(one.data) for one in rig.sent[sent:]] == [b'{"key":"1","what":"more!"}']
    assert rig.wishes("1") == ("tea", "milk", "more")


def test_a_process_reacts_to_what_happens_after_it_was_first_deployed() -> None:
    live = Build(Generation(VIEW, 3, 1, "live"), "s", 70)
    sent = SentThrough({"ask": 50})
    assert (sent.through(VIEW, 1), sent.through("process_new", 1)) == (50, 0)
    sent.look([live, Build(Generation(VIEW, 4, 1, "building"), "s", 10)])
    assert (sent.through(VIEW, 3), sent.through(VIEW, 4)) == (50, 70)
    sent.look([Build(Generation(VIEW, 3, 1, "live"), "s", 20)])
    assert sent.through(VIEW, 4) == 50, "never before it began"


def timers(rig: Rig, seconds: Callable[[], float], due: list[float] | None = None) -> Timers:
    observe = (due if due is not None else []).append
    return Timers(rig.store, rig.clock, rig._send, lambda: ["ask"], observe, seconds)


def test_what_is_due_is_fired_once_and_again_where_it_did_not_come_back(rig: Rig) -> None:
    now = [100.0]
    seen: list[float] = []
    ticking = timers(rig, lambda: now[0], seen)
    for number in range(1_203):
        wish(rig, f"after{number % 10 + 10}", key=f"k{number}")
    rig.step()
    ticking.look()
    assert rig.sent == [] and seen == [0.0]
    rig.clock.advance(5_000)
    ticking.look()
    assert len(rig.sent) == len({one.command_id for one in rig.sent}) == 1_203
    assert seen[1] > 3_000
    ticking.look()
    assert len(rig.sent) == 1_203, "it is on its way"
    now[0] += AGAIN_SECONDS + 1
    ticking.look()
    assert len(rig.sent) == 2 * 1_203, "it may have been lost"
    assert len({one.command_id for one in rig.sent}) == 1_203
    fired = rig.sent[0]
    assert (fired.type, fired.principal[:12], fired.stream[:12]) == ("FireTimer", "process:ask/", "process-ask/")
    data = msgspec.json.decode(fired.data)
    due = datetime.fromisoformat(data["due"])
    assert fired.command_id == timer_id("ask", data["key"], "t", due)
    assert due.tzinfo == UTC


def test_timers_that_nobody_here_looks_after_are_left(rig: Rig) -> None:
    wish(rig, "after1")
    rig.step()
    rig.clock.advance(5_000)
    Timers(rig.store, rig.clock, rig._send, list).look()
    assert rig.sent == []


def test_a_process_hears_in_the_same_transaction_that_its_command_was_rejected() -> None:
    """Neither a crash nor a lost message comes between a no and whoever has to do something about it."""
    log, bell = MemoryLog(), MemoryBell()
    executor = Executor(DOMAIN, Codec(DOMAIN), log, bell, MemoryOutcomes())
    asked = envelope_of("process:ask/k1", "no")
    executor.execute([envelope_of("anonymous", "no"), asked, envelope_of("process:ask/k1", "yes")])
    events = log.page(0, 10).events
    assert [(one.stream, one.type) for one in events] == [("wish-1", "Wish"), ("process-ask/k1", "CommandRejected")]
    told = Codec(DOMAIN).event(events[1])
    assert told == CommandRejected("ask", "k1", asked.command_id, "Do", {"key": "1", "what": "no"}, "no-way", {"why": "no"})
    assert (events[1].meta.correlation_id, events[1].meta.causation_id) == ("c" * 8, asked.command_id)
    assert executor.execute([asked])[0].status == "rejected"
    assert len(log.page(0, 10).events) == 2, "once, however often it is asked again"


def _no(state: int, command: Do) -> list[Wish]:
    if command.what == "no":
        raise Rejected("no-way", why="no")
    return [Wish(command.key, command.what)]


def _module() -> Any:
    decider = Decider[int, Do, Wish]("wish", "key", (Do,), (Wish,), 0, _no, lambda n, e: n)
    process = Process[State, Wish]("ask", State, (Wish,), lambda event: event.key, lambda s, e: State(), lambda s, e: [])
    return SimpleNamespace(__name__="w", DECIDERS=(decider,), VIEWS=(), PROCESSES=(process,))


DOMAIN = domain_of(_module())


def envelope_of(principal: str, what: str) -> Envelope:
    data = encode(Do("1", what))
    name, correlation = new_command_id(), "c" * 8
    return Envelope(name, "Do", "wish-1", msgspec.Raw(data), fingerprint_of("Do", data), BEGIN, principal, correlation)
