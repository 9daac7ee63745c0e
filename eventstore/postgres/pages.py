"""What a subscription asks of the log on PostgreSQL: what comes next."""

from __future__ import annotations

from collections.abc import Collection

from sqlalchemy import Engine

from twofold.database.postgres import fetch
from twofold.eventstore.postgres import sql
from twofold.eventstore.records import BIGINT_MAX, FILTERED_POSITIONS_MAX, decode_meta, storable
from twofold.kernel.log import Page, Recorded


class PostgresLogPages:
    """Port LogPages. Thread-safe."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def page(self, after: int, limit: int, types: Collection[str] | None = None) -> Page:
        after = min(after, BIGINT_MAX)
        if types is None:
            rows = fetch(self._engine, sql.PAGE, (after, limit))
            events = [Recorded(n, s, v, t, data, decode_meta(meta), at) for n, s, v, t, data, meta, at in rows]
            return Page(events, events[-1].position if events else after)
        through = min(after + FILTERED_POSITIONS_MAX, BIGINT_MAX)
        asked = {"after": after, "through": through, "types": storable(types), "limit": limit}
        rows = fetch(self._engine, sql.PAGE_OF_TYPES, asked)
        events = [Recorded(n, s, v, t, data, decode_meta(meta), at) for _, n, s, v, t, data, meta, at in rows if n is not None]
        head = max(after, rows[0][0])
        return Page(events, events[-1].position if len(events) == limit else min(through, head))
