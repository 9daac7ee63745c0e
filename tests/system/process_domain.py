"""A domain for the gateway's tests of processes: errands that wait, fail, poison their own instance, and are called off."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from twofold.kernel.decider import Decider
from twofold.kernel.messages import Command, Event
from twofold.kernel.process import After, InstanceCancelled, InstanceEvent, NoMore, Process, Reaction, TimerFired

MENDED: list[bool] = []
"""Not empty: a poisonous errand is none any more."""
LIMIT_SECONDS = 3_600.0


class Bug(Exception):
    """What a process' own mistake looks like."""


class Begin(Command, frozen=True):
    errand_id: str
    minutes: float = 0.0
    is_poison: bool = False
    undo: bool = False


class End(Command, frozen=True):
    errand_id: str


class Begun(Event, frozen=True):
    errand_id: str
    minutes: float
    is_poison: bool
    undo: bool


class Ended(Event, frozen=True):
    errand_id: str


class Errand(msgspec.Struct, frozen=True):
    errand_id: str
    undo: bool = False
    is_ended: bool = False


def decide(state: None, command: Begin | End) -> list[Begun | Ended]:
    if isinstance(command, End):
        return [Ended(command.errand_id)]
    return [Begun(command.errand_id, command.minutes, command.is_poison, command.undo)]


def evolve(errand: Errand | None, event: Begun | Ended | InstanceEvent) -> Errand | None:
    match event:
        case Begun():
            if event.is_poison and not MENDED:
                raise Bug("a process with a bug")
            return Errand(event.errand_id, event.undo)
        case Ended() if errand is not None:
            return msgspec.structs.replace(errand, is_ended=True)
    return errand


def react(errand: Errand, event: Begun | Ended | InstanceEvent) -> Iterator[Reaction]:
    match event:
        case Begun(minutes=minutes) if minutes:
            yield After("late", minutes * 60)
            yield After("later", minutes * 120)
        case Ended():
            yield NoMore("late")
        case TimerFired() | InstanceCancelled() if errand.undo:
            yield End(errand.errand_id)


ERRAND = Decider[None, Begin | End, Begun | Ended](
    "errand", "errand_id", (Begin, End), (Begun, Ended), None, decide, lambda state, event: None
)
ERRANDS = Process[Errand, Begun | Ended](
    name="errands",
    state=Errand,
    on=(Begun, Ended),
    key=lambda event: event.errand_id,
    evolve=evolve,
    react=react,
    is_done=lambda errand: errand.is_ended,
    limit_seconds=LIMIT_SECONDS,
)
REMINDERS = Process[Errand, Begun | Ended](
    name="reminders",
    state=Errand,
    on=(Begun,),
    key=lambda event: None,
    evolve=evolve,
    react=react,
)

DECIDERS, VIEWS, PROCESSES = (ERRAND,), (), (ERRANDS, REMINDERS)
