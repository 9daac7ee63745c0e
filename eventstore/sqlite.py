"""The log and the inbox in an SQLite file.

decisions ──> rows ──> job ──> the file's writer: take the head, number the events, insert ──> group commit
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import datetime
from typing import Any

from twofold.database.sqlite_file import SqliteFile as SqliteFile
from twofold.eventstore import sqlite_sql as sql
from twofold.eventstore.batch import Batch, details_json, error_text, events_json
from twofold.eventstore.records import (
    BIGINT_MAX,
    by_stream,
    encode_json,
    microseconds,
    moment,
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
NO_LIMIT = -1


class SqliteEventStore:
    """Port EventStore. Thread-safe; the file is migrated already. Inline rows are given the raw sqlite3 connection."""

    def __init__(self, file: SqliteFile) -> None:
        self._file = file

    def append(self, decisions: Sequence[Decision], inline: InlineProjection | None = None) -> Appended:
        batch = Batch(decisions)
        start, recorded_at = self._file.write(_append_job(batch, inline if batch.events else None))
        return batch.appended(start, recorded_at)

    def outcomes(self, command_ids: Collection[str]) -> dict[str, Outcome]:
        rows = self._rows(sql.OUTCOMES, (_json(storable(command_ids)),)) if command_ids else ()
        return {row[0]: outcome_from((*row[:11], moment(row[11]), moment(row[12]))) for row in rows}

    def read(self, after: Mapping[str, int]) -> dict[str, list[Recorded]]:
        asked = {stream: after[stream] for stream in storable(after)}
        return by_stream(map(_recorded, self._rows(sql.READ, (_json(asked),)))) if asked else {}

    def page(self, after: int, limit: int, types: Collection[str] | None = None) -> Page:
        after = min(after, BIGINT_MAX)
        if types is None:
            events = [_recorded(row) for row in self._rows(sql.PAGE, (after, limit))]
            return Page(events, events[-1].position if events else after)
        through = min(after + FILTERED_POSITIONS_MAX, BIGINT_MAX)
        asked = {"after": after, "through": through, "types": _json(storable(types)), "limit": limit}
        rows = self._rows(sql.PAGE_OF_TYPES, asked)
        events = [_recorded(row[1:]) for row in rows if row[1] is not None]
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
        last_version = BIGINT_MAX if until_version is None else min(until_version, BIGINT_MAX)
        last_time = BIGINT_MAX if until is None else microseconds(until)
        asked = (stream, min(after, BIGINT_MAX), last_version, last_time, NO_LIMIT if limit is None else limit)
        return [_recorded(row) for row in self._rows(sql.STREAM, asked)]

    def version(self, stream: str) -> int:
        return self._rows(sql.VERSION, (stream,))[0][0] or 0 if storable((stream,)) else 0

    def head(self) -> tuple[int, datetime | None]:
        position, recorded_at = self._rows(sql.HEAD)[0]
        return position, moment(recorded_at) if position else None

    def recorded_at(self, positions: Collection[int]) -> dict[int, datetime]:
        possible = [position for position in positions if position <= BIGINT_MAX]
        return {position: moment(count) for position, count in self._rows(sql.RECORDED_AT, (_json(possible),))}

    def parked(self, limit: int = 100, after: int = 0) -> list[ParkedCommand]:
        return [_parked(row) for row in self._rows(sql.PARKED, (min(after, BIGINT_MAX), limit))]

    def parked_command(self, parked_id: int) -> ParkedCommand | None:
        rows = self._rows(sql.PARKED_COMMAND, (min(parked_id, BIGINT_MAX),))
        return _parked(rows[0]) if rows else None

    def discard(self, parked_id: int) -> bool:
        return self._file.write(lambda writer: writer.execute(sql.DISCARD, (min(parked_id, BIGINT_MAX),)).rowcount == 1)

    def _rows(self, statement: str, parameters: Sequence[Any] | Mapping[str, Any] = ()) -> list[tuple[Any, ...]]:
        with self._file.reading() as reader:
            return reader.execute(statement, parameters).fetchall()


def _append_job(batch: Batch, inline: InlineProjection | None) -> Callable[[sqlite3.Connection], tuple[int, datetime]]:
    """What the writer runs for this batch: (last position before it, time of the batch). Encoding is done before."""
    events = [(e.stream, e.version, e.type, e.data, encode_json(e.meta)) for e in batch.events]
    before = [_noted_before(decision) for decision, _ in batch.noted]
    after = [_noted_after(decision) for decision, _ in batch.noted]

    def job(writer: sqlite3.Connection) -> tuple[int, datetime]:
        locked = inline.lock(writer, batch.events) if inline else None
        start, last_at = writer.execute(sql.HEAD).fetchone()
        at = max(last_at, time.time_ns() // 1000)
        if inline:
            inline.write(writer, locked, batch.recorded(start, moment(at)))
        if events:
            writer.executemany(sql.INSERT_EVENT, [(start + n, *event, at) for n, event in enumerate(events, start=1)])
            writer.execute(sql.MOVE_HEAD, (start + len(events), at))
        places = [place for _, place in batch.noted]
        rows = [(*first, start + place, *rest, at) for first, place, rest in zip(before, places, after, strict=True)]
        if writer.executemany(sql.NOTE, rows).rowcount != len(rows) and rows:
            raise Conflict("inbox")
        writer.executemany(sql.SETTLE, batch.settled())
        writer.executemany(sql.PARK, [_parked_row(decision, at) for decision in batch.parked])
        return start, moment(at)

    return job


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


def _recorded(row: tuple[Any, ...]) -> Recorded:
    return recorded_from((*row[:6], moment(row[6])))


def _parked(row: tuple[Any, ...]) -> ParkedCommand:
    return parked_from((*row[:4], moment(row[4])))


def _json(value: object) -> str:
    return encode_json(value).decode()
