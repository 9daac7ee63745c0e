"""The log and the inbox on PostgreSQL.

    decisions ──> arrays ──> ONE statement: take the head, number the events, insert events and outcomes ──> committed

That statement is the whole transaction in the common case: the head's lock lives as long as one commit. With inline rows, retried
or parked commands it becomes a transaction of several statements, in which the head is still taken after every other lock.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Engine

from twofold.database.postgres_pool import PSYCOPG, borrowed
from twofold.database.postgres_pool import connect as connect
from twofold.eventstore import postgres_sql as sql
from twofold.eventstore.batch import Batch, details_json, error_text, events_json
from twofold.eventstore.records import (
    BIGINT_MAX,
    by_stream,
    encode_json,
    outcome_from,
    parked_from,
    recorded_from,
    storable,
)
from twofold.kernel import codes
from twofold.kernel.errors import Conflict
from twofold.kernel.log import Appended, Decision, Page, ParkedCommand, Recorded
from twofold.kernel.outcome import Outcome
from twofold.kernel.ports import InlineProjection

FILTERED_POSITIONS_MAX = 10_000
"""How far a page with a type filter looks before it answers, however little it has found."""
END_OF_TIME = datetime.max.replace(tzinfo=UTC)


class PostgresEventStore:
    """Port EventStore. Thread-safe; `engine` comes from `connect`."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def append(self, decisions: Sequence[Decision], inline: InlineProjection | None = None) -> Appended:
        batch = Batch(decisions)
        arrays = _arrays(batch)
        with borrowed(self._engine) as connection:
            if batch.parked or batch.retried or (inline and batch.events):
                start, recorded_at = _append_in_steps(connection, batch, arrays, inline)
            else:
                start, recorded_at = _row(connection, sql.APPEND if batch.events else sql.NOTE, arrays)
        return batch.appended(start, recorded_at)

    def outcomes(self, command_ids: Collection[str]) -> dict[str, Outcome]:
        rows = self._rows(sql.OUTCOMES, (storable(command_ids),)) if command_ids else ()
        return {row[0]: outcome_from(row) for row in rows}

    def read(self, after: Mapping[str, int]) -> dict[str, list[Recorded]]:
        streams = storable(after)
        if not streams:
            return {}
        return by_stream(map(recorded_from, self._rows(sql.READ, (streams, [after[stream] for stream in streams]))))

    def page(self, after: int, limit: int, types: Collection[str] | None = None) -> Page:
        after = min(after, BIGINT_MAX)
        if types is None:
            events = [recorded_from(row) for row in self._rows(sql.PAGE, (after, limit))]
            return Page(events, events[-1].position if events else after)
        through = min(after + FILTERED_POSITIONS_MAX, BIGINT_MAX)
        rows = self._rows(sql.PAGE_OF_TYPES, {"after": after, "through": through, "types": storable(types), "limit": limit})
        events = [recorded_from(row[1:]) for row in rows if row[1] is not None]
        head = max(after, rows[0][0])
        return Page(events, events[-1].position if len(events) == limit else min(through, head))

    def stream(
        self,
        stream: str,
        after: int = 0,
        limit: int | None = None,
        until_version: int | None = None,
        until: datetime | None = None,
    ) -> list[Recorded]:
        if not storable((stream,)):
            return []
        last = BIGINT_MAX if until_version is None else min(until_version, BIGINT_MAX)
        asked = (stream, min(after, BIGINT_MAX), last, END_OF_TIME if until is None else until, limit)
        return [recorded_from(row) for row in self._rows(sql.STREAM, asked)]

    def version(self, stream: str) -> int:
        return self._rows(sql.VERSION, (stream,))[0][0] or 0 if storable((stream,)) else 0

    def head(self) -> tuple[int, datetime | None]:
        position, recorded_at = self._rows(sql.HEAD)[0]
        return position, recorded_at if position else None

    def recorded_at(self, positions: Collection[int]) -> dict[int, datetime]:
        possible = [position for position in positions if position <= BIGINT_MAX]
        return dict(self._rows(sql.RECORDED_AT, (possible,))) if possible else {}

    def parked(self, limit: int = 100, after: int = 0) -> list[ParkedCommand]:
        return [parked_from(row) for row in self._rows(sql.PARKED, (min(after, BIGINT_MAX), limit))]

    def parked_command(self, parked_id: int) -> ParkedCommand | None:
        rows = self._rows(sql.PARKED_COMMAND, (parked_id,)) if parked_id <= BIGINT_MAX else ()
        return parked_from(rows[0]) if rows else None

    def discard(self, parked_id: int) -> bool:
        with borrowed(self._engine) as connection:
            return connection.execute(sql.DISCARD, (min(parked_id, BIGINT_MAX),)).rowcount == 1

    def _rows(self, statement: str, parameters: Sequence[Any] | Mapping[str, Any] = ()) -> list[tuple[Any, ...]]:
        with borrowed(self._engine) as connection:
            return connection.execute(statement, parameters, binary=True).fetchall()


def _append_in_steps(
    connection: PSYCOPG, batch: Batch, arrays: dict[str, Any], inline: InlineProjection | None
) -> tuple[int, datetime]:
    """Inline rows are locked, then the head, then everything is written; round trips under the head's lock are pipelined."""
    connection.execute("BEGIN")
    locked = inline.lock(connection, batch.events) if inline and batch.events else None
    start, recorded_at = _row(connection, sql.TAKE_HEAD if batch.events else sql.SEE_HEAD, arrays)
    if inline and batch.events:
        inline.write(connection, locked, batch.recorded(start, recorded_at))
    given = arrays | {"start": start, "recorded_at": recorded_at}
    if not batch.parked and not batch.retried:
        with connection.pipeline():
            connection.execute(sql.APPEND_LOCKED, given)
            connection.execute("COMMIT")
        return start, recorded_at
    if _row(connection, sql.APPEND_RETRIED, given)[2] != len(batch.noted):
        raise Conflict("inbox")
    for command_id, fingerprint in batch.settled():
        connection.execute(sql.SETTLE, (command_id, fingerprint))
    for decision in batch.parked:
        connection.execute(sql.PARK, _parked_row(decision, recorded_at))
    connection.execute("COMMIT")
    return start, recorded_at


def _row(connection: PSYCOPG, statement: str, parameters: Mapping[str, Any]) -> tuple[Any, ...]:
    row = connection.execute(statement, parameters, binary=True).fetchone()
    assert row is not None, "log_head has lost its row"
    return row


def _arrays(batch: Batch) -> dict[str, Any]:
    """One array for each column, events and outcomes side by side, as the statements of `postgres_sql` name them."""
    events = batch.events
    noted = [(decision.envelope, decision, place) for decision, place in batch.noted]
    return {
        "event_count": len(events),
        "event_streams": [event.stream for event in events],
        "event_versions": [event.version for event in events],
        "event_types": [event.type for event in events],
        "event_data": [event.data.decode() for event in events],
        "event_metas": [encode_json(event.meta).decode() for event in events],
        "command_ids": [envelope.command_id for envelope, _, _ in noted],
        "fingerprints": [envelope.fingerprint for envelope, _, _ in noted],
        "types": [envelope.type for envelope, _, _ in noted],
        "streams": [envelope.stream for envelope, _, _ in noted],
        "statuses": [decision.status for _, decision, _ in noted],
        "attempts": [envelope.attempt for envelope, _, _ in noted],
        "versions": [decision.version for _, decision, _ in noted],
        "places": [place for _, _, place in noted],
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
