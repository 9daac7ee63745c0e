"""One batch in the making: streams folded once, commands decided in order, each on top of what the ones before it did.

A command's "no" is an outcome. A command's bug parks that command alone: nothing of it is kept, and its neighbours,
also those on the same stream, are decided as if it had never come.

Folded states are kept from batch to batch, so that a busy aggregate is not folded from its beginning for every command. One is
only ever a starting point: before deciding, the executor reads what came after its last event, so a state that another worker has
moved on is brought up to date rather than trusted. And it is read *after that event*: when the log does not hold it any more (a
failover lost the tail, a backup was restored), the state is dropped and the stream folded anew. A snapshot is such a state, kept
beside the log for whoever has none (docs/decisions/0023).
"""

from __future__ import annotations

import traceback
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from threading import Lock
from typing import Any, NamedTuple

from twofold.kernel import codes
from twofold.kernel.codec import Codec, FactCheck, encode_event
from twofold.kernel.decider import AnyDecider
from twofold.kernel.domain import Domain
from twofold.kernel.envelope import Envelope
from twofold.kernel.errors import BUGS, Malformed, NotKnown, Rejected
from twofold.kernel.log import Decision, LastEvent, Loaded, Meta, NewEvent, Recorded, Snapshot, last_of
from twofold.kernel.members import name_of
from twofold.kernel.messages import Command
from twofold.kernel.snapshots import SNAPSHOT_BYTES_MAX

STATES_MAX = 4_096
BYTES_MAX = 64 * 1024 * 1024
SHARES = 4
"""No state may weigh more than this part of all."""
BATCH_SNAPSHOT_BYTES_MAX = 4 * 1024 * 1024
"""What is due beyond it is kept by a later batch."""


class Folded(NamedTuple):
    """A stream's state at a version. `last` is the event it stands on; None when there is none, or when it is not committed yet.

    `size_bytes` is JSON, a measure of what the state weighs: of itself when it was encoded last, at `kept_version`, which were
    `kept_bytes`, and of the events since."""

    version: int
    state: Any
    size_bytes: int
    last: LastEvent | None = None
    kept_version: int = 0
    kept_bytes: int = 0


class States:
    """Least recently used first out; bounded in number and in bytes. Thread-safe."""

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

    def put(self, stream: str, folded: Folded) -> bool:
        """Whether it is kept: one that weighs more than its share takes nobody's place."""
        with self._lock:
            self._forget(stream)
            if folded.size_bytes > self._bytes_max // SHARES:
                return False
            self._folded[stream] = folded
            self._bytes += folded.size_bytes
            while len(self._folded) > self._states_max or self._bytes > self._bytes_max:
                self._forget(next(iter(self._folded)))
            return True

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
    """Decides the commands of one batch, once their streams are folded: while any is `asked` for, read them, with `shapes`, and
    `fold` each. `folded` holds the states after it, for the cache, once it is committed; `snapshots`, of what was in the log
    before, are to be committed with it. `unkept` says by decider why there is none."""

    def __init__(self, domain: Domain, codec: Codec, known: Mapping[str, Folded], envelopes: Sequence[Envelope] = ()) -> None:
        self._domain = domain
        self._codec = codec
        self._deciders: dict[str, AnyDecider] = {}
        self._last: dict[str, LastEvent | None] = {}
        self._unfoldable: dict[str, tuple[str, str]] = {}
        """Code and error of every command on such a stream."""
        self.asked: dict[str, LastEvent | None] = {}
        self.shapes: dict[str, str] = {}
        self.folded: dict[str, Folded] = dict(known)
        self.snapshots: list[Snapshot] = []
        self.unkept: dict[str, str] = {}
        self.meet(envelopes)

    def meet(self, envelopes: Sequence[Envelope]) -> None:
        """Ask for the streams of these commands that were not asked for yet."""
        for envelope in envelopes:
            self.ask(envelope.stream, self._domain.decider_of.get(envelope.type))

    def ask(self, stream: str, decider: AnyDecider | None) -> None:
        if decider is not None and stream not in self._deciders:
            self._deciders[stream] = decider
            self.shapes[stream] = self._codec.states[decider.name].shape
        if stream not in self._last:
            known = self.folded.get(stream)
            self._last[stream] = self.asked[stream] = known.last if known else None

    def restore(self, snapshot: Snapshot) -> bool:
        """Begin with it. False when it is none: then its stream is asked for without."""
        stream, _, last, data = snapshot
        try:
            state = self._codec.states[self._deciders[stream].name].decode(data)
        except BUGS:
            self.shapes[stream] = ""
            return False
        self._last[stream] = last
        self.folded[stream] = Folded(last.version, state, len(data), last, last.version, len(data))
        return True

    def fold(self, stream: str, page: Loaded) -> None:
        """Bring a stream's state up to what was read of it. Never raises: what cannot be folded parks its commands."""
        snapshot, events = page.snapshots.get(stream), page.events.get(stream)
        if snapshot is not None and not self.restore(snapshot):
            return
        decider = self._deciders.get(stream)
        if events:
            self._last[stream] = last_of(events)
        if decider is not None and stream not in self._unfoldable and (events or stream not in self.folded):
            try:
                self.folded[stream] = self._evolved(decider, stream, events or ())
            except NotKnown as unknown:
                self._unfoldable[stream] = codes.NOT_KNOWN, ", ".join(unknown.names)
            except BUGS:
                self._unfoldable[stream] = codes.BUG, traceback.format_exc(chain=True)
        if stream in page.unread:
            self.asked[stream] = self._last[stream]
            return
        del self.asked[stream]
        if stream in self._unfoldable:
            self.folded.pop(stream, None)
        elif decider is not None:
            self._keep(decider, stream, self.folded[stream])

    def decide(self, envelope: Envelope) -> Decision:
        """What becomes of it; never raises. NOT_KNOWN, its error the name: it is not known here, or an event it stands on."""
        stream = envelope.stream
        try:
            command = self._codec.command(envelope.type, bytes(envelope.data))
        except Malformed as error:
            told = (codes.MALFORMED, f"{error.detail} (at {error.pointer or '/'})")
            if error.is_unknown:
                told = (codes.NOT_KNOWN, name_of(envelope.type, error.pointer))
            return _parked(envelope, self._version(stream), *told)
        if stream in self._unfoldable:
            return _parked(envelope, self._version(stream), *self._unfoldable[stream])
        decider = self._domain.decider_of[envelope.type]
        try:
            before = self.folded[stream]
            if envelope.expected_version not in (None, before.version):
                raise Rejected(codes.STREAM_MOVED, expected=envelope.expected_version, version=before.version)
            asked = (before.state, command, envelope.accepted_at) if decider.is_timed else (before.state, command)
            events = decider.decide(*asked)
            after, new = _extend(self._codec.facts[decider.name], command, envelope, before, events)
        except NotKnown as unknown:
            return _parked(envelope, self._version(stream), codes.NOT_KNOWN, ", ".join(unknown.names))
        except Rejected as no:
            return Decision(envelope, "rejected", self._version(stream), (), no.code, no.details)
        except BUGS:
            return _parked(envelope, self._version(stream), codes.BUG, traceback.format_exc(chain=True))
        self.folded[stream] = after
        return Decision(envelope, "succeeded" if new else "ignored", after.version, new)

    def _evolved(self, decider: AnyDecider, stream: str, events: Sequence[Recorded]) -> Folded:
        folded = self.folded.get(stream) or Folded(0, decider.initial, 0)
        version, state, size_bytes, last, *kept = folded
        for event in events:
            version, state = event.version, decider.evolve(state, self._codec.event(event))
            size_bytes += len(event.data)
        return Folded(version, state, size_bytes, self._last[stream], *kept) if events else folded

    def _keep(self, decider: AnyDecider, stream: str, folded: Folded) -> None:
        """Weigh the state anew when it is time to, and have it stored if it can be."""
        states = self._codec.states[decider.name]
        if folded.version - folded.kept_version < states.every or folded.last is None:
            return
        is_full = sum(len(snapshot.state) for snapshot in self.snapshots) > BATCH_SNAPSHOT_BYTES_MAX
        if is_full or not states.is_due(folded.size_bytes - folded.kept_bytes, folded.kept_bytes):
            return
        weight = folded.size_bytes
        try:
            weight = len(data := states.encode(folded.state))
            if weight <= SNAPSHOT_BYTES_MAX and states.shape:
                self.snapshots.append(Snapshot(stream, states.shape, folded.last, data))
            elif states.shape:
                self.unkept[decider.name] = f"larger than {SNAPSHOT_BYTES_MAX} bytes"
        except BUGS as error:
            self.unkept[decider.name] = f"{type(error).__name__}: it is not what evolve says that it returns"
        self.folded[stream] = folded._replace(size_bytes=weight, kept_version=folded.version, kept_bytes=weight)

    def _version(self, stream: str) -> int:
        """The stream's last version, whether or not it can be folded."""
        folded, last = self.folded.get(stream), self._last.get(stream)
        return max(folded.version if folded else 0, last.version if last else 0)


def _extend(
    facts: FactCheck, command: Command, envelope: Envelope, before: Folded, events: Sequence[Any]
) -> tuple[Folded, tuple[NewEvent, ...]]:
    """The state after these events, and the events as they are stored. One that cannot be folded is a bug now, not later."""
    version, state, size_bytes, last, *kept = before
    new = []
    for made in events:
        event = facts.checked(command, made)
        version += 1
        state = facts.decider.evolve(state, event)
        tag, schema_version, data = encode_event(event)
        size_bytes += len(data)
        meta = Meta(
            command_id=envelope.command_id,
            principal=envelope.principal,
            schema_version=schema_version,
            correlated=envelope.correlation_id,
            caused=envelope.causation_id,
        )
        new.append(NewEvent(envelope.stream, version, tag, data, meta))
    return Folded(version, state, size_bytes, None if new else last, *kept), tuple(new)


def _parked(envelope: Envelope, version: int, code: str, error: str) -> Decision:
    return Decision(envelope, "parked", version, (), code, None, error)
