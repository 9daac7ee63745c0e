"""What a step of a projector costs PostgreSQL, counted: round trips, and checkpoints written.

Times depend on the machine; these numbers do not. A projector that follows seven views commits dozens of times a second.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import cast
from urllib.parse import urlsplit

import psycopg
import pytest

from tests.contract.projections import Bugs, Heard, Log, QuietBell, Said, domain, words
from tests.contract.wire import CountedWire
from tests.servers.postgres import libpq
from twofold.kernel.ids import slice_of
from twofold.kernel.ports import LogPages
from twofold.kernel.rows import Advance, Generation, Row
from twofold.kernel.view import AnyView, View
from twofold.readmodels.projection.reader import SliceReader
from twofold.readmodels.stores.sql import SqlViewStore, connect
from twofold.subscriptions.log_cache import LogCache

SLICES = 4
NAMES = ("ann", "bob", "cid", "dan", "eve")
LEARNT = 8
"""Steps after which the driver has prepared what it sends again and again."""
ROUND_TRIPS_MAX = 2
"""Of a commit: lock the checkpoints and see where they stand; then everything that is written, and the end."""


@dataclass
class Counted:
    wire: CountedWire
    store: SqlViewStore
    url: str

    def round_trips(self) -> int:
        """Since it was asked last."""
        found, self.wire.round_trips = self.wire.round_trips, 0
        return found

    def checkpoints_written_last(self) -> int:
        """Rows of checkpoints by the newest transaction that wrote any."""
        sql = """
            SELECT count(*) FROM read.{0} GROUP BY xmin::text ORDER BY max(xmin::text::bigint) DESC LIMIT 1
        """
        with psycopg.connect(libpq(self.url)) as database:
            kept = database.execute("SELECT to_regclass('read.standings') IS NOT NULL").fetchone()
            table = "standings" if kept and kept[0] else "checkpoints"
            found = database.execute(sql.format(table).encode()).fetchone()
        return int(found[0]) if found else 0


@pytest.fixture
def counted(postgres_url: str) -> Iterator[Counted]:
    at = urlsplit(postgres_url)
    with CountedWire(at.hostname or "", at.port or 0) as wire:
        engine = connect(postgres_url.replace(f":{at.port}/", f":{wire.port}/"), 4)
        yield Counted(wire, SqlViewStore(engine), postgres_url)
        engine.dispose()


def seven_views() -> tuple[list[AnyView], LogCache, Log]:
    codec, view, _ = domain(Bugs())
    log = Log()
    views = [_named(view, f"view_{number}") for number in range(7)]
    return views, LogCache(cast(LogPages, log), codec, view.listened), log


def _named(view: AnyView, name: str) -> AnyView:
    return View(name=name, key=view.key, row=view.row, on=view.on, keys=view.keys, evolve=view.evolve, orders=view.orders)


def advances(generations: Sequence[Generation], expected: int, names: Sequence[str]) -> list[Advance]:
    """Each slice one event further, with the rows of these names."""
    return [
        Advance(
            slice_id,
            expected,
            expected + 1,
            {name: Row(name, Heard(name), expected + 1) for name in names if slice_of(name, SLICES) == slice_id.slice},
            mark=f"{expected + 1}-mark",
        )
        for generation in generations
        for slice_id in generation.slice_ids()
    ]


@pytest.mark.parametrize("count", [1, 7])
def test_a_commit_takes_two_round_trips_however_many_views_it_moves(counted: Counted, count: int) -> None:
    """Each is a switch between processes, on a machine that is busy, while rows are locked."""
    views, _, _ = seven_views()
    generations = [counted.store.make(view, SLICES) for view in views[:count]]
    slices = {slice_id for generation in generations for slice_id in generation.slice_ids()}
    for number in range(LEARNT):
        assert counted.store.commit(advances(generations, number, NAMES)) == slices
    counted.round_trips()
    assert counted.store.commit(advances(generations, LEARNT, NAMES)) == slices
    assert counted.round_trips() <= ROUND_TRIPS_MAX
    assert counted.store.commit(advances(generations, 0, NAMES)) == set()
    assert counted.round_trips() <= ROUND_TRIPS_MAX, "refused"


def test_slices_that_move_together_have_one_checkpoint(counted: Counted) -> None:
    """Most of them have no row of it to write; each row of checkpoints is a dead tuple that somebody has to clear away."""
    views, _, _ = seven_views()
    generations = [counted.store.make(view, SLICES) for view in views]
    for number in range(2):
        counted.store.commit(advances(generations, number, ["ann"]))
    assert counted.checkpoints_written_last() == len(views)
    assert set(counted.store.positions().values()) == {2}
    assert set(counted.store.marks().values()) == {"2-mark"}


def test_a_step_loads_the_rows_of_all_views_in_one_round_trip(counted: Counted) -> None:
    """A step reads the rows it does not know, and commits: three round trips, however many views."""
    views, cache, log = seven_views()
    slices = [slice_id for view in views for slice_id in counted.store.make(view, SLICES).slice_ids()]
    reader = SliceReader(cache, counted.store, {view.name: view for view in views}, QuietBell(), 10, lambda: 0.0)
    reader.hold(slices)
    reader.take_over()
    for number in range(LEARNT + 1):
        log.append(Said((f"new {number}", f"also new {number}"), "hello"))
        counted.round_trips()
        reader.step(slices, cache.after(number, 10))
    assert counted.round_trips() <= 1 + ROUND_TRIPS_MAX
    for view in views:
        assert words(counted.store, view, ["new 0"]) == {"new 0": ("hello",)}
