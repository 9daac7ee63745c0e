"""Processes: the third fold. What happened in any stream, folded to what is known of one matter, and what is to be done about it.

    event ── key ──> instance ── evolve ──> state ── react ──> commands, timers, calls to the outside
      ^                                                            │
      └──────────────────────────── the log <──────────────────────┘

Everything that a process hears comes from the log, also that a timer fired, that a command of its was rejected or a call given
up, or that somebody cancelled it: those are events of the instance's own stream. So a process is a fold like everything else;
its instances are rows of a view (kernel/instances.py), built, rebuilt and audited as any rows are.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Generic, TypeAlias, TypeVar

import msgspec

from twofold.kernel.decider import Decider
from twofold.kernel.messages import Command, Event

INSTANCE_SECONDS_MAX = 86_400.0


class After(msgspec.Struct, frozen=True):
    """Have TimerFired come back, so many seconds after the event that is reacted to was recorded. One of the same name is
    replaced."""

    timer: str
    seconds: float


class At(msgspec.Struct, frozen=True):
    """The same at a moment, with its zone."""

    timer: str
    due: datetime


class NoMore(msgspec.Struct, frozen=True):
    """The timer of this name is wanted no more. Nothing happens when there is none."""

    timer: str


class Call(msgspec.Struct, frozen=True):
    """Have one of the domain's EFFECTS performed. What it learns comes back as a command; or, where it was tried in vain, as
    CallGivenUp. `request` is of the effect's own kind, or a JSON object that is. `call_id`: leave it out; one that is made again
    has its own."""

    effect: str
    request: msgspec.Struct | dict[str, Any]
    call_id: str = ""


Reaction: TypeAlias = Command | After | At | NoMore | Call


class InstanceEvent(Event, frozen=True):
    """What happened to one instance of a process. In its own stream, `process-{process}/{key}`."""

    process: str
    key: str


class TimerFired(InstanceEvent, frozen=True):
    """The moment `due` has come. Heard by the process only while that timer stands so: neither replaced nor withdrawn."""

    timer: str
    due: datetime


class CallGivenUp(InstanceEvent, frozen=True):
    """A call was tried in vain as often as its effect allows. It waits for a retry."""

    call_id: str
    effect: str
    request: dict[str, Any]
    error: str


class InstanceRetried(InstanceEvent, frozen=True):
    """Somebody asked for another try: calls that were given up are made again."""

    reason: str


class InstanceCancelled(InstanceEvent, frozen=True):
    """Somebody wants it to end. A process that reacts to it compensates what it has done; any other is over with it."""

    reason: str


class CommandRejected(InstanceEvent, frozen=True):
    """A command that it sent was rejected, with this code: `data` are the command's fields. In the log with that outcome."""

    command_id: str
    type: str
    data: dict[str, Any]
    code: str
    details: dict[str, Any]


class OfInstance(Command, frozen=True):
    """`instance` is `{process}/{key}`, the key of its stream."""

    instance: str
    process: str
    key: str


class FireTimer(OfInstance, frozen=True):
    timer: str
    due: datetime


class GiveUpCall(OfInstance, frozen=True):
    call_id: str
    effect: str
    request: dict[str, Any]
    error: str


class NoteRejection(OfInstance, frozen=True):
    command_id: str
    type: str
    data: dict[str, Any]
    code: str
    details: dict[str, Any]


class RetryInstance(OfInstance, frozen=True):
    reason: str


class CancelInstance(OfInstance, frozen=True):
    reason: str


def _decide(state: None, command: OfInstance) -> list[InstanceEvent]:
    """Each is a fact as it comes: that it counts once is the inbox's promise, whether it matters is for the process to say."""
    made = dict(zip(INSTANCE_COMMANDS, INSTANCE_EVENTS, strict=True))
    told = {name: getattr(command, name) for name in command.__struct_fields__ if name != "instance"}
    return [made[type(command)](**told)]


INSTANCE_EVENTS = (TimerFired, CallGivenUp, CommandRejected, InstanceRetried, InstanceCancelled)
INSTANCE_COMMANDS = (FireTimer, GiveUpCall, NoteRejection, RetryInstance, CancelInstance)
INSTANCE = Decider[None, OfInstance, InstanceEvent](
    name="process",
    key="instance",
    commands=INSTANCE_COMMANDS,
    events=INSTANCE_EVENTS,
    initial=None,
    decide=_decide,
    evolve=lambda state, event: None,
    snapshot_every=0,
    internal=INSTANCE_COMMANDS,
)
"""The decider of every domain that has processes."""

StateT = TypeVar("StateT", bound=msgspec.Struct)
EventT = TypeVar("EventT", bound=Event)


@dataclass(frozen=True)
class Process(Generic[StateT, EventT]):
    """Written as `Process[State, Event](…)`. `state` is the msgspec.Struct that `evolve` returns; `on` are the events it hears,
    beside those of its own instances (TimerFired, CommandRejected, CallGivenUp, InstanceRetried, InstanceCancelled).
    `key(event)` names the instance an event of `on` concerns, None for none.

    `evolve(state | None, event)` returns the next state, None while there is nothing to know. `react(state, event)`, with the
    state that has the event in it, returns what is to be done because of it: commands, timers (After, At, NoMore), calls
    (Call). Both are pure. What is done is done once: its ids are made of the event it is a reaction to.
    It hears and reacts to what is recorded from its first deployment on; what is older is folded without a reaction.
    `is_done(state)`: nothing is left to do, and its timers are no more. `limit_seconds`: without an event for so long while it is
    not done, it is told as stuck. Another `revision` has its instances folded anew.
    """

    name: str
    state: type[StateT]
    on: tuple[type[EventT], ...]
    key: Callable[[EventT], str | None]
    evolve: Callable[[StateT | None, EventT | InstanceEvent], StateT | None]
    react: Callable[[StateT, EventT | InstanceEvent], Iterable[Reaction]]
    is_done: Callable[[StateT], bool] = field(default=lambda state: False)
    limit_seconds: float = INSTANCE_SECONDS_MAX
    revision: int | str = 0


AnyProcess: TypeAlias = Process[Any, Any]
