"""What goes into the event log and what comes out of it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

import msgspec
from msgspec.structs import astuple

from twofold.kernel.envelope import Envelope
from twofold.kernel.outcome import Outcome, Status


class Meta(msgspec.Struct, frozen=True, eq=False, omit_defaults=True, gc=False):
    """Where an event comes from. Stored beside it, on disk for ever.

    What goes with a command, and what caused it, is mostly that command: then nothing need be said of it. A log that an earlier
    version may still read says so all the same (`spelt_out`); what is read back is the same either way."""

    command_id: str
    principal: str
    schema_version: int = 1
    correlated: str | None = msgspec.field(default=None, name="correlation_id")
    caused: str | None = msgspec.field(default=None, name="causation_id")

    @property
    def correlation_id(self) -> str:
        return self.correlated or self.command_id

    @property
    def causation_id(self) -> str:
        return self.caused or self.command_id

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Meta) and astuple(self.spelt_out()) == astuple(other.spelt_out())

    def __hash__(self) -> int:
        return hash(astuple(self.spelt_out()))

    def spelt_out(self) -> Meta:
        return Meta(self.command_id, self.principal, self.schema_version, self.correlation_id, self.causation_id)


class NewEvent(msgspec.Struct, frozen=True, gc=False):
    """A fact that has its place in its stream and not yet one in the log. `data` is JSON."""

    stream: str
    version: int
    type: str
    data: bytes
    meta: Meta


class Recorded(msgspec.Struct, frozen=True, gc=False):
    """A fact in the log. `data` is JSON, as it was written."""

    position: int
    stream: str
    version: int
    type: str
    data: bytes
    meta: Meta
    recorded_at: datetime


class LogIdentity(msgspec.Struct, frozen=True):
    """Which log this is. `domain` is "" and `lanes` 0 until somebody adopts it. `event_types` are the wire names and schema
    versions of all events that were ever written."""

    id: str
    domain: str
    lanes: int
    event_types: frozenset[tuple[str, int]]


class LastEvent(NamedTuple):
    """The last event of a stream, as somebody knows it: its version, and what tells it from another that has taken its place.

    A log that is another one now (a replica that had lost the tail, a backup) writes these versions again, later and for other
    commands, or for the same ones, later."""

    version: int
    command_id: str
    recorded_at: datetime
    position: int


def last_of(events: Sequence[Recorded]) -> LastEvent:
    """The last one of these, of which there is one."""
    end = events[-1]
    return LastEvent(end.version, end.meta.command_id, end.recorded_at, end.position)


class Snapshot(NamedTuple):
    """The state of a stream after its event `last`, as its decider folded it: JSON, of a shape (kernel/snapshots.py)."""

    stream: str
    shape: str
    last: LastEvent
    state: bytes


class Loaded(NamedTuple):
    """What was read of many streams: by stream, the events, in version order, and the snapshot that stands for what is before
    them. Of those that are `unread` there may be more behind it; nothing at all is here of a stream that has nothing new."""

    events: dict[str, list[Recorded]]
    snapshots: dict[str, Snapshot]
    unread: frozenset[str] = frozenset()


class Decision(msgspec.Struct, frozen=True):
    """What `execute` asks the store to record for one command: its events and its outcome, before they have positions.

    `version` is that of the stream after the events. `error` is the traceback of a parked command.
    """

    envelope: Envelope
    status: Status
    version: int
    events: tuple[NewEvent, ...] = ()
    code: str | None = None
    details: dict[str, object] | None = None
    error: str | None = None


class Appended(msgspec.Struct, frozen=True):
    """One committed batch: outcomes in the order of the decisions; `head` is the log's last position after it."""

    outcomes: tuple[Outcome, ...]
    head: int
    recorded_at: datetime


class Page(msgspec.Struct, frozen=True):
    """Events in position order. `through` is the last position looked at, also when a filter left it out; `is_cut` when the page
    ends there because of its bytes, so that more may follow although it is not full."""

    events: list[Recorded]
    through: int
    is_cut: bool = False


class ParkedCommand(msgspec.Struct, frozen=True, omit_defaults=True):
    """A command that could not be decided because of a bug, with what is needed to see why and to try again.

    `reason` is one of `codes`: BUG, MALFORMED, KEY_REUSED or KILLED.
    """

    id: int
    envelope: Envelope
    reason: str
    error: str
    parked_at: datetime
