"""A domain with live views: guests, their stays (streams that a guest's id does not name), and what was said of either."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any, cast

import msgspec

from tests.contract.eventstores import envelope
from twofold.kernel.codec import encode_event
from twofold.kernel.decider import AnyDecider, Decider, Upcaster
from twofold.kernel.domain import Domain, domain_of
from twofold.kernel.ids import new_command_id
from twofold.kernel.log import Decision, Meta, NewEvent
from twofold.kernel.messages import Event
from twofold.kernel.view import About, AnyView, Through, View


class Named(Event, frozen=True):
    """`bug` makes a view raise; version 1 called the name a title."""

    schema_version = 2
    guest_id: str
    name: str


class Booked(Event, frozen=True):
    stay_id: str
    guest_id: str
    nights: int


class Left(Event, frozen=True):
    stay_id: str
    guest_id: str


class Told(Event, frozen=True):
    """Nobody listens to it."""

    text: str


class Stay(msgspec.Struct, frozen=True):
    stay_id: str
    guest_id: str
    nights: int


class Guest(msgspec.Struct, frozen=True):
    """What happened, in the order it came in: an event lost, doubled or out of order shows."""

    guest_id: str
    history: tuple[str, ...] = ()


class Name(msgspec.Struct, frozen=True):
    guest_id: str
    name: str
    version: int = 0


def show_stay(row: Stay | None, event: Booked | Left, about: About) -> Stay | None:
    return Stay(event.stay_id, event.guest_id, event.nights) if isinstance(event, Booked) else row


def show_guest(row: Guest | None, event: Named | Booked | Left, about: About) -> Guest | None:
    row = row or Guest(event.guest_id)
    if isinstance(event, Named):
        if event.name == "bug":
            raise RuntimeError("a view with a bug")
        return Guest(row.guest_id, (*row.history, event.name)) if event.name else None
    word = f"{event.stay_id}+{event.nights}" if isinstance(event, Booked) else f"{event.stay_id}-"
    return Guest(row.guest_id, (*row.history, word))


def show_name(row: Name | None, event: Named, about: About) -> Name | None:
    return Name(event.guest_id, event.name, about.version) if event.name else None


def guest_keys(event: Named | Booked | Left, about: About) -> dict[str, None]:
    return {event.guest_id: None}


STAYS: AnyView = View("stays", "stay_id", Stay, (Booked, Left), lambda event, about: (event.stay_id,), show_stay, ("guest_id",))
NAMES: AnyView = View(
    "names",
    "guest_id",
    Name,
    (Named,),
    guest_keys,
    show_name,
    orders=("version",),
    sync="live",
    streams=lambda guest_id: (f"guest-{guest_id}",),
)
GUESTS: AnyView = View(
    "guests",
    "guest_id",
    Guest,
    (Named, Booked, Left),
    guest_keys,
    show_guest,
    sync="live",
    streams=lambda guest_id: (f"guest-{guest_id}",),
    through=(Through(STAYS, "guest_id", lambda stay: (f"stay-{stay.stay_id}",)),),
)


def rename(data: dict[str, Any]) -> dict[str, Any]:
    return {"guest_id": data["guest_id"], "name": data["title"]}


def hotel(*views: AnyView) -> Domain:
    nothing: Any = lambda state, command: []  # noqa: E731
    deciders: tuple[AnyDecider, ...] = (
        Decider("guest", "guest_id", (), (Named, Told), None, nothing, lambda state, event: None),
        Decider("stay", "stay_id", (), (Booked, Left), None, nothing, lambda state, event: None),
    )
    module = SimpleNamespace(__name__="hotel", DECIDERS=deciders, VIEWS=views, UPCASTERS=(Upcaster("Named", 1, rename),))
    return domain_of(cast(Any, module))


def happened(stream: str, first: int, *events: Event) -> Decision:
    """These facts, at versions from `first` on."""
    command_id = new_command_id()
    made = []
    for version, event in enumerate(events, first):
        name, schema_version, data = encode_event(event)
        made.append(NewEvent(stream, version, name, data, Meta(command_id, "anonymous", schema_version)))
    return Decision(envelope(stream, command_id), "succeeded", first + len(events) - 1, tuple(made))


def said_then(stream: str, version: int, data: bytes) -> Decision:
    """A name as the first version of this domain wrote it."""
    command_id = new_command_id()
    event = NewEvent(stream, version, "Named", data, Meta(command_id, "anonymous", 1))
    return Decision(envelope(stream, command_id), "succeeded", version, (event,))


def stored(view: AnyView) -> AnyView:
    """One word makes it asynchronous."""
    return replace(view, sync="async")
