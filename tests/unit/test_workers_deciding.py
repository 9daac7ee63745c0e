"""A batch in the making: order, isolation, honesty of the cached state. No I/O."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from types import ModuleType
from typing import Any

import msgspec

from twofold.kernel import codes
from twofold.kernel.codec import Codec
from twofold.kernel.decider import Decider
from twofold.kernel.domain import domain_of
from twofold.kernel.envelope import Envelope, fingerprint_of
from twofold.kernel.errors import Rejected
from twofold.kernel.log import Decision, Loaded, Meta, Recorded
from twofold.kernel.messages import Command, Event
from twofold.workers.deciding import Folded, States, UnitOfWork
from twofold.workers.execute import _sort_out


class Add(Command, frozen=True):
    counter: str
    by: int


class Added(Event, frozen=True):
    by: int


def decide(total: int, command: Add) -> list[Added]:
    if command.by == 13:
        raise ZeroDivisionError("a bug")
    if command.by == 14:
        return [Added(1), Added(666)]
    if total + command.by > 100:
        raise Rejected("too-much", total=total)
    return [Added(command.by)] if command.by else []


def evolve(total: int, event: Added) -> int:
    if event.by == 666:
        raise ValueError("cannot be folded")
    return total + event.by


module = ModuleType("counting")
module.DECIDERS = (Decider("counter", "counter", (Add,), (Added,), 0, decide, evolve),)  # type: ignore[attr-defined]
module.VIEWS = ()  # type: ignore[attr-defined]
DOMAIN = domain_of(module)
NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


def command(command_id: str, by: Any, counter: str = "a", **more: Any) -> Envelope:
    data = msgspec.json.encode({"counter": counter, "by": by})
    return Envelope(command_id, "Add", f"counter-{counter}", msgspec.Raw(data), fingerprint_of("Add", data), NOON, **more)


def past(*numbers: int, after: int = 0) -> list[Recorded]:
    return [
        Recorded(version, "counter-a", version, "Added", msgspec.json.encode(Added(by)), Meta("c", "p"), NOON)
        for version, by in enumerate(numbers, start=after + 1)
    ]


def decide_all(
    *envelopes: Envelope, known: dict[str, Folded] | None = None, recorded: list[Recorded] | None = None
) -> list[Decision]:
    batch = unit_of_work(known or {}, recorded or [], envelopes)
    return [batch.decide(envelope) for envelope in envelopes]


def unit_of_work(known: dict[str, Folded], recorded: list[Recorded], envelopes: Sequence[Envelope]) -> UnitOfWork:
    """With its streams folded, of which one was read."""
    work = UnitOfWork(DOMAIN, Codec(DOMAIN), known, envelopes)
    for stream in list(work.asked):
        work.fold(stream, Loaded({"counter-a": recorded} if recorded else {}, {}))
    return work


def test_commands_of_one_batch_see_what_the_ones_before_them_did() -> None:
    """Else two commands of one batch would both take the last item."""
    first, second, third = decide_all(command("1", 60), command("2", 60), command("3", 40))
    assert [d.status for d in (first, second, third)] == ["succeeded", "rejected", "succeeded"]
    assert (second.code, second.details, second.version) == ("too-much", {"total": 60}, 1)
    assert [event.version for event in third.events] == [2]


def test_a_bug_parks_its_command_and_no_neighbour() -> None:
    """One bad command must not hold up, or change, what others wished."""
    before, bug, after = decide_all(command("1", 1), command("2", 13), command("3", 2))
    assert (bug.status, bug.code, bug.events) == ("parked", "bug", ())
    assert "ZeroDivisionError: a bug" in (bug.error or "")
    assert [(d.status, d.version) for d in (before, after)] == [("succeeded", 1), ("succeeded", 2)]


def test_an_event_that_cannot_be_folded_is_never_written() -> None:
    """Once in the log it would poison its stream for ever. The good event before it goes too: a command acts whole."""
    bug, after = decide_all(command("1", 14), command("2", 2))
    assert (bug.status, bug.events) == ("parked", ())
    assert after.events[0].version == 1


def test_a_stream_that_cannot_be_folded_parks_its_commands_and_keeps_its_version() -> None:
    parked, other = decide_all(command("1", 1), command("2", 1, counter="b"), recorded=past(5, 666))
    assert (parked.status, parked.version) == ("parked", 2)
    assert other.status == "succeeded"


def test_a_command_no_decider_can_read_is_parked_as_malformed() -> None:
    """It was answered 202, so it must get an outcome, whatever version of the domain this worker runs."""
    (decision,) = decide_all(command("1", "many"))
    assert (decision.status, decision.code) == ("parked", "malformed")


def test_a_cached_state_is_brought_up_to_date_before_it_decides() -> None:
    """A rejection appends nothing, so no version check would ever notice that it was decided on a stale state."""
    (decision,) = decide_all(command("1", 50), known={"counter-a": Folded(1, 10, 0)}, recorded=past(45, after=1))
    assert (decision.code, decision.details) == ("too-much", {"total": 55})


def test_a_command_that_expects_another_version_is_rejected() -> None:
    moved, fits = decide_all(command("1", 1, expected_version=7), command("2", 1, expected_version=2), recorded=past(1, 1))
    assert (moved.status, moved.code, moved.details) == ("rejected", "stream-moved", {"expected": 7, "version": 2})
    assert fits.status == "succeeded"


def test_the_same_command_twice_in_a_batch_is_decided_once() -> None:
    """Deliveries repeat; a batch may hold both copies."""
    fresh, reused = _sort_out(Codec(DOMAIN), [command("1", 1), command("2", 2), command("1", 1)], {})
    assert ([e.command_id for e in fresh], reused) == (["1", "2"], [])


def test_an_idempotency_key_reused_in_the_same_instant_is_reported() -> None:
    fresh, reused = _sort_out(Codec(DOMAIN), [command("1", 1), command("1", 2)], {})
    assert (len(fresh), [e.fingerprint for e in reused]) == (1, [command("1", 2).fingerprint])


def test_a_state_weighs_what_its_events_do_wherever_they_came_from() -> None:
    """What is known, what was read and what was decided, each once: the cache's bound stands on it."""
    recorded = past(1, 2, after=1)
    envelopes = [command("one", 3), command("two", 4), command("none", 0)]
    work = unit_of_work({"counter-a": Folded(1, 1, 1_000)}, recorded, envelopes)
    made = [work.decide(envelope) for envelope in envelopes]
    read = sum(len(event.data) for event in recorded)
    written = sum(len(event.data) for decision in made for event in decision.events)
    assert read > 0 and written > 0
    assert work.folded["counter-a"].size_bytes == 1_000 + read + written


def test_the_bytes_of_states_are_counted_exactly() -> None:
    """One that is replaced or dropped weighs nothing any more; the bound itself is still allowed."""
    states = States(states_max=10, bytes_max=100)
    for size in (25, 20, 10):
        states.put("a", Folded(1, "a", size))
    for name, size in (("b", 25), ("c", 25), ("d", 25), ("e", 15)):
        states.put(name, Folded(1, name, size))
    assert states.get("a") and len(states) == 5
    states.put("f", Folded(1, "f", 1))
    assert states.get("b") is None and states.get("a") and len(states) == 5
    for name in "cc":
        states.drop(name)
    states.put("g", Folded(1, "g", 25))
    states.put("h", Folded(1, "h", 24))
    assert states.get("a") and len(states) == 6


def test_a_state_beyond_its_share_is_not_kept_and_takes_nobodys_place() -> None:
    """One stream that had grown emptied the cache at each of its commands, and every other aggregate was folded anew."""
    states = States(states_max=10, bytes_max=100)
    assert states.put("a", Folded(1, "a", 25)) and states.put("b", Folded(1, "b", 25))
    assert not states.put("b", Folded(2, "b", 26))
    assert states.get("b") is None, "what it was before is out of date"
    assert not states.put("c", Folded(1, "c", 1_000))
    assert states.get("a") and len(states) == 1


def test_states_are_bounded_in_number_and_in_bytes() -> None:
    """A worker's memory must stay flat however many streams pass through it."""
    states = States(states_max=3, bytes_max=60)
    for name in "abcd":
        states.put(name, Folded(1, name, 10))
    assert states.get("a") is None and len(states) == 3
    for name in "fghi":
        states.put(name, Folded(1, name, 15))
    assert len(states) == 3
    for name in "jklm":
        states.put(name, Folded(1, name, 5))
    assert len(states) == 3 and states.get("m") is not None


def test_a_stream_with_an_event_of_a_later_version_is_left_to_who_can_read_it() -> None:
    """In a rolling deploy the old worker took the new event's JSON for its own, or parked the command."""
    later = msgspec.structs.replace(past(45)[0], meta=Meta("c", "p", 2))
    renamed = msgspec.structs.replace(past(45)[0], type="Increased")
    for event, name in ((later, "Added/2"), (renamed, "Increased/1")):
        (decision,) = decide_all(command("1", 5), recorded=[event])
        assert (decision.status, decision.code, decision.error) == ("parked", codes.NOT_KNOWN, name)
