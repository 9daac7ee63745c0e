"""What people ask of the log on PostgreSQL: one stream, when things happened, and what could not be decided."""

from __future__ import annotations

from collections.abc import Collection
from datetime import UTC, datetime

from twofold.database.postgres import borrowed, fetch
from twofold.eventstore.postgres import sql
from twofold.eventstore.postgres.pages import PostgresLogPages, detached
from twofold.eventstore.records import BIGINT_MAX, decode_meta, has_gap, parked_from, storable
from twofold.kernel.log import ParkedCommand, Recorded

END_OF_TIME = datetime.max.replace(tzinfo=UTC)


class PostgresHistory(PostgresLogPages):
    """Ports History and ParkedCommands. Thread-safe."""

    def head(self) -> tuple[int, datetime | None]:
        position, recorded_at = fetch(self._engine, sql.HEAD)[0]
        return position, recorded_at if position else None

    def require_writable(self) -> None:
        with borrowed(self._engine) as connection:
            connection.execute(sql.WRITE_NOTHING)

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
        last = BIGINT_MAX if to_version is None else min(to_version, BIGINT_MAX)
        asked = (stream, min(after, BIGINT_MAX), last, END_OF_TIME if until is None else until, limit)
        events = [
            Recorded(n, s, v, t, data, decode_meta(meta), at)
            for n, s, v, t, data, meta, at in fetch(self._engine, sql.STREAM, asked)
        ]
        is_cut = has_gap(events, after) or (not events and self._goes_on_later(stream, asked[1]))
        if is_cut and (hole := detached(self._engine)):
            raise hole
        return events

    def _goes_on_later(self, stream: str, after: int) -> bool:
        """Whether the stream has events behind this version, and not the next one."""
        [[following]] = fetch(self._engine, sql.NEXT_VERSION, (stream, after))
        return following is not None and following != after + 1

    def version(self, stream: str) -> int:
        return fetch(self._engine, sql.VERSION, (stream,))[0][0] or 0 if storable((stream,)) else 0

    def recorded_at(self, positions: Collection[int]) -> dict[int, datetime]:
        possible = [position for position in positions if position <= BIGINT_MAX]
        return {position: at for position, at in fetch(self._engine, sql.RECORDED_AT, (possible,))} if possible else {}

    def parked(self, limit: int = 100, after: int = 0) -> list[ParkedCommand]:
        return [parked_from(row) for row in fetch(self._engine, sql.PARKED, (min(after, BIGINT_MAX), limit))]

    def parked_command(self, parked_id: int) -> ParkedCommand | None:
        rows = fetch(self._engine, sql.PARKED_COMMAND, (parked_id,)) if parked_id <= BIGINT_MAX else ()
        return parked_from(rows[0]) if rows else None

    def discard(self, parked_id: int) -> bool:
        with borrowed(self._engine) as connection:
            return connection.execute(sql.DISCARD, (min(parked_id, BIGINT_MAX),)).rowcount == 1
