"""What is too heavy for a time-out is tried again in halves, never as it was: on real servers, with short time-outs."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from contextlib import suppress
from typing import cast

import psycopg
import pytest

import twofold.readmodels.projection.fold
from tests.contract.projections import Bugs, Heard, Log, QuietBell, Said, domain, projector, reached, running, until, words
from tests.contract.test_execute import asked, executor, statuses
from tests.servers.postgres import libpq
from twofold.database.postgres import LOG, ROWS, connect
from twofold.eventstore.migrate import migrate
from twofold.eventstore.postgres import PostgresLog
from twofold.kernel.errors import Unavailable
from twofold.kernel.ports import Bell, LogPages
from twofold.kernel.rows import Advance
from twofold.kernel.view import SliceId
from twofold.readmodels.projection.reader import SliceReader
from twofold.readmodels.stores.sql import SqlViewStore
from twofold.subscriptions.log_cache import LogCache
from twofold.testing.memory_rows import MemoryViewStore

KEYS = 120
ROW_BYTES = 300_000
TIMEOUT_MS = 400
SLOW_APPENDS = """
    CREATE FUNCTION be_slow() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN PERFORM pg_sleep(0.02); RETURN NEW; END';
    CREATE TRIGGER slow BEFORE INSERT ON events FOR EACH ROW EXECUTE FUNCTION be_slow()
"""


class Weighing(MemoryViewStore):
    """Notes how many touches each commit has."""

    def __init__(self) -> None:
        super().__init__()
        self.touches: list[int] = []
        self.asked: list[tuple[str, ...]] = []

    def positions(self, *views: str) -> dict[SliceId, int]:
        self.asked.append(views)
        return super().positions(*views)

    def commit(self, advances: Sequence[Advance]) -> set[SliceId]:
        self.touches.append(sum(len(advance.recorded_at) for advance in advances))
        return super().commit(advances)


def test_a_page_of_rows_too_heavy_for_the_time_out_is_halved(postgres_url: str) -> None:
    """Otherwise the view stands still for ever, and each time costs what the time before did."""
    codec, view, _ = domain(Bugs())
    heavy = dataclasses.replace(view, evolve=lambda row, event, about: Heard(about.key, (event.word * ROW_BYTES,), 1))
    log = Log()
    for number in range(KEYS):
        log.append(Said((f"k{number}",), "x"))
    engine = connect(postgres_url, 4, dataclasses.replace(ROWS, statement_timeout_ms=TIMEOUT_MS))
    try:
        store = SqlViewStore(engine)
        generation = store.make(heavy, 1)
        with running(projector(log, store, [heavy], codec, page_events=1_000), generation.slice_ids()):
            until(reached(store, generation, KEYS), "the head")
        assert len(words(store, heavy, ["k0", f"k{KEYS - 1}"])) == 2
    finally:
        engine.dispose()


def test_a_batch_too_heavy_for_the_time_out_is_halved(postgres_url: str) -> None:
    """Its lane would wait behind it for ever."""
    migrate(postgres_url)
    with psycopg.connect(libpq(postgres_url), autocommit=True) as connection:
        connection.execute(SLOW_APPENDS)
    engine = connect(postgres_url, 4, dataclasses.replace(LOG, statement_timeout_ms=TIMEOUT_MS))
    try:
        log = PostgresLog(engine)
        worker, commands = executor(log), [asked(1, f"c{number}") for number in range(100)]
        for _ in range(10):
            with suppress(Unavailable):
                assert statuses(worker.execute(commands)) == ["succeeded"] * 100
                break
        else:
            pytest.fail("it was never decided")
        assert [event.position for event in log.page(0, 200).events] == list(range(1, 101))
    finally:
        engine.dispose()


def test_an_event_that_touches_many_rows_ends_a_step(monkeypatch: pytest.MonkeyPatch) -> None:
    """A thousand events of two thousand keys each are no step: the rows of them all would have to be in memory at once."""
    monkeypatch.setattr(twofold.readmodels.projection.fold, "TOUCHES_MAX", 5)
    codec, view, _ = domain(Bugs())
    log = Log()
    names = tuple(f"k{number}" for number in range(4))
    for number in range(20):
        log.append(Said(names, f"w{number}"))
    store = Weighing()
    generation = store.make(view, 2)
    with running(projector(log, store, [view], codec, page_events=1_000), generation.slice_ids()):
        until(reached(store, generation, 20), "the head")
    assert max(store.touches) <= 8, "two events: the one with which they are too many is the last"
    assert words(store, view, names) == dict.fromkeys(names, tuple(f"w{number}" for number in range(20)))


def test_whether_everything_still_stands_is_one_question() -> None:
    """With a hundred views it is asked every second: one look-up, and not a hundred."""
    codec, view, also = domain(Bugs())
    store = Weighing()
    slices = [slice_id for each in (view, also) for slice_id in store.make(each, 3).slice_ids()]
    log = LogCache(cast(LogPages, Log()), codec, [])
    reader = SliceReader(log, store, {"heard": view, "also": also}, cast(Bell, QuietBell()), 10, lambda: 0.0)
    reader.hold(slices)
    reader.take_over()
    reader.verify()
    assert store.asked == [("also", "heard")] * 2 and set(reader.checkpoints()) == set(slices)
