"""A worker that writes a diary until it is killed: `python -m tests.contract.diary_child URL`. A line for each batch."""

from __future__ import annotations

import sys
from itertools import count
from pathlib import Path

from tests.contract.diaries import worker, written
from twofold.database.postgres import LOG, connect
from twofold.database.sqlite_file import SqliteFile
from twofold.eventstore.postgres import PostgresLog
from twofold.eventstore.sqlite import SqliteLog
from twofold.kernel.ports import Log

BATCH = 3


def opened(url: str) -> Log:
    """A log that is closed by the end of the process."""
    if url.startswith("sqlite:///"):
        return SqliteLog(SqliteFile(Path(url.removeprefix("sqlite:///"))))
    return PostgresLog(connect(url, 2, LOG))


if __name__ == "__main__":
    mine = worker(opened(sys.argv[1]), snapshot_every=2)
    for number in count():
        mine.execute([written(number % 900 + 1) for _ in range(BATCH)])
        print(number, flush=True)
