"""One batch in the making: streams folded once, commands decided in order, each on top of what the ones before it did.

A command's "no" is an outcome. A command's bug parks that command alone: nothing of it is kept, and its neighbours,
also those on the same stream, are decided as if it had never come.

Folded states are kept from batch to batch, so that a busy aggregate is not folded from its beginning for every command. One is
only ever a starting point: before deciding, the executor reads what came after its last event, so a state that another worker has
moved on is brought up to date rather than trusted. And it is read *after that event*: when the log does not hold it any more (a
failover lost the tail, a backup was restored), the state is dropped and the stream folded anew.
"""

from __future__ import annotations

import traceback
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from threading import Lock
from typing import Any, NamedTuple

from twofold.kernel import codes
from twofold.kernel.codec import Codec, encode_event
from twofold.kernel.decider import AnyDecider
from twofold.kernel.domain import Domain
from twofold.kernel.envelope import Envelope
from twofold.kernel.errors import BUGS, Malformed, NotKnown, Rejected
from twofold.kernel.log import Decision, LastEvent, Meta, NewEvent, Recorded
from twofold.kernel.members import name_of

STATES_MAX = 4_096
BYTES_MAX = 64 * 1024 * 1024


class Folded(NamedTuple):
    """A stream's state at a version. `size_bytes` is the JSON its events came from: a measure of what the state weighs. `last` is
    the event it stands on; None when there is none, or when it is not committed yet."""

    version: int
    state: Any
    size_bytes: int
    last: LastEvent | None = None


class States:
    """Least recently used first out; bounded in number and in bytes of events. Thread-safe."""

    def __init__(self, states_max: int = STATES_MAX, bytes_max: int = BYTES_MAX) -> None:
        self._states_max = states_max
        self._bytes_max = bytes_max
        self._bytes = 0
        self._lock = Lock()
        self._folded: OrderedDict[str, Folded] = OrderedDict()

    def get(self, stream: str) -> Folded | None:
        with self._lock:
            folded = self._folded.get(stream)
            if folded is not None:
                self._folded.move_to_end(stream)
            return folded

    def put(self, stream: str, folded: Folded) -> None:
        with self._lock:
            self._forget(stream)
            self._folded[stream] = folded
            self._bytes += folded.size_bytes
            while len(self._folded) > self._states_max or self._bytes > self._bytes_max:
                self._forget(next(iter(self._folded)))

    def drop(self, stream: str) -> None:
        with self._lock:
            self._forget(stream)

    def __len__(self) -> int:
        return len(self._folded)

    def _forget(self, stream: str) -> None:
        folded = self._folded.pop(stream, None)
        if folded is not None:
            self._bytes -= folded.size_bytes


class UnitOfWork:
    """Decides the commands of one batch. `folded` holds the states after it, for the cache, once it is committed."""

    def __init__(
        self, domain: Domain, codec: Codec, known: Mapping[str, Folded], recorded: Mapping[str, Sequence[Recorded]]
    ) -> None:
        self._domain = domain
        self._codec = codec
        self._recorded = recorded
        self.folded: dict[str, Folded] = dict(known)
        self._caught_up: set[str] = set()

    def decide(self, envelope: Envelope) -> Decision:
        """What becomes of this command. Never raises. One that is not known here, or stands on an event that is
        not, is NOT_KNOWN, its error the name."""
        try:
            command = self._codec.command(envelope.type, bytes(envelope.data))
        except Malformed as error:
            if error.is_unknown:
                name = name_of(envelope.type, error.pointer)
                return _parked(envelope, self._version(envelope.stream), codes.NOT_KNOWN, name)
            return _parked(
                envelope, self._version(envelope.stream), codes.MALFORMED, f"{error.detail} (at {error.pointer or '/'})"
            )
        decider = self._domain.decider_of[envelope.type]
        try:
            before = self._fold(decider, envelope.stream)
            if envelope.expected_version not in (None, before.version):
                raise Rejected(codes.STREAM_MOVED, expected=envelope.expected_version, version=before.version)
            events = decider.decide(before.state, command)
            after, new = _extend(decider, envelope, before, events)
        except NotKnown as unknown:
            return _parked(envelope, self._version(envelope.stream), codes.NOT_KNOWN, ", ".join(unknown.names))
        except Rejected as no:
            return Decision(envelope, "rejected", self._version(envelope.stream), (), no.code, no.details)
        except BUGS:
            return _parked(envelope, self._version(envelope.stream), codes.BUG, traceback.format_exc(chain=True))
        self.folded[envelope.stream] = after
        return Decision(envelope, "succeeded" if new else "ignored", after.version, new)

    def _fold(self, decider: AnyDecider, stream: str) -> Folded:
        """The stream's state, brought up to what was read from the log."""
        folded = self.folded.get(stream, Folded(0, decider.initial, 0))
        if stream not in self._caught_up:
            version, state, size_bytes, last = folded
            for event in (recorded := self._recorded.get(stream, ())):
                version, state = event.version, decider.evolve(state, self._codec.event(event))
                size_bytes += len(event.data)
            if recorded:
                last = LastEvent(version, recorded[-1].meta.command_id, recorded[-1].recorded_at)
            folded = self.folded[stream] = Folded(version, state, size_bytes, last)
            self._caught_up.add(stream)
        return folded

    def _version(self, stream: str) -> int:
        """The stream's last version, whether or not it can be folded."""
        recorded = self._recorded.get(stream)
        folded = self.folded.get(stream)
        return max(recorded[-1].version if recorded else 0, folded.version if folded else 0)


def _extend(
    decider: AnyDecider, envelope: Envelope, before: Folded, events: Sequence[object]
) -> tuple[Folded, tuple[NewEvent, ...]]:
    """The state after these events, and the events as they are stored. One that cannot be folded is a bug now, not later."""
    version, state, size_bytes, last = before
    new = []
    for event in events:
        if not isinstance(event, decider.events):
            raise TypeError(f"decider {decider.name} made a {type(event).__name__}, which is not among its events")
        version += 1
        state = decider.evolve(state, event)
        tag, schema_version, data = encode_event(event)
        size_bytes += len(data)
        meta = Meta(
            command_id=envelope.command_id,
            correlation_id=envelope.correlation_id or envelope.command_id,
            causation_id=envelope.causation_id or envelope.command_id,
            principal=envelope.principal,
            schema_version=schema_version,
        )
        new.append(NewEvent(envelope.stream, version, tag, data, meta))
    return Folded(version, state, size_bytes, None if new else last), tuple(new)


def _parked(envelope: Envelope, version: int, code: str, error: str) -> Decision:
    return Decision(envelope, "parked", version, (), code, None, error)
