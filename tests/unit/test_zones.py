"""Datetimes: a command names a moment or is refused, an event is folded as it will be read, a row is seen in UTC."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone
from typing import Any, Generic, TypedDict, TypeVar
from zoneinfo import ZoneInfo

import msgspec
import pytest
from hypothesis import example
from hypothesis import given as for_all
from hypothesis import strategies as st

from examples.counter import VIEWS
from tests.contract.meetings import BERLIN, EAST, MEETING, Meet, Meeting, Met, Slot, codec, meetings, met
from twofold.kernel.codec import Codec
from twofold.kernel.decider import Decider
from twofold.kernel.domain import domain_of
from twofold.kernel.envelope import Envelope
from twofold.kernel.errors import Malformed
from twofold.kernel.log import Decision, Loaded, Meta, Recorded
from twofold.kernel.messages import Command, Event
from twofold.kernel.snapshots import StateCodec
from twofold.kernel.zones import as_read_in, made_in, naive_in, utc_decoder, utc_in
from twofold.testing import given, rows
from twofold.workers.deciding import UnitOfWork

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
AT = datetime(2027, 3, 8, 1, tzinfo=EAST)
NAIVE = datetime(2027, 3, 8, 1)
CODEC = codec(meetings())
DOMAIN = CODEC._domain

T = TypeVar("T")


@dataclass(frozen=True)
class Kept:
    at: datetime
    times: int = 1


class Named(TypedDict):
    at: datetime


class Boxed(msgspec.Struct, Generic[T]):
    held: T


class Chain(msgspec.Struct, rename="camel"):
    begins_at: datetime
    left: list[Chain] = []
    kept: Kept | None = None
    named: Named | None = None
    one: Boxed[datetime] | None = None
    many: Boxed[frozenset[datetime]] | None = None


class Plain(msgspec.Struct):
    name: str
    left: list[Plain] = []
    rest: Any = None


def decided(meeting_id: str, at: datetime = AT, past: tuple[Recorded, ...] = ()) -> tuple[Decision, UnitOfWork]:
    stream = f"meeting-{meeting_id}"
    data = msgspec.json.encode({"meeting_id": meeting_id, "at": at})
    envelope = Envelope("c", "Meet", stream, msgspec.Raw(data), "f", NOON)
    work = UnitOfWork(DOMAIN, CODEC, {}, [envelope])
    work.fold(stream, Loaded({stream: list(past)} if past else {}, {}))
    return work.decide(envelope), work


def recorded(data: bytes) -> Recorded:
    return Recorded(1, "meeting-m", 1, "Met", data, Meta("c", "p"), NOON)


@pytest.mark.parametrize(
    ("change", "pointer"),
    [
        ({"at": NAIVE}, "/at"),
        ({"slots": [{"begins": AT}, {"begins": NAIVE}]}, "/slots/1/begins"),
        ({"slots": [{"begins": NAIVE, "note": "x"}]}, "/slots/0/begins"),
    ],
)
def test_a_command_that_names_no_moment_is_refused_at_the_door(change: dict[str, Any], pointer: str) -> None:
    """Inside it would become a fact that no row can hold, for ever."""
    with pytest.raises(Malformed, match="Expected `datetime` with a timezone component") as refused:
        CODEC.command("Meet", msgspec.json.encode({"meeting_id": "m", "at": AT} | change))
    assert refused.value.pointer == pointer


def test_a_field_may_say_that_it_means_no_moment() -> None:
    command = CODEC.command("Meet", msgspec.json.encode({"meeting_id": "m", "at": AT, "nights": NAIVE}))
    assert isinstance(command, Meet) and command.nights == NAIVE


@pytest.mark.parametrize(
    ("meeting_id", "told"),
    [
        ("naive", "a Met was made whose datetime at /at has no time zone"),
        ("deeply naive", "a Met was made whose datetime at /slots/1/begins has no time zone"),
        ("other", "decider meeting made a Met whose meeting_id is 'someone-else', for a command to 'other'"),
    ],
)
def test_an_event_that_should_never_be_a_fact_parks_its_command(meeting_id: str, told: str) -> None:
    """And says so in a test of the domain, before anybody runs it."""
    decision, _ = decided(meeting_id)
    assert (decision.status, decision.code, decision.events) == ("parked", "bug", ())
    assert told in (decision.error or "")
    with pytest.raises(ValueError, match=told):
        given(MEETING).when(Meet(meeting_id, AT))


def test_an_event_without_the_key_stands_where_its_command_sent_it() -> None:
    assert decided("keyless")[0].status == "succeeded"


class Number(Command, frozen=True):
    number: int


class Numbered(Event, frozen=True):
    number: str | None


@pytest.mark.parametrize(("number", "status"), [("7", "succeeded"), (None, "succeeded"), ("07", "parked"), ("8", "parked")])
def test_an_event_names_its_aggregate_as_its_stream_does(number: str | None, status: str) -> None:
    """Whatever type the key has in either; one that names none names no other."""

    def decide(state: None, command: Number) -> list[Numbered]:
        return [Numbered(number)]

    decider = Decider[Any, Any, Any]("number", "number", (Number,), (Numbered,), None, decide, lambda state, event: None)
    module: Any = type("module", (), {"__name__": "numbers", "DECIDERS": (decider,), "VIEWS": ()})
    domain = domain_of(module)
    envelope = Envelope("c", "Number", "number-7", msgspec.Raw(b'{"number":7}'), "f", NOON)
    work = UnitOfWork(domain, Codec(domain), {}, [envelope])
    work.fold("number-7", Loaded({}, {}))
    assert work.decide(envelope).status == status


def test_facts_of_old_without_a_zone_are_read_as_ever() -> None:
    """The log is never rewritten, and a stream that has one goes on."""
    old = recorded(msgspec.json.encode(Met("m", NAIVE)))
    assert CODEC.event(old) == Met("m", NAIVE)
    assert decided("m", past=(old,))[0].status == "succeeded"
    assert given(MEETING, Met("m", NAIVE)).state == NAIVE


def test_a_state_in_memory_is_the_one_that_the_log_gives() -> None:
    """A zone's rules are not in JSON: days later, beyond a change of the clocks, it would be another hour."""
    decision, work = decided("local")
    read = CODEC.event(recorded(bytes(decision.events[0].data)))
    in_memory = work.folded["meeting-local"].state
    assert repr(in_memory) == repr(MEETING.evolve(None, read)) == repr(AT.replace(hour=0, tzinfo=timezone(timedelta(hours=1))))
    made = given(MEETING).when(Meet("local", AT)).events
    assert repr(made) == repr([read]) and made == [Met("local", AT.astimezone(BERLIN))]


def test_a_state_with_an_offset_is_kept_beside_the_log() -> None:
    def evolve(state: Met | None, event: Met) -> Met | None:
        return event

    states = StateCodec(Decider[Any, Any, Any]("meeting", "meeting_id", (Meet,), (Met,), None, MEETING.decide, evolve))
    state = CODEC.event(recorded(msgspec.json.encode(Met("m", AT, (Slot(AT.astimezone(UTC)),)))))
    assert repr(states.decode(states.encode(state))) == repr(state)


ZONES = st.sampled_from([UTC, BERLIN, ZoneInfo("UTC"), ZoneInfo("Asia/Kolkata"), EAST, timezone(timedelta(hours=2), "summer")])
OFFSETS = st.timedeltas(timedelta(hours=-23), timedelta(hours=23)).map(timezone)


@for_all(st.datetimes(datetime(2, 1, 1), datetime(9998, 1, 1), timezones=ZONES | OFFSETS))
@example(datetime(2027, 10, 31, 2, 30, tzinfo=BERLIN, fold=1))
@example(datetime(1880, 1, 1, tzinfo=BERLIN))
def test_what_was_made_is_what_is_read(at: datetime) -> None:
    """To the letter, and the same moment; JSON alone would cut an offset to whole minutes."""
    as_read = as_read_in(Slot)
    assert as_read is not None
    read = as_read(Slot(at))
    assert repr(read) == repr(msgspec.json.decode(msgspec.json.encode(read), type=Slot))
    assert read.begins - at.astimezone(UTC) == timedelta(0)


@for_all(st.datetimes(datetime(2, 1, 1), datetime(9998, 1, 1), timezones=ZONES | OFFSETS))
def test_a_row_is_what_a_store_gives_back(at: datetime) -> None:
    row = rows(meetings(), Met("m", at, (Slot(at),)))["m"]
    assert repr(row) == repr(utc_decoder(Meeting)(msgspec.json.encode(row)))
    assert row.at - at.astimezone(UTC) == timedelta(0)


def chain(at: datetime, other: datetime) -> Chain:
    inner = Chain(at, [], Kept(at), None, Boxed(at), Boxed(frozenset([at])))
    return Chain(at, [Chain(at), inner], named=Named(at=other))


def test_datetimes_are_found_wherever_a_type_has_them() -> None:
    in_utc, naive = utc_in(Chain), naive_in(Chain)
    assert in_utc is not None and naive is not None
    changed = in_utc(chain(AT, AT))
    assert changed == chain(AT, AT) and "seconds=7200" not in repr(changed)
    assert in_utc(changed) is changed
    assert naive(changed) is None
    assert naive(chain(AT, NAIVE)) == "/named/at"
    assert naive(chain(NAIVE, AT)) == "/beginsAt"
    assert naive(Chain(AT, [Chain(AT), Chain(AT, one=Boxed(NAIVE))])) == "/left/1/one/held"
    assert naive_in(dict[str, datetime])({"a/b": NAIVE}) == "/a~1b"  # type: ignore[misc]


def test_what_is_not_of_its_type_and_the_ends_of_the_calendar_are_left_as_they_are() -> None:
    """A store says what is wrong with a row, and parks its key."""
    first = datetime(1, 1, 1, tzinfo=timezone(timedelta(hours=14)))
    odd: Any = Chain(first, (NAIVE,), "x", 7, {})  # type: ignore[arg-type]
    assert utc_in(Chain)(odd) is odd  # type: ignore[misc]
    assert utc_in(Chain)(None) is None  # type: ignore[misc]


def test_types_without_datetimes_cost_nothing() -> None:
    """Nothing is called for their values."""
    assert utc_in(Plain) is None and as_read_in(Plain) is None and naive_in(Plain) is None and made_in(Plain) is None
    assert VIEWS[0].evolved is VIEWS[0].evolve
    assert utc_decoder(Plain)(b'{"name":"a"}') == Plain("a")
    assert met(1).at.tzinfo is EAST
