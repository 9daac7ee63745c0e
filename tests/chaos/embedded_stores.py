"""The embedded files as evidence: opened read-only for every question, so that nothing is held while the system is killed."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Collection, Sequence
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Literal, get_args, get_origin, get_type_hints

from tests.chaos.stores import Decided, inbox_of, positions_of, recorded, row_of
from twofold.kernel.domain import Domain
from twofold.kernel.log import Recorded
from twofold.kernel.view import AnyView

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
BUSY_SECONDS = 5.0


class EmbeddedStores:
    """Port Stores of the chaos checker, over `log.db` and `views.db` in `folder`. Inline views have their rows beside the log."""

    def __init__(self, folder: Path, domain: Domain) -> None:
        self._log = folder / "log.db"
        self._views = folder / "views.db"

    def close(self) -> None:
        """Nothing is held."""

    def events(self, after: int) -> list[Recorded]:
        sql = "SELECT position, stream, version, type, data, meta, recorded_at FROM events WHERE position > ? ORDER BY position"
        return [recorded(row, _moment(row[6])) for row in self.select(self._log, sql, (after,))]

    def head(self) -> int:
        return int(self.select(self._log, "SELECT coalesce(max(position), 0) FROM events")[0][0])

    def inbox(self, command_ids: Collection[str]) -> dict[str, Decided]:
        sql = (
            "SELECT command_id, stream, status, version, position, events, decided_at FROM inbox"
            " WHERE command_id IN (SELECT value FROM json_each(?))"
        )
        rows = self.select(self._log, sql, (json.dumps(list(command_ids)),))
        return inbox_of((*row[:6], _moment(row[6])) for row in rows)

    def has_outcomes(self, command_ids: Collection[str]) -> bool:
        return len(self.inbox(command_ids)) == len(command_ids)

    def checkpoints(self) -> dict[str, list[int]]:
        slices = dict(self.select(self._views, "SELECT view, slices FROM generations WHERE state = 'live'"))
        sql = "SELECT view, slice, position FROM checkpoints JOIN generations USING (view, generation) WHERE state = 'live'"
        return positions_of(slices, self.select(self._views, sql))

    def parked(self) -> list[str]:
        found = [f"command {row}" for row in self.select(self._log, "SELECT command_id, reason, error FROM parked_commands")]
        return found + [f"key {row}" for row in self.select(self._views, "SELECT view, key, error FROM parked_keys")]

    def rows(self, view: AnyView, keys: Collection[str] | None) -> dict[str, Any]:
        file = self._log if view.sync == "inline" else self._views
        live = self.select(file, "SELECT generation FROM generations WHERE view = ? AND state = 'live'", (view.name,))
        sql = f'SELECT * FROM "{view.name}__g{live[0][0]}"'
        wanted: tuple[str, ...] = ()
        if keys is not None:
            sql, wanted = f'{sql} WHERE "{view.key}" IN (SELECT value FROM json_each(?))', (json.dumps(list(keys)),)
        hints = get_type_hints(view.row)
        found = {}
        with closing(self._open(file)) as connection:
            cursor = connection.execute(sql, wanted)
            names = [column[0] for column in cursor.description]
            for values in cursor:
                columns = {name: _plain(value, hints[name]) for name, value in zip(names, values, strict=True) if name in hints}
                found[columns[view.key]] = row_of(view, columns)
        return found

    def select(self, file: Path, sql: str, parameters: Sequence[Any] = ()) -> list[Any]:
        with closing(self._open(file)) as connection:
            return connection.execute(sql, parameters).fetchall()

    def _open(self, file: Path) -> sqlite3.Connection:
        connection = sqlite3.connect(f"file:{file}?mode=ro", uri=True, timeout=BUSY_SECONDS)
        connection.execute("PRAGMA wal_autocheckpoint=0")
        return connection


def _moment(microseconds: int) -> datetime:
    return EPOCH + timedelta(microseconds=microseconds)


def _plain(value: Any, hint: Any) -> Any:
    """A column's value as JSON would have it: times are kept as microseconds, structs and lists as JSON text."""
    kinds = [kind for kind in get_args(hint) if kind is not type(None)] if type(None) in get_args(hint) else [hint]
    if value is None or kinds[0] in (str, int, float) or get_origin(kinds[0]) is Literal:
        return value
    if kinds[0] is bool:
        return bool(value)
    return _moment(value) if kinds[0] is datetime else json.loads(value)
