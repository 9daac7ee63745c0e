"""What a store of rows in SQL answers about parked keys: the port ParkedKeys."""

from __future__ import annotations

from twofold.kernel.rows import Generation, ParkedKey, ParkedLine
from twofold.kernel.view import SliceId
from twofold.readmodels.schema.columns import queryable_key
from twofold.readmodels.stores.sql.lines import ParkedLineTable
from twofold.readmodels.stores.sql.rebuilds import SqlBuilds
from twofold.readmodels.stores.sql.rows import RowTable


class SqlParkedKeys(SqlBuilds):
    """Of the generations that the store is attached to."""

    _lines: ParkedLineTable
    _tables: dict[str, RowTable]

    def parked(self, view: str | None = None, key: str | None = None, limit: int | None = None) -> list[ParkedKey]:
        return self._read(lambda session: self._lines.parked(session, self._generations(view), key, limit))

    def parked_lines(self, view: str, only_requested: bool = False) -> list[ParkedLine]:
        return self._read(lambda session: self._lines.lines(session, self._tables[view].generation, only_requested))

    def parked_counts(self) -> dict[str, int]:
        return self._read(lambda session: self._lines.counts(session, self._generations(None)))

    def rekeyed(self, view: str) -> int | None:
        return self._read(lambda session: self._lines.rekeyed(session, self._tables[view].generation))

    def waiting(self, slice_id: SliceId, key: str, limit: int) -> list[int]:
        return self._read(lambda session: self._lines.waiting(session, slice_id, key, limit))

    def request_retry(self, view: str, key: str) -> bool:
        return self._request(view, key, "retry")

    def discard(self, view: str, key: str) -> bool:
        return self._request(view, key, "discard")

    def _request(self, view: str, key: str, request: str) -> bool:
        with self._transaction() as session:
            return self._lines.request(session, self._tables[view].generation, queryable_key(key), request)

    def _generations(self, view: str | None) -> list[Generation]:
        return [table.generation for table in (self._tables.values() if view is None else [self._tables[view]])]
