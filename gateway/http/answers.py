"""The shapes of what the gateway answers. The documents at /openapi.json are made from these, so they cannot disagree."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

import msgspec

from twofold.kernel.log import Recorded
from twofold.kernel.outcome import Outcome

encode = msgspec.json.Encoder(enc_hook=repr).encode
"""A state may hold anything; what JSON does not know is shown as Python shows it."""


class Accepted(msgspec.Struct):
    """A command that is durable in its lane."""

    command_id: str
    type: str
    stream: str
    status: Literal["accepted"] = "accepted"


class EventPlace(msgspec.Struct):
    """Where one event of a command stands."""

    position: int
    version: int
    type: str


class Rejection(msgspec.Struct):
    code: str
    details: dict[str, Any] = {}


class CommandStatus(msgspec.Struct, omit_defaults=True, kw_only=True):
    """What became of a command. `type`, `stream` and `accepted_at` of a pending one are null where this gateway was not told.

    `reason` says why a parked one could not be decided.
    """

    command_id: str
    type: str | None
    stream: str | None
    status: Literal["pending", "succeeded", "ignored", "rejected", "parked"]
    version: int | None = None
    position: int | None = None
    events: list[EventPlace] | None = None
    rejection: Rejection | None = None
    reason: str | None = None
    accepted_at: datetime | None
    decided_at: datetime | None = None


class BulkAccepted(msgspec.Struct):
    index: int
    command_id: str


class BulkRefused(msgspec.Struct):
    index: int
    problem: dict[str, Any]


class BulkAnswer(msgspec.Struct):
    """Each item is in exactly one of the two lists, by its index in the request, from 0."""

    accepted: list[BulkAccepted]
    refused: list[BulkRefused]


class ViewState(msgspec.Struct):
    """One view: what may be asked of it, and how far it is."""

    name: str
    key: str
    store: str
    sync: str
    slices: int
    indexes: list[str]
    orders: list[str]
    compounds: list[list[str]]
    position: int
    lag_events: int
    lag_seconds: float
    state: str
    parked_keys: int


class ShownEvent(msgspec.Struct):
    """A fact as it was written."""

    position: int
    stream: str
    version: int
    type: str
    data: msgspec.Raw
    meta: dict[str, Any]
    recorded_at: datetime


class StreamPage(msgspec.Struct):
    stream: str
    version: int
    events: list[ShownEvent]


class StreamState(msgspec.Struct):
    """The fold of a stream's events up to `version`."""

    stream: str
    version: int
    state: Any


class LogPage(msgspec.Struct):
    """Events by position; `next` is what to ask for after."""

    events: list[ShownEvent]
    next: int
    head: int


def status_of(outcome: Outcome) -> CommandStatus:
    """Its events stand at the positions up to the outcome's, in order, and so do their versions."""
    count = len(outcome.events)
    events = [
        EventPlace(outcome.position - count + number, outcome.version - count + number, event_type)
        for number, event_type in enumerate(outcome.events, start=1)
    ]
    is_rejected = outcome.status == "rejected"
    return CommandStatus(
        command_id=outcome.command_id,
        type=outcome.type,
        stream=outcome.stream,
        status=outcome.status,
        version=outcome.version,
        position=outcome.position,
        events=events,
        rejection=Rejection(outcome.code or "", outcome.details or {}) if is_rejected else None,
        reason=None if is_rejected else outcome.code,
        accepted_at=outcome.accepted_at,
        decided_at=outcome.decided_at,
    )


def shown(event: Recorded) -> ShownEvent:
    meta: dict[str, Any] = msgspec.to_builtins(event.meta.spelt_out())
    return ShownEvent(event.position, event.stream, event.version, event.type, msgspec.Raw(event.data), meta, event.recorded_at)
