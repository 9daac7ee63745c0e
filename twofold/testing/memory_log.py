"""The log and the inbox in memory, for tests that need no database: they pass the suites of the real ones.

Nothing is durable, and every call takes one lock; apart from that nothing is different.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, datetime
from itertools import accumulate
from threading import RLock
from typing import Any

import msgspec

from twofold.eventstore.leases import MemoryLeases as MemoryLeases
from twofold.eventstore.records import (
    FILTERED_POSITIONS_MAX,
    GAP,
    LOST,
    PAGE_BYTES_MAX,
    READ_BYTES_MAX,
    ROW_BYTES,
    PlannedAppend,
    error_text,
)
from twofold.kernel import codes
from twofold.kernel.errors import Conflict, other_inline_views
from twofold.kernel.log import Appended, Decision, LastEvent, Loaded, Page, ParkedCommand, Recorded, Snapshot
from twofold.kernel.outcome import Outcome
from twofold.kernel.ports import Clock, InlineProjection


class MemoryLog:
    """Port Log. Thread-safe. An inline projection's connection is this log: what it puts into `rows` stays if the events do."""

    def __init__(self, clock: Clock | None = None) -> None:
        self.rows: dict[str, dict[str, Any]] = {}
        """Inline rows by view and key; values are replaced, never changed."""
        self.inline_views = 0
        """The number of the inline views that every append has to fold."""
        self._clock = clock
        self._lock = RLock()
        self._events: list[Recorded] = []
        self._streams: dict[str, dict[int, Recorded]] = {}
        self._inbox: dict[str, Outcome] = {}
        self._parked: dict[tuple[str, str], ParkedCommand] = {}
        self._parked_count = 0
        self.snapshots: dict[str, Snapshot] = {}

    def lose_after(self, position: int) -> None:
        """Become what a replica is that never got the rest: events and outcomes beyond this position are gone."""
        with self._lock:
            for event in self._events[position:]:
                del self._streams[event.stream][event.version]
            del self._events[position:]
            self._inbox = {key: outcome for key, outcome in self._inbox.items() if outcome.position <= position}

    def outcomes(self, command_ids: Collection[str]) -> dict[str, Outcome]:
        with self._lock:
            return {command_id: self._inbox[command_id] for command_id in command_ids if command_id in self._inbox}

    def read(self, after: Mapping[str, LastEvent | None], shapes: Mapping[str, str] | None = None) -> Loaded:
        with self._lock:
            if any(known is not None and not self._holds(stream, known) for stream, known in after.items()):
                raise Conflict(LOST)
            wanted = {stream: self.snapshots.get(stream) for stream, known in after.items() if not known}
            snapshots = {
                stream: kept
                for stream, kept in wanted.items()
                if kept and shapes and kept.shape == shapes.get(stream) and self._holds(stream, kept.last)
            }
            first = {stream: snapshots[stream].last if stream in snapshots else known for stream, known in after.items()}
            found = {stream: self.stream(stream, known.version if known else 0) for stream, known in first.items()}
        pages = {stream: _within(events, READ_BYTES_MAX // len(after), ROW_BYTES) for stream, events in found.items() if events}
        unread = frozenset(stream for stream, (_, is_cut) in pages.items() if is_cut)
        return Loaded({stream: events for stream, (events, _) in pages.items()}, snapshots, unread)

    def append(
        self, decisions: Sequence[Decision], inline: InlineProjection | None = None, snapshots: Sequence[Snapshot] = ()
    ) -> Appended:
        plan = PlannedAppend(decisions)
        details = {decision.envelope.command_id: _details_as_stored(decision) for decision, _ in plan.noted}
        with self._lock:
            rows = {view: dict(rows) for view, rows in self.rows.items()} if inline else self.rows
            try:
                appended, recorded = self._checked(plan, inline if plan.events else None)
            except BaseException:
                self.rows = rows
                raise
            self.snapshots |= {snapshot.stream: snapshot for snapshot in snapshots}
            self._events += recorded
            for event in recorded:
                self._streams.setdefault(event.stream, {})[event.version] = event
            for decision, outcome in zip(decisions, appended.outcomes, strict=True):
                if not (decision.status == "parked" and decision.code == codes.KEY_REUSED):
                    stored = msgspec.structs.replace(outcome, details=details[outcome.command_id])
                    self._inbox[outcome.command_id] = stored
            for key in plan.settled():
                self._parked.pop(key, None)
            for decision in plan.parked:
                self._park(decision, appended.recorded_at)
        return appended

    def page(self, after: int, limit: int, types: Collection[str] | None = None) -> Page:
        with self._lock:
            if types is None:
                events, is_cut = _within(self._events[after : after + limit], PAGE_BYTES_MAX)
                return Page(events, events[-1].position if events else after, is_cut)
            through = after + FILTERED_POSITIONS_MAX
            wanted = [event for event in self._events[after:through] if event.type in types][:limit]
            events, is_cut = _within(wanted, PAGE_BYTES_MAX)
            last = min(through, max(after, len(self._events)))
            return Page(events, events[-1].position if len(events) == limit or is_cut else last, is_cut)

    def head(self) -> tuple[int, datetime | None]:
        with self._lock:
            return len(self._events), self._events[-1].recorded_at if self._events else None

    def stream(
        self,
        stream: str,
        after: int = 0,
        limit: int | None = None,
        to_version: int | None = None,
        until: datetime | None = None,
    ) -> list[Recorded]:
        with self._lock:
            events = sorted(self._streams.get(stream, {}).items())
        return [
            event
            for version, event in events
            if version > after and (to_version is None or version <= to_version) and (until is None or event.recorded_at <= until)
        ][:limit]

    def version(self, stream: str) -> int:
        with self._lock:
            return max(self._streams.get(stream, {}), default=0)

    def recorded_at(self, positions: Collection[int]) -> dict[int, datetime]:
        with self._lock:
            return {
                position: self._events[position - 1].recorded_at for position in positions if 0 < position <= len(self._events)
            }

    def require_writable(self) -> None:
        """There is always room."""

    def parked(self, limit: int = 100, after: int = 0) -> list[ParkedCommand]:
        with self._lock:
            return sorted((each for each in self._parked.values() if each.id > after), key=lambda each: each.id)[:limit]

    def parked_command(self, parked_id: int) -> ParkedCommand | None:
        with self._lock:
            return next((each for each in self._parked.values() if each.id == parked_id), None)

    def discard(self, parked_id: int) -> bool:
        with self._lock:
            found = [key for key, each in self._parked.items() if each.id == parked_id]
            for key in found:
                del self._parked[key]
            return bool(found)

    def _checked(self, plan: PlannedAppend, inline: InlineProjection | None) -> tuple[Appended, list[Recorded]]:
        """What is to be kept, once nothing can go wrong any more; inline rows are written by then."""
        locked = inline.lock(self, plan.events) if inline else None
        if plan.events and self.inline_views != (inline.number if inline else 0):
            raise other_inline_views(self.inline_views)
        self._refuse_conflicts(plan)
        start, last_at = self.head()
        now = self._clock.now() if self._clock else datetime.now(UTC)
        at = max(now, last_at or now)
        recorded = plan.recorded(start, at)
        if inline:
            inline.write(self, locked, recorded)
        return plan.appended(start, at), recorded

    def _refuse_conflicts(self, plan: PlannedAppend) -> None:
        versions = [(event.stream, event.version) for event in plan.events]
        if len(set(versions)) < len(versions) or any(version in self._streams.get(stream, ()) for stream, version in versions):
            raise Conflict("events")
        if any(version not in self._streams.get(stream, ()) for stream, version in plan.preceding().items()):
            raise Conflict(GAP)
        sent = [decision.envelope for decision, _ in plan.noted]
        if len({envelope.command_id for envelope in sent}) < len(sent):
            raise Conflict("inbox")
        for envelope in sent:
            first = self._inbox.get(envelope.command_id)
            if first is not None and (first.status != "parked" or first.attempt >= envelope.attempt):
                raise Conflict("inbox")

    def _holds(self, stream: str, known: LastEvent) -> bool:
        there = self._streams.get(stream, {}).get(known.version)
        return there is not None and (there.meta.command_id, there.recorded_at) == (known.command_id, known.recorded_at)

    def _park(self, decision: Decision, parked_at: datetime) -> None:
        envelope = decision.envelope
        key = envelope.command_id, envelope.fingerprint
        if key in self._parked:
            parked_id = self._parked[key].id
        else:
            parked_id = self._parked_count = self._parked_count + 1
        reason = decision.code or codes.BUG
        self._parked[key] = ParkedCommand(parked_id, envelope, reason, error_text(decision), parked_at)


def _details_as_stored(decision: Decision) -> dict[str, Any] | None:
    """As they come back from a database. Raises what an encoder does for a decision that no database could keep."""
    for event in decision.events:
        event.stream.encode(), event.type.encode(), msgspec.json.encode(event.meta)
    details: dict[str, Any] | None = msgspec.json.decode(msgspec.json.encode(decision.details))
    return details


def _within(events: list[Recorded], bytes_max: int, row_bytes: int = 0) -> tuple[list[Recorded], bool]:
    sizes = accumulate(len(event.data) + row_bytes for event in events)
    count = next((number for number, size in enumerate(sizes, start=1) if size >= bytes_max), len(events))
    return events[:count], count < len(events)
