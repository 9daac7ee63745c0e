"""A domain whose folds depend on the hour, and on the zone, of times in every place of a row."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta, timezone
from types import SimpleNamespace
from typing import Annotated, Any, NamedTuple, cast
from zoneinfo import ZoneInfo

import msgspec
from msgspec import Meta

from twofold.kernel.codec import Codec
from twofold.kernel.decider import Decider
from twofold.kernel.domain import domain_of
from twofold.kernel.messages import Command, Event
from twofold.kernel.view import About, AnyView, View

BERLIN = ZoneInfo("Europe/Berlin")
EAST = timezone(timedelta(hours=2))


class Slot(msgspec.Struct, frozen=True):
    begins: datetime
    note: str = ""


class Span(NamedTuple):
    begins: datetime
    room: str


class Meet(Command, frozen=True):
    meeting_id: str
    at: datetime
    slots: tuple[Slot, ...] = ()
    nights: Annotated[datetime, Meta(tz=False)] | None = None


class Met(Event, frozen=True):
    meeting_id: str
    at: datetime
    slots: tuple[Slot, ...] = ()


class Moved(Event, frozen=True):
    """It has no key, and no times."""

    room: str


class Meeting(msgspec.Struct, frozen=True):
    """`seen` is what was seen of the row before: of each of its times the hour, and the name of its zone."""

    meeting_id: str
    at: datetime
    local: datetime
    slot: Slot
    slots: list[Slot]
    by_name: dict[str, datetime]
    by_time: dict[datetime, Span]
    one_of: Slot | int | None
    day: date
    clock: time
    seen: tuple[tuple[str, ...], ...] = ()


def times(row: Meeting) -> tuple[str, ...]:
    deep = [*(slot.begins for slot in row.slots), *row.by_name.values(), *row.by_time, *(s.begins for s in row.by_time.values())]
    every = [row.at, row.local, row.slot.begins, *deep, *([row.one_of.begins] if isinstance(row.one_of, Slot) else [])]
    return tuple(f"{at:%H:%M} {at + timedelta(days=150):%H:%M} {at!r}" for at in every) + (f"{row.day!r} {row.clock!r}",)


def evolve_meeting(row: Meeting | None, event: Met, about: About) -> Meeting:
    slot = Slot(event.at)
    return Meeting(
        meeting_id=event.meeting_id,
        at=event.at,
        local=event.at.astimezone(BERLIN),
        slot=slot,
        slots=[slot, *event.slots],
        by_name={"at": event.at},
        by_time={event.at: Span(event.at, "a")},
        one_of=slot,
        day=event.at.date(),
        clock=event.at.time(),
        seen=(*row.seen, times(row)) if row else (),
    )


def meetings(store: str = "sql", sync: str = "async") -> AnyView:
    return View[Any, Any](
        name="meetings",
        key="meeting_id",
        row=Meeting,
        on=(Met,),
        keys=lambda event, about: (event.meeting_id,),
        evolve=evolve_meeting,
        orders=("at",),
        store=cast(Any, store),
        sync=cast(Any, sync),
    )


def decide(state: datetime | None, command: Meet) -> list[Met | Moved]:
    """Its id says what is wrong with it."""
    match command.meeting_id:
        case "naive":
            return [Met("naive", command.at.replace(tzinfo=None))]
        case "deeply naive":
            return [Met("deeply naive", command.at, (Slot(command.at), Slot(command.at.replace(tzinfo=None))))]
        case "other":
            return [Met("someone-else", command.at)]
        case "keyless":
            return [Moved("a")]
        case "local":
            return [Met("local", command.at.astimezone(BERLIN))]
    return [Met(command.meeting_id, command.at, command.slots)]


def evolve(state: datetime | None, event: Met | Moved) -> datetime | None:
    return event.at if isinstance(event, Met) else state


MEETING = Decider[Any, Any, Any]("meeting", "meeting_id", (Meet,), (Met, Moved), None, decide, evolve)


def codec(*views: AnyView) -> Codec:
    return Codec(domain_of(cast(Any, SimpleNamespace(__name__="meetings", DECIDERS=(MEETING,), VIEWS=views))))


def met(day: int) -> Met:
    at = datetime(2027, 3, day, 1, tzinfo=EAST)
    return Met("m", at, (Slot(at + timedelta(hours=1)), Slot(at.astimezone(UTC))))
