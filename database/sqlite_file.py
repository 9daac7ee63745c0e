"""One SQLite file, written by one thread of one process: commits are shared by whatever waits together.

    any thread ── submit(job) ──> waiting ──> BEGIN  savepoint(job) savepoint(job) …  COMMIT (one fsync) ──> futures
    any thread ── reading() ────> a read-only connection, which sees what is committed and can neither write nor checkpoint

While one group is being made durable the next one gathers, so the group grows with the load and nobody waits for a timer.
A job that raises is rolled back to its savepoint and takes nobody with it. SQLite before 3.51.3 can corrupt a file in WAL
mode that two connections write or checkpoint; here a single connection does both, and a lock keeps other processes out.
"""

from __future__ import annotations

import sqlite3
import threading
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeout
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from twofold.database.errors import as_ours
from twofold.database.sqlite import BUSY_SECONDS, WAL_BYTES_MAX, FileLock, make_writer, open_reader
from twofold.kernel.errors import BUGS, Misconfigured, Neighbour, Unavailable

GROUP_JOBS_MAX = 128
WAITING_JOBS_MAX = 10_000
JOB_WAIT_SECONDS = 30.0
LAZY_SECONDS = 0.05
"""How long a lazy job waits for a group to ride on before it makes one of its own."""
READERS_MAX = 8
READER_WAIT_SECONDS = 5.0
WRITER_CACHE_KIB = 64 * 1024
FREE_PAGES_MAX = 1_000
"""More free pages than this (4 MB), and than a tenth of all, are given back, a few with each group: nobody waits for it."""
GIVEN_BACK_PAGES = 64
GROUPS_BETWEEN_LOOKS = 100
CLOSE_SECONDS = 10.0

T = TypeVar("T")
Job = Callable[[sqlite3.Connection], T]


@dataclass(slots=True)
class _Waiting:
    run: Job[Any]
    is_lazy: bool
    future: Future[Any] = field(default_factory=Future)


class SqliteFile:
    """The file at `path`, made when it is not there (its tables are `migrate`'s business).

    Raises Misconfigured when another process has it open, or it cannot be opened.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = FileLock(path)
        try:
            self._writer = _open_writer(path)
        except sqlite3.Error as error:
            self._lock.release()
            raise Misconfigured(f"TWOFOLD_DATA: {path} cannot be used as an SQLite file ({error}); move it away") from error
        self._waiting: deque[_Waiting] = deque()
        self._urgent_count = 0
        self._changed = threading.Condition()
        self._is_closing = False
        self._readers: deque[sqlite3.Connection] = deque()
        self._reader_slots = threading.BoundedSemaphore(READERS_MAX)
        self._wal_path = path.with_name(path.name + "-wal")
        self._wal_bytes_max = WAL_BYTES_MAX
        """Above this the writer stops for a checkpoint that empties the WAL, in case readers kept the usual ones from it."""
        self._groups_until_look = 0
        self._thread = threading.Thread(target=self._write_groups, name="sqlite-writer", daemon=True)
        self._thread.start()

    def submit(self, job: Job[T], lazy: bool = False) -> Future[T]:
        """Run a job inside the next group's transaction. Its future is done once the group is durable, or the job failed.

        The job must not commit or roll back. `lazy`: nobody waits for it, so it rides on a group that is made anyway.
        Raises Unavailable when closed or when too much waits already.
        """
        waiting = _Waiting(job, lazy)
        with self._changed:
            if self._is_closing:
                raise Unavailable(Neighbour.LOG, "closed", detail=self.path.name)
            if len(self._waiting) >= WAITING_JOBS_MAX:
                raise Unavailable(Neighbour.LOG, "too many writes wait", detail=self.path.name, is_overload=True)
            self._waiting.append(waiting)
            self._urgent_count += not lazy
            if not lazy or len(self._waiting) == 1:
                self._changed.notify()
        return waiting.future

    def write(self, job: Job[T]) -> T:
        """Run a job and wait until it is durable. Unavailable after JOB_WAIT_SECONDS: it may happen all the same."""
        future = self.submit(job)
        try:
            return future.result(JOB_WAIT_SECONDS)
        except FutureTimeout as error:
            raise Unavailable(Neighbour.LOG, detail=self.path.name) from error

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """A read-only connection for the block; each statement sees one snapshot. At most READERS_MAX at a time."""
        if self._is_closing:
            raise Unavailable(Neighbour.LOG, "closed", detail=self.path.name)
        if not self._reader_slots.acquire(timeout=READER_WAIT_SECONDS):
            raise Unavailable(Neighbour.LOG, "too many readers", detail=self.path.name, is_overload=True)
        try:
            reader = self._reader()
            try:
                yield reader
            except BaseException:
                # It may be amid a statement, and so hold a snapshot: not to be used again.
                reader.close()
                raise
            self._readers.append(reader)
        except sqlite3.Error as error:
            if ours := as_ours(error, Neighbour.LOG):
                raise ours from error
            raise
        finally:
            self._reader_slots.release()

    def fetch(self, statement: str, values: Sequence[Any] | Mapping[str, Any] = ()) -> list[tuple[Any, ...]]:
        """All rows of one statement, on a read-only connection."""
        with self.reading() as reader:
            return reader.execute(statement, values).fetchall()

    def close(self) -> None:
        """Make durable what waits, then close. The writer's connection goes last and leaves no WAL behind."""
        with self._changed:
            if self._is_closing:
                return
            self._is_closing = True
            self._changed.notify()
        self._thread.join(CLOSE_SECONDS)
        for _ in range(READERS_MAX):
            if self._reader_slots.acquire(timeout=READER_WAIT_SECONDS):
                with suppress(IndexError):
                    self._readers.pop().close()
        self._writer.close()
        self._lock.release()

    def _reader(self) -> sqlite3.Connection:
        try:
            return self._readers.pop()
        except IndexError:
            return open_reader(self.path)

    def _write_groups(self) -> None:
        while group := self._next_group():
            self._commit(group)
            self._keep_wal_small()
            self._give_back()

    def _next_group(self) -> list[_Waiting]:
        """What waits, in order of arrival; blocks while nothing does. Empty when the file is closing and all is done."""
        with self._changed:
            while not self._urgent_count and not self._is_closing:
                if not self._changed.wait(LAZY_SECONDS if self._waiting else None) and self._waiting:
                    break
            group = [self._waiting.popleft() for _ in range(min(len(self._waiting), GROUP_JOBS_MAX))]
            self._urgent_count -= sum(not waiting.is_lazy for waiting in group)
            return group

    def _commit(self, group: list[_Waiting]) -> None:
        """One transaction; only when it is durable, or can no longer become so, does anybody hear of it."""
        group = [waiting for waiting in group if waiting.future.set_running_or_notify_cancel()]
        failures: dict[int, BaseException] = {}
        results: dict[int, Any] = {}
        try:
            self._writer.execute("BEGIN IMMEDIATE")
            for number, waiting in enumerate(group):
                self._writer.execute("SAVEPOINT job")
                try:
                    results[number] = waiting.run(self._writer)
                except BUGS as error:
                    # On a full disk or an I/O error SQLite rolls back by itself, neighbours and all.
                    if not self._writer.in_transaction:
                        raise
                    failures[number] = error
                    self._writer.execute("ROLLBACK TO job")
                self._writer.execute("RELEASE job")
            self._writer.execute("COMMIT")
        except BUGS as error:
            failures = dict.fromkeys(range(len(group)), error)
            with suppress(sqlite3.Error):
                self._writer.rollback()
        for number, waiting in enumerate(group):
            if number in failures:
                waiting.future.set_exception(_explained(failures[number]))
            else:
                waiting.future.set_result(results[number])

    def _keep_wal_small(self) -> None:
        size = self._wal_path.stat().st_size if self._wal_path.exists() else 0
        if size <= self._wal_bytes_max:
            return
        try:
            busy, _, _ = self._writer.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        except sqlite3.Error:
            # No harm: what is in the WAL is durable there. The next commit will say what is wrong with the disk.
            busy = True
        # A reader that would not let go for BUSY_SECONDS is not waited for again until as much has been written anew.
        self._wal_bytes_max = size + WAL_BYTES_MAX if busy else WAL_BYTES_MAX

    def _give_back(self) -> None:
        """What is deleted leaves room for what comes; only what is far more than that leaves the file."""
        self._groups_until_look -= 1
        if self._groups_until_look > 0:
            return
        self._groups_until_look = GROUPS_BETWEEN_LOOKS
        with suppress(sqlite3.Error):  # no harm: the next commit will say what is wrong with the disk
            [free], [pages] = (self._writer.execute(f"PRAGMA {name}").fetchone() for name in ("freelist_count", "page_count"))
            if free > max(FREE_PAGES_MAX, pages // 10):
                self._writer.executescript(f"PRAGMA incremental_vacuum({GIVEN_BACK_PAGES})")  # `execute` takes one step, a page
                self._groups_until_look = 0


def _explained(error: BaseException) -> BaseException:
    ours = as_ours(error, Neighbour.LOG)
    if ours is None:
        return error
    ours.__cause__ = error
    return ours


def _open_writer(path: Path) -> sqlite3.Connection:
    writer = sqlite3.connect(path, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False, cached_statements=256)
    make_writer(writer, is_durable=True)
    writer.execute(f"PRAGMA cache_size = -{WRITER_CACHE_KIB}")
    return writer
