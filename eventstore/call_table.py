"""The embedded queue of calls to the outside, in the log's own file: a call that was asked for is as durable as an event."""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import Future

from twofold.database.sqlite_file import SqliteFile
from twofold.eventstore.sqlite import sql
from twofold.kernel.errors import Unavailable


class SqliteCallTable:
    """Port CallTable. Thread-safe; the file is migrated already."""

    def __init__(self, file: SqliteFile, now: Callable[[], float] = time.time) -> None:
        self._file = file
        self._now = now

    def put(self, calls: Sequence[tuple[str, float, bytes]]) -> None:
        rows = [(effect, self._microseconds(after_seconds), body) for effect, after_seconds, body in calls]

        def job(writer: sqlite3.Connection) -> None:
            writer.executemany(sql.PUT_CALL, rows)

        self._file.write(job)

    def take(self, effect: str, limit: int, without: Collection[int] = ()) -> list[tuple[int, bytes]]:
        return self._file.fetch(sql.TAKE_CALLS, (effect, self._microseconds(), json.dumps(list(without)), limit))

    def done(self, ids: Sequence[int], then: Callable[[], None]) -> None:
        """Rides on the next commit, whoever's it is. What a failed one leaves in the table is performed once more."""

        def job(writer: sqlite3.Connection) -> None:
            writer.executemany(sql.REMOVE_CALL, [(row_id,) for row_id in ids])

        try:
            removed: Future[None] = self._file.submit(job, lazy=True)
        except Unavailable:
            then()
        else:
            removed.add_done_callback(lambda _: then())

    def bury(self, row_id: int, reason: str) -> None:
        buried_at = time.time_ns() // 1000

        def job(writer: sqlite3.Connection) -> None:
            writer.execute(sql.BURY_CALL, (reason, buried_at, row_id))
            writer.execute(sql.REMOVE_CALL, (row_id,))

        self._file.write(job)

    def depths(self) -> dict[str, int]:
        return dict(self._file.fetch(sql.CALL_DEPTHS))

    def _microseconds(self, after_seconds: float = 0.0) -> int:
        return int((self._now() + after_seconds) * 1_000_000)
