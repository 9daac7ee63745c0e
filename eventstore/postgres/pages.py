"""What a subscription asks of the log on PostgreSQL: what comes next."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

from sqlalchemy import Engine

from twofold.database.postgres import fetch
from twofold.eventstore.postgres import sql
from twofold.eventstore.records import BIGINT_MAX, FILTERED_POSITIONS_MAX, PAGE_BYTES_MAX, decode_meta, storable
from twofold.kernel.errors import Detached
from twofold.kernel.log import Page, Recorded


class PostgresLogPages:
    """Port LogPages. Thread-safe."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def page(self, after: int, limit: int, types: Collection[str] | None = None) -> Page:
        after = min(after, BIGINT_MAX)
        if types is None:
            rows = fetch(self._engine, sql.PAGE, (after, limit, PAGE_BYTES_MAX))
            events = [_recorded(row) for row in rows]
            if events and events[-1].position - after != len(events) and (hole := detached(self._engine)):
                raise hole
            return Page(events, events[-1].position if events else after, _is_cut(rows))
        through = min(after + FILTERED_POSITIONS_MAX, BIGINT_MAX)
        asked = {"after": after, "through": through, "types": storable(types), "limit": limit, "bytes": PAGE_BYTES_MAX}
        (head, begin, *first), *others = fetch(self._engine, sql.PAGE_OF_TYPES, asked)
        if after < begin:
            raise Detached(begin)
        rows = [tuple(first), *(tuple(row) for _, _, *row in others)] if first[0] is not None else []
        events = [_recorded(row) for row in rows]
        is_cut = _is_cut(rows)
        return Page(events, events[-1].position if len(events) == limit or is_cut else min(through, max(after, head)), is_cut)


def detached(engine: Engine) -> Detached | None:
    """What to raise where events are missing: they are not attached. None when all are: then they are lost."""
    [[through]] = fetch(engine, sql.DETACHED_THROUGH)
    return Detached(through) if through else None


def _recorded(row: Sequence[Any]) -> Recorded:
    position, stream, version, type, data, meta, recorded_at, *_ = row
    return Recorded(position, stream, version, type, data, decode_meta(meta), recorded_at)


def _is_cut(rows: Sequence[Sequence[Any]]) -> bool:
    """Whether there were more than these, whose last two columns are how many, and the bytes before each."""
    return bool(rows) and rows[0][-2] > len(rows)
