"""What people ask of the log in an SQLite file: one stream, when things happened, and what could not be decided."""

from __future__ import annotations

import sqlite3
from collections.abc import Collection
from datetime import datetime

from twofold.database.times import microseconds, moment
from twofold.eventstore.records import BIGINT_MAX, decode_meta, encode_json, parked_from, storable
from twofold.eventstore.sqlite import sql
from twofold.eventstore.sqlite.pages import SqliteLogPages
from twofold.kernel.log import ParkedCommand, Recorded

NO_LIMIT = -1


class SqliteHistory(SqliteLogPages):
    """Ports History and ParkedCommands. Thread-safe."""

    def head(self) -> tuple[int, datetime | None]:
        position, recorded_at = self._file.fetch(sql.HEAD)[0]
        return position, moment(recorded_at) if position else None

    def require_writable(self) -> None:
        def write(writer: sqlite3.Connection) -> None:
            writer.execute(sql.WRITE)
            writer.execute(sql.UNWRITE)

        self._file.write(write)

    def stream(
        self,
        stream: str,
        after: int = 0,
        limit: int | None = None,
        to_version: int | None = None,
        until: datetime | None = None,
    ) -> list[Recorded]:
        if not storable((stream,)):
            return []
        last_version = BIGINT_MAX if to_version is None else min(to_version, BIGINT_MAX)
        last_time = BIGINT_MAX if until is None else microseconds(until)
        asked = (stream, min(after, BIGINT_MAX), last_version, last_time, NO_LIMIT if limit is None else limit)
        return [
            Recorded(n, s, v, t, data, decode_meta(meta), moment(at))
            for n, s, v, t, data, meta, at in self._file.fetch(sql.STREAM, asked)
        ]

    def version(self, stream: str) -> int:
        return self._file.fetch(sql.VERSION, (stream,))[0][0] or 0 if storable((stream,)) else 0

    def recorded_at(self, positions: Collection[int]) -> dict[int, datetime]:
        possible = [position for position in positions if position <= BIGINT_MAX]
        rows = self._file.fetch(sql.RECORDED_AT, (encode_json(possible).decode(),))
        return {position: moment(count) for position, count in rows}

    def parked(self, limit: int = 100, after: int = 0) -> list[ParkedCommand]:
        rows = self._file.fetch(sql.PARKED, (min(after, BIGINT_MAX), limit))
        return [parked_from((*row[:4], moment(row[4]))) for row in rows]

    def parked_command(self, parked_id: int) -> ParkedCommand | None:
        rows = self._file.fetch(sql.PARKED_COMMAND, (min(parked_id, BIGINT_MAX),))
        return parked_from((*rows[0][:4], moment(rows[0][4]))) if rows else None

    def discard(self, parked_id: int) -> bool:
        return self._file.write(lambda writer: writer.execute(sql.DISCARD, (min(parked_id, BIGINT_MAX),)).rowcount == 1)
