"""The log in an SQLite file: shared commits, one process, death of that process, a full disk."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import Future
from pathlib import Path

import pytest

import twofold.database.sqlite_file
from tests.contract.eventstores import envelope, placed
from twofold.database.sqlite import WAL_BYTES_MAX, connect
from twofold.database.sqlite_file import GROUP_JOBS_MAX, SqliteFile
from twofold.eventstore.lane_table import SqliteLaneTable
from twofold.eventstore.migrate import is_current, migrate
from twofold.eventstore.sqlite import SqliteLog
from twofold.kernel.errors import Misconfigured, Unavailable

WAIT_SECONDS = 10.0
KILLS = 3
APPENDS_BEFORE_KILL = 40


@pytest.fixture
def path(tmp_path: Path) -> Path:
    migrate(f"sqlite:///{tmp_path / 'log.db'}")
    return tmp_path / "log.db"


@pytest.fixture
def file(path: Path) -> Iterator[SqliteFile]:
    opened = SqliteFile(path)
    opened.write(lambda writer: writer.execute("CREATE TABLE notes (note TEXT UNIQUE)").close())
    yield opened
    opened.close()


class Held:
    """Keeps the writer busy in a group of its own until released, so that what is submitted meanwhile waits together."""

    def __init__(self, file: SqliteFile) -> None:
        self._entered, self._released = threading.Event(), threading.Event()
        self.future = file.submit(self._job)
        assert self._entered.wait(WAIT_SECONDS)

    def release(self) -> None:
        self._released.set()

    def _job(self, _writer: sqlite3.Connection) -> None:
        self._entered.set()
        assert self._released.wait(WAIT_SECONDS)


def note(file: SqliteFile, text: str) -> Future[int]:
    """Insert a note; what the job saw: notes in its own transaction, minus those that others could see then."""

    def job(writer: sqlite3.Connection) -> int:
        writer.execute("INSERT INTO notes VALUES (?)", (text,))
        own = writer.execute("SELECT count(*) FROM notes").fetchone()[0]
        return int(own) - len(notes(file))

    return file.submit(job)


def notes(file: SqliteFile) -> list[str]:
    with file.reading() as reader:
        return [text for (text,) in reader.execute("SELECT note FROM notes ORDER BY rowid").fetchall()]


def test_jobs_that_wait_together_share_one_commit(file: SqliteFile) -> None:
    """One fsync for all of them: the busier the file, the cheaper each append."""
    held = Held(file)
    futures = [note(file, f"n{number}") for number in range(5)]
    held.release()
    assert [future.result(WAIT_SECONDS) for future in futures] == [1, 2, 3, 4, 5]
    assert notes(file) == ["n0", "n1", "n2", "n3", "n4"]


def test_a_group_is_bounded(file: SqliteFile) -> None:
    """Or the first to wait would wait for everybody."""
    held = Held(file)
    futures = [note(file, f"n{number}") for number in range(GROUP_JOBS_MAX + 2)]
    held.release()
    uncommitted = [future.result(WAIT_SECONDS) for future in futures]
    assert uncommitted == [*range(1, GROUP_JOBS_MAX + 1), 1, 2]


def test_a_job_that_fails_takes_nobody_with_it(file: SqliteFile) -> None:
    """A conflict in one batch is no news for the batches that happened to be committed with it."""
    held = Held(file)
    first = note(file, "a")
    failing = file.submit(lambda writer: [writer.execute("INSERT INTO notes VALUES ('lost')"), 1 / 0])
    last = note(file, "b")
    held.release()
    assert first.result(WAIT_SECONDS) == 1
    with pytest.raises(ZeroDivisionError):
        failing.result(WAIT_SECONDS)
    assert last.result(WAIT_SECONDS) == 2
    assert notes(file) == ["a", "b"]


def test_a_lazy_job_rides_on_the_next_group_or_goes_alone(file: SqliteFile) -> None:
    """Cleaning up must not cost an fsync of its own while there is work, nor wait for ever when there is none."""
    held = Held(file)
    lazy = file.submit(lambda writer: writer.execute("INSERT INTO notes VALUES ('lazy')").close(), lazy=True)
    urgent = note(file, "urgent")
    held.release()
    assert urgent.result(WAIT_SECONDS) == 2
    assert lazy.done()
    file.submit(lambda writer: writer.execute("INSERT INTO notes VALUES ('alone')").close(), lazy=True).result(WAIT_SECONDS)
    assert notes(file) == ["lazy", "urgent", "alone"]


def test_a_job_that_was_cancelled_while_it_waited_is_not_run(file: SqliteFile) -> None:
    """Who has given up must not stop the writer, nor be surprised later."""
    held = Held(file)
    given_up = note(file, "given up")
    assert given_up.cancel()
    last = note(file, "last")
    held.release()
    assert last.result(WAIT_SECONDS) == 1
    assert notes(file) == ["last"]


def test_too_much_waiting_is_refused(file: SqliteFile, monkeypatch: pytest.MonkeyPatch) -> None:
    """A full queue tells its callers, instead of growing until memory ends."""
    monkeypatch.setattr(twofold.database.sqlite_file, "WAITING_JOBS_MAX", 2)
    held = Held(file)
    waiting = [note(file, "a"), note(file, "b")]
    with pytest.raises(Unavailable):
        note(file, "c")
    held.release()
    for future in waiting:
        future.result(WAIT_SECONDS)


def test_what_waits_is_written_before_the_file_closes(path: Path) -> None:
    """A clean stop loses nothing and leaves one plain file."""
    file = SqliteFile(path)
    futures = [file.submit(lambda writer: writer.execute("SELECT 1").fetchone()) for _ in range(3 * GROUP_JOBS_MAX)]
    SqliteLog(file).append([placed("order-1")])
    file.close()
    file.close()
    assert all(future.result(0) == (1,) for future in futures)
    with pytest.raises(Unavailable):
        SqliteLog(file).append([placed("order-2")])
    with pytest.raises(Unavailable):
        SqliteLog(file).head()
    assert not path.with_name("log.db-wal").exists()


def test_a_full_disk_is_unavailable_and_heals(file: SqliteFile) -> None:
    """Commands wait until there is room again; nothing of the refused batches is there, and nothing of older ones is gone."""
    store = SqliteLog(file)
    store.append([placed("order-1")])
    (pages,) = file.write(lambda writer: writer.execute("PRAGMA page_count").fetchone())
    file.write(lambda writer: writer.execute(f"PRAGMA max_page_count = {pages + 2}").fetchone())
    large = b'"' + b"x" * 100_000 + b'"'
    with pytest.raises(Unavailable, match="SQLITE_FULL"):
        store.append([placed("order-2", data=large)])
    assert store.head()[0] == 1
    file.write(lambda writer: writer.execute("PRAGMA max_page_count = 1000000").fetchone())
    assert store.append([placed("order-2", data=large)]).head == 2


def test_readers_cannot_write(file: SqliteFile) -> None:
    """One connection writes and checkpoints, or old versions of SQLite may corrupt the file."""
    with pytest.raises(Unavailable, match="READONLY"), file.reading() as reader:
        reader.execute("INSERT INTO notes VALUES ('a')")
    with pytest.raises(Unavailable), file.reading() as reader:
        reader.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    assert notes(file) == []


def test_the_wal_is_emptied_when_it_has_grown(file: SqliteFile, monkeypatch: pytest.MonkeyPatch) -> None:
    """Readers may keep the usual checkpoints from starting the WAL anew; its size stays bounded all the same."""
    wal = file.path.with_name("log.db-wal")
    monkeypatch.setattr(file, "_wal_bytes_max", 100_000)
    monkeypatch.setattr(twofold.database.sqlite_file, "WAL_BYTES_MAX", 100_000)
    sizes = []
    for number in range(60):
        note(file, f"{number}" * 5000).result(WAIT_SECONDS)
        sizes.append(wal.stat().st_size)
    assert max(sizes) < 300_000
    assert sizes != sorted(sizes)


def test_only_one_process_writes_a_file(path: Path) -> None:
    """The second one is told who has it, before it can do any harm; the first one's death frees it."""
    file = SqliteFile(path)
    script = f"""
import pathlib, sys
from twofold.database.sqlite_file import SqliteFile
from twofold.eventstore.migrate import migrate
from twofold.kernel.errors import Misconfigured
for attempt in (lambda: SqliteFile(pathlib.Path({str(path)!r})), lambda: migrate({f"sqlite:///{path}"!r})):
    try:
        attempt()
    except Misconfigured as error:
        print(error)
"""
    told = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=30, check=True).stdout
    line = f"TWOFOLD_DATA: process {os.getpid()} has {path} open; stop it, or use another folder"
    assert told.splitlines() == [line, line]
    with pytest.raises(Misconfigured, match="open"):
        SqliteFile(path)
    file.close()
    SqliteFile(path).close()


def test_a_file_that_is_not_a_database_is_misconfigured(tmp_path: Path) -> None:
    """Said in one line, not in a traceback."""
    (tmp_path / "log.db").write_bytes(b"not a database, but long enough to be looked at" * 100)
    with pytest.raises(Misconfigured, match="TWOFOLD_DATA"):
        SqliteFile(tmp_path / "log.db")
    with pytest.raises(Misconfigured, match="TWOFOLD_DATA"):
        SqliteFile(tmp_path / "no such folder" / "log.db")
    with pytest.raises(Misconfigured, match="is no SQLite database"):
        migrate(f"sqlite:///{tmp_path / 'log.db'}")


def test_looking_at_a_file_does_not_make_it(tmp_path: Path) -> None:
    """`doctor` only looks."""
    assert not is_current(f"sqlite:///{tmp_path / 'log.db'}")
    assert list(tmp_path.iterdir()) == []
    migrate(f"sqlite:///{tmp_path / 'log.db'}")
    assert is_current(f"sqlite:///{tmp_path / 'log.db'}")


APPEND_FOR_EVER = """
import pathlib, sys, threading
from twofold.database.sqlite_file import SqliteFile
from twofold.eventstore.sqlite import SqliteLog
from tests.contract.eventstores import placed
store = SqliteLog(SqliteFile(pathlib.Path(sys.argv[1])))
say = threading.Lock()

def live(name):
    for number in range(100_000):
        decision = placed(f"{name}-{number}")
        head = store.append([decision, placed(f"{name}-{number}-twin")]).head
        with say:
            print(decision.envelope.command_id, flush=True)

for name in ("a", "b", "c"):
    threading.Thread(target=live, args=(f"order-{sys.argv[2]}-{name}",)).start()
"""


def test_what_was_acknowledged_survives_kill_9(path: Path) -> None:
    """Durable means: when `append` has returned, no death of the process can take it back, and no half batch appears."""
    acknowledged: list[str] = []
    for kill in range(KILLS):
        command = [sys.executable, "-c", APPEND_FOR_EVER, str(path), str(kill)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[2]) as process:
            assert process.stdout is not None
            for line in process.stdout:
                acknowledged.append(line.strip())
                if len(acknowledged) == (kill + 1) * APPENDS_BEFORE_KILL:
                    process.send_signal(signal.SIGKILL)
                    break
            acknowledged += [line.strip() for line in process.stdout if len(line) == len(f"{envelope().command_id}\n")]
    file = SqliteFile(path)
    store = SqliteLog(file)
    assert len(acknowledged) >= KILLS * APPENDS_BEFORE_KILL
    assert set(store.outcomes(acknowledged)) == set(acknowledged)
    head, _ = store.head()
    assert [event.position for event in store.page(0, head + 10).events] == list(range(1, head + 1))
    assert head % 2 == 0
    with file.reading() as reader:
        assert reader.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    assert store.append([placed("order-after")]).head == head + 1
    file.close()


def test_the_version_before_starts_on_what_a_later_one_has_migrated(tmp_path: Path) -> None:
    """Rolling back means deploying it again, its `migrate` first; a pod of it may be moved in the middle of a rollout, too."""
    url = f"sqlite:///{tmp_path / 'log.db'}"
    migrate(url)
    with sqlite3.connect(tmp_path / "log.db") as connection:
        connection.execute("UPDATE eventstore_version SET version_num = '9999'")
    migrate(url)
    assert is_current(url)


def pragma(file: SqliteFile, name: str) -> int:
    return int(file.write(lambda writer: writer.execute(f"PRAGMA {name}").fetchone()[0]))


def test_what_was_deleted_leaves_the_file(file: SqliteFile, monkeypatch: pytest.MonkeyPatch) -> None:
    """A burst that has waited in the lanes once would take its room on the disk for ever."""
    monkeypatch.setattr(twofold.database.sqlite_file, "FREE_PAGES_MAX", 20)
    monkeypatch.setattr(twofold.database.sqlite_file, "GROUPS_BETWEEN_LOOKS", 1)
    before = pragma(file, "page_count")
    table = SqliteLaneTable(file)
    table.put([(0, b"x" * 100_000)] * 30)
    assert pragma(file, "page_count") > before + 600
    table.done([batch_id for batch_id, _, _ in table.take(0, 100)])
    for number in range(130):
        note(file, f"n{number}").result(WAIT_SECONDS)
    assert pragma(file, "page_count") < before + 40
    assert pragma(file, "journal_size_limit") == WAL_BYTES_MAX


def test_outcomes_beyond_the_horizon_are_forgotten(file: SqliteFile) -> None:
    """What need not be known any more is no reason for the file to grow; what need is known to the last position."""
    horizon, before = 20, SqliteLog(file)
    early = [placed(f"early-{number}") for number in range(30)]
    for decision in early:
        before.append([decision])
    store = SqliteLog(file, horizon)
    late = [placed(f"late-{number}") for number in range(60)]
    for decision in late:
        store.append([decision])
    known = store.outcomes([decision.envelope.command_id for decision in early + late])
    assert set(known) == {decision.envelope.command_id for decision in late[-horizon - 1 :]}
    assert store.head()[0] == len(store.page(0, 100).events) == 90


def test_who_opens_the_file_beside_its_writer_leaves_the_writers_locks_alone(tmp_path: Path) -> None:
    """Without them a backup takes itself for the last one there, and removes the WAL that is being written to."""
    migrate(f"sqlite:///{tmp_path / 'log.db'}")
    file = SqliteFile(tmp_path / "log.db")
    engine = connect(f"sqlite:///{tmp_path / 'log.db'}", 1)
    try:
        file.write(lambda writer: writer.execute("CREATE TABLE beside (a)"))
        with engine.connect() as connection:
            connection.exec_driver_sql("SELECT * FROM beside")
        look = "import sqlite3, sys; c = sqlite3.connect(sys.argv[1]); c.execute('SELECT * FROM beside').fetchall(); c.close()"
        subprocess.run([sys.executable, "-c", look, str(tmp_path / "log.db")], check=True, timeout=60)
        assert (tmp_path / "log.db-wal").exists()
    finally:
        engine.dispose()
        file.close()
