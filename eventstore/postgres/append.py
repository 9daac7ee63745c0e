"""What workers ask of the log on PostgreSQL: look up, read, append.

    decisions ──> arrays ──> ONE statement: take the head, number the events, insert events and outcomes ──> committed

That statement is the whole transaction in the common case: the head's lock lives as long as one commit. With inline rows, retried
or parked commands it becomes a transaction of several statements, in which the head is still taken after every other lock.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from typing import Any

import psycopg
from sqlalchemy import Engine

from twofold.database.postgres import PSYCOPG, borrowed, fetch
from twofold.eventstore.postgres import sql
from twofold.eventstore.postgres.pages import detached
from twofold.eventstore.postgres.snapshots import keep
from twofold.eventstore.records import (
    GAP,
    LOST,
    NOTHING_KNOWN,
    READ_BYTES_MAX,
    PlannedAppend,
    by_stream,
    decode_meta,
    decode_text,
    details_json,
    encode_json,
    encode_spelt_out,
    error_text,
    events_json,
    has_gap,
    outcome_from,
    storable,
)
from twofold.kernel import codes
from twofold.kernel.errors import Conflict, Neighbour, NotKnown, Unavailable, other_inline_views
from twofold.kernel.ids import COMMAND_ID
from twofold.kernel.log import Appended, Decision, LastEvent, Loaded, Meta, Recorded, Snapshot
from twofold.kernel.outcome import Outcome
from twofold.kernel.ports import InlineProjection

POSITION_TAKEN = re.compile(r"events(_\d+)?_pkey")
"""The constraint that a head behind its own events violates."""
ASK_AGAIN_POSITIONS = 10_000
"""After so many more, when the partitions to come could not be seen to. One at least is there already."""


class PostgresEventStore:
    """Port EventStore. Thread-safe; `engine` is made with the profile LOG, and the schema is up to date."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._noted_types: set[tuple[str, int]] = set()
        """Of events that stand in the log, as far as this process knows."""
        self._head = self._extend_at = 0
        self._encode_meta: Callable[[Meta], bytes] = encode_spelt_out

    def outcomes(self, command_ids: Collection[str]) -> dict[str, Outcome]:
        possible = [command_id for command_id in command_ids if COMMAND_ID.fullmatch(command_id)]
        rows = fetch(self._engine, sql.OUTCOMES, (possible,)) if possible else ()
        return {row[0]: outcome_from(row) for row in rows}

    def read(self, after: Mapping[str, LastEvent | None], shapes: Mapping[str, str] | None = None) -> Loaded:
        streams, shapes = storable(after), shapes or {}
        known = [after[stream] or NOTHING_KNOWN for stream in streams]
        asked = {
            "streams": streams,
            "versions": [last.version for last in known],
            "command_ids": [last.command_id for last in known],
            "recorded_at": [last.recorded_at for last in known],
            "shapes": [shapes.get(stream, "") if after[stream] is None else "" for stream in streams],
            "bytes": READ_BYTES_MAX // max(1, len(streams)),
        }
        rows = fetch(self._engine, sql.READ, asked) if streams else ()
        if missing := [row[0] for row in rows if row[0] or row[1] is None]:
            self._noted_types.clear()
            raise (None if any(missing) else detached(self._engine)) or Conflict(LOST)
        events = [Recorded(n, s, v, t, data, decode_meta(meta), at) for _, n, s, v, t, data, meta, at, _ in rows if t is not None]
        snapshots = [
            Snapshot(s, shapes[s], LastEvent(v, decode_text(meta), at, n), data)
            for _, n, s, v, t, data, meta, at, _ in rows
            if t is None
        ]
        found, begins = by_stream(events), {s.stream: s.last.version for s in snapshots}
        for stream, last in zip(streams, known, strict=True):
            if has_gap(found.get(stream, ()), begins.setdefault(stream, last.version)):
                raise detached(self._engine) or Conflict(LOST)
        unread = frozenset([row[2] for row in rows if row[8]])
        return Loaded(found, {snapshot.stream: snapshot for snapshot in snapshots}, unread)

    def append(
        self, decisions: Sequence[Decision], inline: InlineProjection | None = None, snapshots: Sequence[Snapshot] = ()
    ) -> Appended:
        plan = PlannedAppend(decisions)
        if self._head >= self._extend_at:
            self._extend()
        try:
            return self._append(plan, inline, snapshots)
        except NotKnown:
            if inline is None:
                raise
            with borrowed(self._engine) as connection, connection.transaction():
                inline.attach(connection)
            return self._append(plan, inline, snapshots)

    def _append(self, plan: PlannedAppend, inline: InlineProjection | None, snapshots: Sequence[Snapshot]) -> Appended:
        arrays = _arrays(plan, self._encode_meta) | {"inline_views": inline.number if inline else 0}
        inline = inline if inline and inline.hears(plan.events) else None
        try:
            with borrowed(self._engine) as connection:
                if new_types := plan.types - self._noted_types:
                    connection.execute(sql.NOTE_TYPES, tuple(map(list, zip(*sorted(new_types), strict=True))))
                    self._noted_types |= new_types
                if plan.parked or plan.retried or inline:
                    start, recorded_at = _append_in_steps(connection, plan, arrays, inline, snapshots)
                elif snapshots:
                    start, recorded_at = _append_beside(connection, snapshots, sql.APPEND if plan.events else sql.NOTE, arrays)
                else:
                    start, recorded_at = _row(connection, sql.APPEND if plan.events else sql.NOTE, arrays)
        except Conflict as conflict:
            if POSITION_TAKEN.fullmatch(str(conflict)):
                raise Unavailable(Neighbour.LOG, "its head is behind its events") from conflict
            raise
        appended = plan.appended(start, recorded_at)
        self._head = appended.head
        return appended

    def _extend(self) -> None:
        """Have the partitions made that come next, long before the head is there; should it never succeed, the append that finds
        no partition says so. Where there are any no earlier version reads, and what an event need not say is left out."""
        self._extend_at = self._head + ASK_AGAIN_POSITIONS
        with suppress(Unavailable):
            [[self._extend_at, is_partitioned]] = fetch(self._engine, sql.EXTEND)
            self._encode_meta = encode_json if is_partitioned else encode_spelt_out


def _append_beside(
    connection: PSYCOPG, snapshots: Sequence[Snapshot], statement: str, arrays: dict[str, Any]
) -> tuple[int, datetime]:
    """With snapshots, in one round trip and one commit: they are of what was in the log before, and so true in any case."""
    with connection.pipeline():
        connection.execute("BEGIN")
        keep(connection, snapshots)
        answer = connection.execute(statement, arrays, binary=True)
        connection.execute("COMMIT")
    return _head(connection, answer, arrays)


def _append_in_steps(
    connection: PSYCOPG,
    plan: PlannedAppend,
    arrays: dict[str, Any],
    inline: InlineProjection | None,
    snapshots: Sequence[Snapshot],
) -> tuple[int, datetime]:
    """Inline rows are locked, then the head, then everything is written; round trips under the head's lock are pipelined."""
    connection.execute("BEGIN")
    if snapshots:
        keep(connection, snapshots)
    locked = inline.lock(connection, plan.events) if inline else None
    start, recorded_at = _row(connection, sql.TAKE_HEAD if plan.events else sql.SEE_HEAD, arrays)
    if inline:
        inline.write(connection, locked, plan.recorded(start, recorded_at))
    given = arrays | {"start": start, "recorded_at": recorded_at}
    if not plan.parked and not plan.retried:
        with connection.pipeline():
            connection.execute(sql.APPEND_LOCKED, given)
            connection.execute("COMMIT")
        return start, recorded_at
    if plan.retried:
        connection.execute(sql.FORGET_OLDER_PARKED, (given["again_ids"], [d.envelope.attempt for d in plan.retried]))
        if connection.execute(sql.OUTCOMES, (given["again_ids"],)).fetchone():
            raise Conflict("inbox")
    _row(connection, sql.APPEND_LOCKED, given)
    for command_id, fingerprint in plan.settled():
        connection.execute(sql.SETTLE, (command_id, fingerprint))
    for decision in plan.parked:
        connection.execute(sql.PARK, _parked_row(decision, recorded_at))
    connection.execute("COMMIT")
    return start, recorded_at


def _row(connection: PSYCOPG, statement: str, parameters: Mapping[str, Any]) -> tuple[Any, ...]:
    return _head(connection, connection.execute(statement, parameters, binary=True), parameters)


def _head(connection: PSYCOPG, answer: psycopg.Cursor[tuple[Any, ...]], parameters: Mapping[str, Any]) -> tuple[Any, ...]:
    row = answer.fetchone()
    if row is None:
        raise _refusal(connection, parameters["inline_views"])
    return row


def _refusal(connection: PSYCOPG, known: int) -> Unavailable | Conflict:
    """Why the head was not given."""
    needed = connection.execute(sql.INLINE_VIEWS).fetchone()
    if needed is None:
        return Unavailable(Neighbour.LOG, "its head has lost its row")
    return Conflict(GAP) if needed[0] == known else other_inline_views(needed[0])


def _arrays(plan: PlannedAppend, encode_meta: Callable[[Meta], bytes]) -> dict[str, Any]:
    """One array for each column, events and outcomes side by side, as the statements of `sql` name them."""
    events, preceding = plan.events, plan.preceding()
    noted = [(decision.envelope, decision, offset) for decision, offset in plan.noted]
    return {
        "event_count": len(events),
        "preceded_streams": list(preceding),
        "preceding_versions": list(preceding.values()),
        "first_streams": list(plan.first_versions),
        "first_versions": list(plan.first_versions.values()),
        "fresh_ids": [envelope.command_id for envelope, _, _ in noted if envelope.attempt == 1],
        "again_ids": [decision.envelope.command_id for decision in plan.retried],
        "event_streams": [event.stream for event in events],
        "event_versions": [event.version for event in events],
        "event_types": [event.type for event in events],
        "event_data": [event.data.decode() for event in events],
        "event_metas": [encode_meta(event.meta).decode() for event in events],
        "command_ids": [envelope.command_id for envelope, _, _ in noted],
        "fingerprints": [envelope.fingerprint for envelope, _, _ in noted],
        "types": [envelope.type for envelope, _, _ in noted],
        "streams": [envelope.stream for envelope, _, _ in noted],
        "statuses": [decision.status for _, decision, _ in noted],
        "attempts": [envelope.attempt for envelope, _, _ in noted],
        "versions": [decision.version for _, decision, _ in noted],
        "offsets": [offset for _, _, offset in noted],
        "events": [events_json(decision) for _, decision, _ in noted],
        "codes": [decision.code for _, decision, _ in noted],
        "details": [details_json(decision) for _, decision, _ in noted],
        "accepted_at": [envelope.accepted_at for envelope, _, _ in noted],
    }


def _parked_row(decision: Decision, parked_at: datetime) -> tuple[Any, ...]:
    envelope = decision.envelope
    return (
        envelope.command_id,
        envelope.fingerprint,
        encode_json(envelope).decode(),
        decision.code or codes.BUG,
        error_text(decision),
        parked_at,
    )
