"""What a subscription asks of the log in an SQLite file: what comes next."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from itertools import chain
from typing import Any

from twofold.database.sqlite_file import SqliteFile
from twofold.database.times import moment
from twofold.eventstore.records import BIGINT_MAX, FILTERED_POSITIONS_MAX, PAGE_BYTES_MAX, decode_meta, encode_json, storable
from twofold.eventstore.sqlite import sql
from twofold.kernel.log import Page, Recorded


class SqliteLogPages:
    """Port LogPages. Thread-safe."""

    def __init__(self, file: SqliteFile) -> None:
        self._file = file

    def page(self, after: int, limit: int, types: Collection[str] | None = None) -> Page:
        after = min(after, BIGINT_MAX)
        if types is None:
            with self._file.reading() as reader:
                events, is_cut = _within(reader.execute(sql.PAGE, (after, limit)))
            return Page(events, events[-1].position if events else after, is_cut)
        through = min(after + FILTERED_POSITIONS_MAX, BIGINT_MAX)
        asked = {"after": after, "through": through, "types": encode_json(storable(types)).decode(), "limit": limit}
        with self._file.reading() as reader:
            found = reader.execute(sql.PAGE_OF_TYPES, asked)
            head, *first = found.fetchone()
            events, is_cut = _within(chain([first], (row for _, *row in found))) if first[0] is not None else ([], False)
        return Page(events, events[-1].position if len(events) == limit or is_cut else min(through, max(after, head)), is_cut)


def _within(rows: Iterable[Sequence[Any]]) -> tuple[list[Recorded], bool]:
    """The events up to the one with which they are too many bytes, and whether there was one. No row is read behind it."""
    events: list[Recorded] = []
    size = 0
    for position, stream, version, type, data, meta, recorded_at in rows:
        events.append(Recorded(position, stream, version, type, data, decode_meta(meta), moment(recorded_at)))
        size += len(data)
        if size >= PAGE_BYTES_MAX:
            return events, True
    return events, False
