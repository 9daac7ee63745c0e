"""The embedded queue's table, in the log's own file: an accepted command is as durable as an event."""

from __future__ import annotations

import sqlite3
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future

from twofold.database.sqlite_file import SqliteFile
from twofold.database.times import moment
from twofold.eventstore.sqlite import sql
from twofold.kernel.errors import Misconfigured, Unavailable
from twofold.kernel.lanes import Regroup
from twofold.kernel.letters import LETTERS_MAX, DeadLetter, letter_id


class SqliteLaneTable:
    """Ports LaneTable and DeadLetters. Thread-safe; the file is migrated already."""

    def __init__(self, file: SqliteFile) -> None:
        self._file = file
        self._not_removed: deque[int] = deque()
        with file.reading() as reader:
            self._inherited_through = int(reader.execute(sql.LAST_BATCH).fetchone()[0])

    def put(self, batches: Sequence[tuple[int, bytes]]) -> None:
        self._file.write(lambda writer: _nothing(writer.executemany(sql.PUT_BATCH, batches)))

    def take(self, after: int, limit: int) -> list[tuple[int, int, bytes]]:
        with self._file.reading() as reader:
            return reader.execute(sql.TAKE_BATCHES, (after, limit)).fetchall()

    def inherited_through(self) -> int:
        return self._inherited_through

    def done(self, ids: Sequence[int]) -> None:
        """Rides on the next commit, whoever's it is. What a failed one leaves in the table goes with the next call."""
        removable = [*ids, *self._left_over()]

        def keep_if_failed(future: Future[None]) -> None:
            if future.exception() is not None:
                self._not_removed.extend(removable)

        try:
            future = self._file.submit(lambda writer: _remove(writer, removable), lazy=True)
        except Unavailable:
            self._not_removed.extend(removable)
            raise
        future.add_done_callback(keep_if_failed)

    def depths(self) -> dict[int, int]:
        with self._file.reading() as reader:
            return dict(reader.execute(sql.DEPTHS).fetchall())

    def bury(self, batch_id: int, reason: str) -> None:
        buried_at = time.time_ns() // 1000

        def job(writer: sqlite3.Connection) -> None:
            writer.execute(sql.BURY, (reason, buried_at, batch_id))
            _remove(writer, [batch_id])

        self._file.write(job)

    def letters(self, limit: int = LETTERS_MAX) -> list[DeadLetter]:
        with self._file.reading() as reader:
            rows = reader.execute(sql.DEAD_LETTERS, (limit,)).fetchall()
        return [_letter(row) for row in rows]

    def letters_count(self) -> int:
        with self._file.reading() as reader:
            return int(reader.execute(sql.DEAD_LETTERS_COUNT).fetchone()[0])

    def take_out(self, letter_id: str, use: Callable[[DeadLetter], None]) -> bool:
        found = [letter for letter in self.letters(-1) if letter.id == letter_id]
        if not found:
            return False
        use(found[0])
        self._file.write(lambda writer: _nothing(writer.execute(sql.REMOVE_DEAD_LETTER, (found[0].body,))))
        return True

    def count(self) -> int:
        with self._file.reading() as reader:
            (count,) = reader.execute(sql.LANE_COUNT).fetchone()
        if count is None:
            raise Misconfigured("TWOFOLD_DATA: the log has not been given its lanes; run `twofold migrate`")
        return int(count)

    def renumber(self, count: int, regroup: Regroup) -> None:
        def job(writer: sqlite3.Connection) -> None:
            waiting = writer.execute(sql.LANE_BODIES).fetchall()
            _remove(writer, [batch_id for batch_id, _, _ in waiting])
            again = [batch for _, lane, body in waiting for batch in regroup(lane, body)]
            writer.executemany(sql.PUT_BATCH, again)
            writer.execute(sql.SET_LANE_COUNT, (count,))

        self._file.write(job)

    def _left_over(self) -> list[int]:
        return [self._not_removed.popleft() for _ in range(len(self._not_removed))]


def _remove(writer: sqlite3.Connection, ids: Sequence[int]) -> None:
    writer.executemany(sql.REMOVE_BATCH, [(batch_id,) for batch_id in ids])


def _nothing(_cursor: sqlite3.Cursor) -> None:
    """Jobs hand nothing of their connection out of its thread."""


def _letter(row: tuple[int, bytes, str, int]) -> DeadLetter:
    lane, body, reason, buried_at = row
    return DeadLetter(letter_id(body), str(lane), reason, moment(buried_at), body)
