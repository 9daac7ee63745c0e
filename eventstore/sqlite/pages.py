"""What a subscription asks of the log in an SQLite file: what comes next."""

from __future__ import annotations

from collections.abc import Collection

from twofold.database.sqlite_file import SqliteFile
from twofold.database.times import moment
from twofold.eventstore.records import BIGINT_MAX, FILTERED_POSITIONS_MAX, decode_meta, encode_json, storable
from twofold.eventstore.sqlite import sql
from twofold.kernel.log import Page, Recorded


class SqliteLogPages:
    """Port LogPages. Thread-safe."""

    def __init__(self, file: SqliteFile) -> None:
        self._file = file

    def page(self, after: int, limit: int, types: Collection[str] | None = None) -> Page:
        after = min(after, BIGINT_MAX)
        if types is None:
            rows = self._file.fetch(sql.PAGE, (after, limit))
            events = [Recorded(n, s, v, t, data, decode_meta(meta), moment(at)) for n, s, v, t, data, meta, at in rows]
            return Page(events, events[-1].position if events else after)
        through = min(after + FILTERED_POSITIONS_MAX, BIGINT_MAX)
        asked = {"after": after, "through": through, "types": encode_json(storable(types)).decode(), "limit": limit}
        rows = self._file.fetch(sql.PAGE_OF_TYPES, asked)
        events = [
            Recorded(n, s, v, t, data, decode_meta(meta), moment(at)) for _, n, s, v, t, data, meta, at in rows if n is not None
        ]
        head = max(after, rows[0][0])
        return Page(events, events[-1].position if len(events) == limit else min(through, head))
