"""The instances of a process, as rows of a view: so they are folded, leased, parked, rebuilt, audited and asked for as rows are.

    running ── is_done ──> done          running ── InstanceCancelled, and it has nothing to compensate ──> cancelled
       ^                                    │
       └── InstanceRetried ── stuck <───────┘ a call of it was given up

What an event has the process do is told beside the row (`Tell`): whoever only looks at rows hears nothing of it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from datetime import datetime, timedelta
from typing import Any, Literal, TypeAlias
from uuid import UUID, uuid5

import msgspec

from twofold.kernel.envelope import Envelope, fingerprint_of
from twofold.kernel.log import Decision
from twofold.kernel.messages import Command, tag_of
from twofold.kernel.process import (
    INSTANCE,
    INSTANCE_EVENTS,
    After,
    AnyProcess,
    At,
    Call,
    CallGivenUp,
    InstanceCancelled,
    InstanceEvent,
    InstanceRetried,
    NoMore,
    NoteRejection,
    OfInstance,
    Reaction,
    TimerFired,
)
from twofold.kernel.view import About, AnyView, View

VIEW_PREFIX = "process_"
"""Begins the name of the view of a process' instances; no other view may be called so. On disk."""
REACTION_NAMESPACE = UUID("0b7a0d1c-8f0e-5d55-9c0b-5a2f4c1e7d42")
"""Part of every id of what a process does: on disk for ever, never to be changed."""

PRINCIPAL_PREFIX = "process:"
"""Begins the principal of every command that a process sends; the instance follows, as in its stream's name."""

InstanceStatus = Literal["running", "stuck", "done", "cancelled"]
Sent: TypeAlias = Command | Call
Tell = Callable[[About, Sequence[Sent]], None]
"""Hears what is to be sent because of an event, in order; `about.key` is the instance."""


class GivenUp(msgspec.Struct, frozen=True):
    """A call that waits for a retry."""

    effect: str
    request: dict[str, Any]
    error: str


class Instance(msgspec.Struct, frozen=True):
    """What stands in every row of an instance, beside its `state`, which is of the process' own kind. `heard_at`: when the last
    event that concerns it was recorded. `due`: when the first of its timers is. `correlation_id` is that of the event it began
    with."""

    key: str
    status: InstanceStatus
    since: datetime
    heard_at: datetime
    due: datetime | None = None
    timers: dict[str, datetime] = {}
    given_up: dict[str, GivenUp] = {}
    correlation_id: str = ""


def instances_of(process: AnyProcess, tell: Tell | None = None) -> AnyView:
    """The view of a process' instances, by key. Its fold tells what is to be sent, each time it folds an event."""
    named = "".join(part.capitalize() for part in process.name.split("_")) + "Instance"  # documents have one shape under a name
    row = msgspec.defstruct(named, [("state", process.state)], bases=(Instance,), frozen=True, kw_only=True)

    def keys(event: Any, about: About) -> Sequence[str]:
        if isinstance(event, InstanceEvent):
            return [event.key] if event.process == process.name else []
        key = process.key(event)
        return [] if key is None else [key]

    def evolve(before: Any, event: Any, about: About) -> Any:
        if isinstance(event, InstanceEvent) and (before is None or _is_stale(before, event)):
            return before
        state = process.evolve(None if before is None else before.state, event)
        if state is None:
            return None
        is_over = before is not None and before.status == "cancelled"
        reactions: list[Reaction] = [] if is_over else list(process.react(state, event))
        again = list(_again(before, event))
        if tell is not None and (sent := [one for one in [*again, *reactions] if isinstance(one, Command | Call)]):
            tell(about, sent)
        given_up = _given_up(before, event)
        is_left = isinstance(event, InstanceCancelled) and not reactions and before is not None and state == before.state
        status = _status(process.is_done(state), is_over or is_left, bool(given_up))
        timers = _timers(before, event, reactions, about) if status in ("running", "stuck") else {}
        since = about.recorded_at if before is None else before.since
        due = min(timers.values(), default=None)
        return row(
            key=about.key,
            status=status,
            since=since,
            heard_at=about.recorded_at,
            due=due,
            timers=timers,
            given_up=given_up,
            correlation_id=about.correlation_id if before is None else before.correlation_id,
            state=state,
        )

    return View(
        name=f"{VIEW_PREFIX}{process.name}",
        key="key",
        row=row,
        on=(*process.on, *INSTANCE_EVENTS),
        keys=keys,
        evolve=evolve,
        indexes=("status",),
        orders=("due", "heard_at"),
        compounds=(("status", "heard_at"),),
        revision=process.revision,
    )


def reaction_id(process: str, about: About, ordinal: int) -> str:
    """The id of the `ordinal`th thing that is sent because of an event: a repeat of it is a duplicate, never a second wish. When
    the event was recorded tells it from one that stood there in a log that lost its tail."""
    moment = f"{about.recorded_at.timestamp():.6f}"
    return str(uuid5(REACTION_NAMESPACE, f"{process}\0{about.key}\0{about.position}\0{moment}\0{ordinal}"))


def timer_id(process: str, key: str, timer: str, due: datetime) -> str:
    """The id of the command that fires it."""
    return str(uuid5(REACTION_NAMESPACE, f"{process}\0{key}\0{timer}\0{due.timestamp():.6f}"))


def principal_of(process: str, key: str) -> str:
    """In whose name an instance acts."""
    return f"{PRINCIPAL_PREFIX}{process}/{key}"


def is_of_a_process(envelope: Envelope) -> bool:
    return envelope.principal.startswith(PRINCIPAL_PREFIX)


def rejection_of(decision: Decision) -> Envelope:
    """What tells an instance, in its own stream, that a command it sent is rejected: decided and committed with that outcome."""
    envelope, code = decision.envelope, decision.code or ""
    instance = envelope.principal.removeprefix(PRINCIPAL_PREFIX)
    process, _, key = instance.partition("/")
    data, details = msgspec.json.decode(envelope.data), dict(decision.details or {})
    command_id = str(uuid5(REACTION_NAMESPACE, f"{envelope.command_id}\0rejected"))
    return command_to_instance(
        NoteRejection(instance, process, key, envelope.command_id, envelope.type, data, code, details),
        command_id,
        envelope.accepted_at,
        envelope.correlation_id,
        envelope.command_id,
    )


def command_to_instance(
    command: OfInstance, command_id: str, accepted_at: datetime, correlation_id: str | None, causation_id: str | None = None
) -> Envelope:
    """A command of the platform to an instance's own stream."""
    tag, data = tag_of(type(command)), msgspec.json.encode(command)
    return Envelope(
        command_id=command_id,
        type=tag,
        stream=INSTANCE.stream_of(command),
        data=msgspec.Raw(data),
        fingerprint=fingerprint_of(tag, data),
        accepted_at=accepted_at,
        principal=principal_of(command.process, command.key),
        correlation_id=correlation_id,
        causation_id=causation_id,
    )


def _is_stale(before: Any, event: InstanceEvent) -> bool:
    return isinstance(event, TimerFired) and before.timers.get(event.timer) != event.due


def _again(before: Any, event: Any) -> Iterator[Call]:
    """The calls that are made again because of it, each under its old id: whoever was asked may have done it already."""
    if isinstance(event, InstanceRetried):
        for call_id, given_up in before.given_up.items():
            yield Call(given_up.effect, given_up.request, call_id)


def _given_up(before: Any, event: Any) -> dict[str, GivenUp]:
    known: dict[str, GivenUp] = {} if before is None else before.given_up
    if isinstance(event, InstanceRetried):
        return {}
    if isinstance(event, CallGivenUp):
        return known | {event.call_id: GivenUp(event.effect, event.request, event.error)}
    return known


def _status(is_done: bool, is_cancelled: bool, has_given_up: bool) -> InstanceStatus:
    if is_done:
        return "done"
    if is_cancelled:
        return "cancelled"
    return "stuck" if has_given_up else "running"


def _timers(before: Any, event: Any, reactions: Sequence[Reaction], about: About) -> dict[str, datetime]:
    timers: dict[str, datetime] = {} if before is None else dict(before.timers)
    if isinstance(event, TimerFired):
        del timers[event.timer]
    for reaction in reactions:
        match reaction:
            case After(timer, seconds):
                timers[timer] = about.recorded_at + timedelta(seconds=seconds)
            case At(timer, due):
                timers[timer] = due
            case NoMore(timer):
                timers.pop(timer, None)
    return timers
