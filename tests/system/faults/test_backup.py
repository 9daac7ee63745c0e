"""The database is lost, and what there is instead has not got the last commits: a backup, or a replica that takes over.

What it had not got is gone, and nothing else: docs/operate.md says what to type, and this is what it types.
"""

from __future__ import annotations

import asyncio
import sqlite3
from contextlib import closing
from pathlib import Path
from random import Random
from threading import Thread

import pytest

from tests.chaos.checker import shown
from tests.chaos.client import Load
from tests.chaos.embedded import Embedded
from tests.chaos.failovers import ROUNDS
from tests.chaos.record import Record
from tests.chaos.rooms import wait_until
from tests.chaos.served import Backends
from tests.servers import Servers

SEED = 20_101_201
LOAD_SECONDS = 1.0
STREAMS, TELLERS = 20, 1
SETTLE_SECONDS_MAX = 60.0


@pytest.mark.parametrize("name", ROUNDS)
def test_what_is_lost_is_what_was_not_kept_and_orders_flow_on_from_there(
    servers: Servers, backends: Backends, tmp_path: Path, name: str
) -> None:
    one = ROUNDS[name](servers, backends, tmp_path, f"test_{name}", Random(SEED))
    print(one)
    assert not one.violations, "\n".join([str(one), *shown(one.violations)])


def test_the_files_of_an_embedded_system_are_copied_while_orders_flow_in(tmp_path: Path) -> None:
    """The rows first, then the log: rows that a log has not got yet would be rows of nothing."""
    (tmp_path / "first").mkdir()
    with Embedded(tmp_path / "first") as first:
        kept = _orders(first, "kept")
        for name in ("views.db", "log.db"):
            loading = Thread(target=_orders, args=(first, f"beside-{name}"))
            loading.start()
            _copy(first.data / name, tmp_path / "second" / "data" / name)
            loading.join()
    with Embedded(tmp_path / "second") as second:
        assert second.stores.has_outcomes(kept.accepted)
        again = _orders(second, "again")
        assert second.stores.has_outcomes(again.accepted)
        second.checker.check(again)
        assert second.checker.check_all_rows() == []


def _orders(system: Embedded, name: str) -> Record:
    """Some orders, all decided and shown."""
    record = Record()
    asyncio.run(Load([system.room.url], record, name, Random(name)).run(LOAD_SECONDS, STREAMS, TELLERS))
    wait_until("all is shown", lambda: system.checker.is_settled(record), SETTLE_SECONDS_MAX, system.tails)
    return record


def _copy(file: Path, copy: Path) -> None:
    """What `sqlite3 FILE ".backup COPY"` does: one moment of a file that is being written to."""
    copy.parent.mkdir(parents=True, exist_ok=True)
    with closing(sqlite3.connect(file)) as source, closing(sqlite3.connect(copy)) as target:
        source.backup(target)
