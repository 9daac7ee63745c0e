"""What workers ask of the log in an SQLite file: look up, read, append.

decisions ──> rows ──> job ──> the file's writer: take the head, number the events, insert ──> group commit
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from twofold.database.sqlite_file import SqliteFile
from twofold.database.times import microseconds, moment
from twofold.eventstore.records import (
    BIGINT_MAX,
    GAP,
    LOST,
    NOTHING_KNOWN,
    READ_BYTES_MAX,
    ROW_BYTES,
    PlannedAppend,
    by_stream,
    decode_meta,
    details_json,
    encode_json,
    encode_spelt_out,
    error_text,
    events_json,
    outcome_from,
    storable,
)
from twofold.eventstore.sqlite import snapshots as snapshot_sql
from twofold.eventstore.sqlite import sql
from twofold.kernel import codes
from twofold.kernel.errors import Conflict, other_inline_views
from twofold.kernel.log import Appended, Decision, LastEvent, Loaded, Recorded, Snapshot
from twofold.kernel.outcome import Outcome
from twofold.kernel.ports import InlineProjection

FORGOTTEN_FOR_EACH = 2
"""Outcomes beyond the horizon for each that is noted: so a horizon that was set late is reached, and no append waits for it."""


class SqliteEventStore:
    """Port EventStore. Thread-safe; the file is migrated already. Inline rows are given the raw sqlite3 connection."""

    def __init__(self, file: SqliteFile, idempotency_positions: int = 0) -> None:
        """`idempotency_positions`: outcomes that lie further back from the head are forgotten; 0: none is."""
        self._file = file
        self._horizon = idempotency_positions or BIGINT_MAX
        self._noted_types: set[tuple[str, int]] = set()
        """Of events that stand in the log, as far as this process knows."""

    def outcomes(self, command_ids: Collection[str]) -> dict[str, Outcome]:
        rows = self._file.fetch(sql.OUTCOMES, (encode_json(storable(command_ids)).decode(),)) if command_ids else ()
        return {row[0]: outcome_from((*row[:11], moment(row[11]), moment(row[12]))) for row in rows}

    def read(self, after: Mapping[str, LastEvent | None], shapes: Mapping[str, str] | None = None) -> Loaded:
        streams, shapes = storable(after), shapes or {}
        snapshots = self._snapshots({stream: shapes[stream] for stream in streams if not after[stream] and shapes.get(stream)})
        asked = {}
        for stream in streams:
            last = snapshots[stream].last if stream in snapshots else after[stream] or NOTHING_KNOWN
            asked[stream] = _known(last)
        if not asked:
            return Loaded({}, {})
        with self._file.reading() as reader:
            events, is_cut = _bounded(reader.execute(sql.READ, (encode_json(asked).decode(),)))
        unread = frozenset(streams[streams.index(events[-1].stream) :]) if is_cut else frozenset[str]()
        return Loaded(by_stream(events), snapshots, unread)

    def _snapshots(self, shapes: Mapping[str, str]) -> dict[str, Snapshot]:
        rows = self._file.fetch(snapshot_sql.USABLE, (encode_json(shapes).decode(),)) if shapes else ()
        return {
            stream: Snapshot(stream, shape, LastEvent(version, command_id, moment(at), position), state)
            for stream, shape, version, command_id, at, position, state in rows
        }

    def append(
        self, decisions: Sequence[Decision], inline: InlineProjection | None = None, snapshots: Sequence[Snapshot] = ()
    ) -> Appended:
        plan = PlannedAppend(decisions)
        new_types = plan.types - self._noted_types
        inline = inline if plan.events else None
        start, recorded_at = self._file.write(_append_job(plan, new_types, inline, snapshots, self._horizon))
        self._noted_types |= new_types
        return plan.appended(start, recorded_at)


def _bounded(rows: Iterable[Sequence[Any]]) -> tuple[list[Recorded], bool]:
    """The events up to the one with which they are too many bytes, and whether there was one. No row is read behind it."""
    events: list[Recorded] = []
    size = 0
    for is_lost, position, stream, version, type, data, meta, at in rows:
        if is_lost:
            raise Conflict(LOST)
        events.append(Recorded(position, stream, version, type, data, decode_meta(meta), moment(at)))
        size += len(data) + ROW_BYTES
        if size >= READ_BYTES_MAX:
            return events, True
    return events, False


def _append_job(
    plan: PlannedAppend,
    new_types: set[tuple[str, int]],
    inline: InlineProjection | None,
    snapshots: Sequence[Snapshot],
    horizon: int,
) -> Callable[[sqlite3.Connection], tuple[int, datetime]]:
    """What the writer runs for this append: (last position before it, time of the append). Encoding is done before."""
    known = inline.number if inline else 0
    events = [(e.stream, e.version, e.type, e.data, encode_spelt_out(e.meta)) for e in plan.events]
    preceding = plan.preceding()
    before = [_noted_before(decision) for decision, _ in plan.noted]
    after = [_noted_after(decision) for decision, _ in plan.noted]
    kept = [(s.stream, s.shape, *_known(s.last), s.last.position, s.state) for s in snapshots]

    def job(writer: sqlite3.Connection) -> tuple[int, datetime]:
        if preceding and writer.execute(sql.PRECEDING, (encode_json(preceding).decode(),)).fetchone()[0] != len(preceding):
            raise Conflict(GAP)
        locked = inline.lock(writer, plan.events) if inline else None
        start, last_at, inline_views = writer.execute(sql.TAKE_HEAD).fetchone()
        if events and inline_views != known:
            raise other_inline_views(inline_views)
        at = max(last_at, time.time_ns() // 1000)
        if inline:
            inline.write(writer, locked, plan.recorded(start, moment(at)))
        writer.executemany(sql.NOTE_TYPE, new_types)
        if events:
            writer.executemany(sql.INSERT_EVENT, [(start + n, *event, at) for n, event in enumerate(events, start=1)])
            writer.execute(sql.MOVE_HEAD, (start + len(events), at))
        offsets = [offset for _, offset in plan.noted]
        rows = [(*first, start + offset, *rest, at) for first, offset, rest in zip(before, offsets, after, strict=True)]
        if writer.executemany(sql.NOTE, rows).rowcount != len(rows) and rows:
            raise Conflict("inbox")
        if start > horizon:
            writer.execute(sql.FORGET, (FORGOTTEN_FOR_EACH * len(rows), start - horizon))
        writer.executemany(snapshot_sql.KEEP, kept)
        writer.executemany(sql.SETTLE, plan.settled())
        writer.executemany(sql.PARK, [_parked_row(decision, at) for decision in plan.parked])
        return start, moment(at)

    return job


def _known(last: LastEvent) -> tuple[int, str, int]:
    return last.version, last.command_id, microseconds(last.recorded_at)


def _noted_before(decision: Decision) -> tuple[Any, ...]:
    """The inbox columns before `position`."""
    envelope = decision.envelope
    return (
        envelope.command_id,
        envelope.fingerprint,
        envelope.type,
        envelope.stream,
        decision.status,
        envelope.attempt,
        decision.version,
    )


def _noted_after(decision: Decision) -> tuple[Any, ...]:
    """The inbox columns between `position` and `decided_at`."""
    return events_json(decision), decision.code, details_json(decision), microseconds(decision.envelope.accepted_at)


def _parked_row(decision: Decision, parked_at: int) -> tuple[Any, ...]:
    envelope = decision.envelope
    reason = decision.code or codes.BUG
    return envelope.command_id, envelope.fingerprint, encode_json(envelope), reason, error_text(decision), parked_at
