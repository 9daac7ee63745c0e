"""PostgreSQL and Redis as evidence: one plain connection each, opened anew when a server was restarted."""

from __future__ import annotations

import time
from collections.abc import Collection, Sequence
from typing import Any

import psycopg
import redis

from tests.chaos.redis_rows import RedisRows
from tests.chaos.stores import Decided, inbox_of, positions_of, recorded, row_of
from twofold.kernel.domain import Domain
from twofold.kernel.instances import VIEW_PREFIX
from twofold.kernel.log import Recorded
from twofold.kernel.view import AnyView

TRIES_MAX = 60
TRY_AGAIN_SECONDS = 0.25
"""How long a restarted server is waited for, all together: longer than any of a scenario's takes."""

AMONG = "command_id = ANY(%s::text[]::log_command_id[])"


class Database:
    """One connection, opened when it is needed."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._connection: psycopg.Connection[Any] | None = None

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()

    def select(self, sql: str, parameters: Sequence[Any] = ()) -> list[Any]:
        """All rows of one statement, asked again while the server is coming back."""
        for attempt in range(TRIES_MAX):
            try:
                if self._connection is None or self._connection.closed:
                    self._connection = psycopg.connect(self._url, autocommit=True, connect_timeout=3, prepare_threshold=None)
                return self._connection.execute(sql, parameters).fetchall()
            except psycopg.OperationalError:
                self.close()
                if attempt == TRIES_MAX - 1:
                    raise
                time.sleep(TRY_AGAIN_SECONDS)
        raise AssertionError("unreachable")


class ServedStores:
    """Port Stores of the chaos checker. `postgres` and `rows` are libpq URLs, of the log and of the rows; views that ask for
    Redis are read there."""

    def __init__(self, postgres: str, rows: str, redis_url: str, domain: Domain, namespace: str) -> None:
        self.rows_url = rows
        self._log = Database(postgres)
        self._rows = Database(rows)
        self._redis = RedisRows(redis.Redis.from_url(redis_url), namespace)
        self._views = domain.views
        self.elsewhere = self._in_redis = {name: view for name, view in domain.views.items() if view.store == "redis"}

    def close(self) -> None:
        self._log.close()
        self._rows.close()

    def select(self, sql: str, parameters: Sequence[Any] = ()) -> list[Any]:
        """All rows of one statement on the log's database."""
        return self._log.select(sql, parameters)

    def events(self, after: int) -> list[Recorded]:
        columns = "position, stream, version, type, data::text, meta::text, recorded_at"
        rows = self.select(f"SELECT {columns} FROM events WHERE position > %s ORDER BY position", (after,))
        return [recorded(row, row[6]) for row in rows]

    def head(self) -> int:
        return int(self.select("SELECT coalesce(max(position), 0) FROM events")[0][0])

    def inbox(self, command_ids: Collection[str]) -> dict[str, Decided]:
        columns = "command_id::text, stream, status, version, position, events::text, decided_at"
        return inbox_of(self.select(f"SELECT {columns} FROM inbox WHERE {AMONG}", (list(command_ids),)))

    def has_outcomes(self, command_ids: Collection[str]) -> bool:
        ids = list(command_ids)
        decided = self.select(f"SELECT count(DISTINCT command_id) FROM inbox WHERE {AMONG}", (ids,))
        return bool(decided[0][0] == len(ids))

    def checkpoints(self) -> dict[str, list[int]]:
        slices = dict(self._rows.select("SELECT view, slices FROM read.generations WHERE state = 'live'"))
        live = "read.checkpoints JOIN read.generations USING (view, generation) WHERE state = 'live'"
        positions = positions_of(slices, self._rows.select(f"SELECT view, slice, position FROM {live}"))
        for name in [name for name in positions if self._is_left(name)]:
            del positions[name]
        return positions | {name: self._redis.checkpoints(name) for name in self._in_redis}

    def _is_left(self, view: str) -> bool:
        """What follows the log for nobody here: inline views, and processes without their room."""
        return (
            view not in self._views
            if view.startswith(VIEW_PREFIX)
            else view in self._views and self._views[view].sync == "inline"
        )

    def parked(self) -> list[str]:
        found = [f"command {row}" for row in self.select("SELECT command_id, reason, error FROM parked_commands LIMIT 5")]
        found += [f"key {row}" for row in self._rows.select("SELECT view, key, error FROM read.parked_keys LIMIT 5")]
        return found + [f"key {line}" for name in self._in_redis for line in self._redis.parked(name)]

    def rows(self, view: AnyView, keys: Collection[str] | None) -> dict[str, Any]:
        if view.name in self._in_redis:
            return self._redis.rows(view, keys)
        database = self._log if view.sync == "inline" else self._rows
        live = database.select("SELECT generation FROM read.generations WHERE view = %s AND state = 'live'", (view.name,))
        statement = f'SELECT to_jsonb(rows) FROM read."{view.name}__g{live[0][0]}" AS rows'
        if keys is not None:
            statement += f' WHERE "{view.key}" = ANY(%s)'
        rows = database.select(statement, () if keys is None else (list(keys),))
        return {columns[view.key]: row_of(view, columns) for (columns,) in rows}
