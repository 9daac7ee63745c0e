"""Checkpoints on PostgreSQL: slices that stand together have one, and processes of earlier releases move theirs beside it."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.contract.viewstores import EVERYTHING, SqlPlace
from tests.servers.postgres import libpq
from twofold.kernel.rows import Advance, Generation
from twofold.kernel.view import SliceId
from twofold.readmodels.stores.sql import SqlViewStore, connect
from twofold.readmodels.stores.sql.checkpoints import Run, joined

SLICES = 6
SECONDS_MAX = 60.0
MOVES = 60

EARLIER_MOVE = """
    WITH asked AS (
        SELECT * FROM unnest(%s::text[], %s::int[], %s::int[], %s::bigint[], %s::bigint[], %s::text[])
            AS a(view, generation, slice, expected, position, mark)
    ), standing AS (
        SELECT c.view, c.generation, c.slice, a.position, a.mark
        FROM read.checkpoints c JOIN asked a
            ON c.view = a.view AND c.generation = a.generation AND c.slice = a.slice AND c.position = a.expected
        ORDER BY c.view, c.generation, c.slice
        FOR UPDATE OF c
    )
    UPDATE read.checkpoints c SET position = s.position, mark = s.mark FROM standing s
    WHERE c.view = s.view AND c.generation = s.generation AND c.slice = s.slice
    RETURNING c.view, c.generation, c.slice
"""
"""As release 0.1.0, and every other before 0.2, moves checkpoints; 0.1.0 without marks."""

Move = Callable[[Sequence[Advance]], set[SliceId]]


@pytest.fixture
def store(postgres_url: str) -> Iterator[SqlViewStore]:
    engine = connect(postgres_url, 8)
    yield SqlViewStore(engine)
    engine.dispose()


@pytest.fixture
def generation(store: SqlViewStore) -> Generation:
    return store.make(EVERYTHING, SLICES)


def runs(url: str) -> list[tuple[int, int, int]]:
    with psycopg.connect(libpq(url)) as database:
        return database.execute("SELECT first, last, position FROM read.standings ORDER BY first").fetchall()


def to(store: SqlViewStore, generation: Generation, numbers: Sequence[int], position: int) -> set[int]:
    """Those of these slices that moved there from wherever they stand."""
    at = store.positions(generation.view)
    slices = [generation.slice_ids()[number] for number in numbers]
    return {one.slice for one in store.commit([Advance(slice_id, at[slice_id], position, {}) for slice_id in slices])}


def test_a_run_is_parted_by_who_moves_a_part_of_it_and_joined_by_who_moves_all(
    store: SqlViewStore, generation: Generation, postgres_url: str
) -> None:
    """One row for what moves together, as many as are needed for what does not."""
    to(store, generation, range(SLICES), 3)
    assert runs(postgres_url) == [(0, 5, 3)]
    assert to(store, generation, [1, 2, 5], 4) == {1, 2, 5}
    assert runs(postgres_url) == [(0, 0, 3), (1, 2, 4), (3, 4, 3), (5, 5, 4)]
    assert to(store, generation, [3, 4], 4) == {3, 4}
    assert runs(postgres_url) == [(0, 0, 3), (1, 2, 4), (3, 4, 4), (5, 5, 4)], "who moves 3 and 4 knows nothing of the others"
    assert to(store, generation, range(SLICES), 5) == set(range(SLICES))
    assert runs(postgres_url) == [(0, 5, 5)]


def test_only_slices_that_stand_where_expected_move_out_of_a_run(
    store: SqlViewStore, generation: Generation, postgres_url: str
) -> None:
    """Two who believe to hold the same slice: the run it is in must not take along what the other has moved."""
    to(store, generation, range(SLICES), 3)
    ids = generation.slice_ids()
    moved = store.commit([Advance(ids[0], 3, 9, {}, mark="9-a"), Advance(ids[1], 2, 9, {}, mark="9-a")])
    assert moved == {ids[0]}
    assert runs(postgres_url) == [(0, 0, 9), (1, 5, 3)]
    assert store.marks()[ids[0]] == "9-a"


def test_movers_of_this_release_and_earlier_ones_beside_each_other_lose_no_step(
    store: SqlViewStore, generation: Generation, postgres_url: str
) -> None:
    """During a rollout, and when it is taken back: each step of a slice is made by exactly one who saw where it stood."""
    steps = [[0] * SLICES for _ in range(4)]

    def moving(number: int, move: Move) -> None:
        chance, asker = random.Random(number), SqlViewStore(connect(postgres_url, 1))
        asker.attach(EVERYTHING)
        for _ in range(MOVES):
            at = asker.positions("everything")
            some = chance.sample(generation.slice_ids(), chance.randint(1, SLICES))
            to = max(at.values()) + chance.randint(0, 2)
            for one in move([Advance(slice_id, at[slice_id], to, {}, mark=f"{to}-x") for slice_id in some if at[slice_id] < to]):
                steps[number][one.slice] += to - at[one]
        asker._engine.dispose()

    def earlier(advances: Sequence[Advance]) -> set[SliceId]:
        if not advances:
            return set()
        columns = [[*one.slice, one.expected, one.position, one.mark] for one in advances]
        with psycopg.connect(libpq(postgres_url)) as database:
            return {SliceId(*row) for row in database.execute(EARLIER_MOVE, list(map(list, zip(*columns, strict=True))))}

    with ThreadPoolExecutor(4) as pool:
        both: list[Move] = [store.commit, earlier, store.commit, earlier]
        for done in [pool.submit(moving, number, move) for number, move in enumerate(both)]:
            done.result(SECONDS_MAX)
    positions = store.positions("everything")
    assert [positions[one] for one in generation.slice_ids()] == [sum(made) for made in zip(*steps, strict=True)]
    assert all(sum(made) > 0 for made in steps), "each of them has moved something"
    assert all(mark == f"{positions[one]}-x" for one, mark in store.marks().items())


def test_a_run_waits_for_an_earlier_release_that_has_locked_a_slice_of_it(
    store: SqlViewStore, generation: Generation, postgres_url: str
) -> None:
    """That is how it keeps others from a slice whose parked line it drains."""
    moved = threading.Event()

    def move() -> None:
        to(store, generation, range(SLICES), 5)
        moved.set()

    with psycopg.connect(libpq(postgres_url)) as database:
        sql = "SELECT position FROM read.checkpoints WHERE view = 'everything' AND generation = 1 AND slice = 2 FOR UPDATE"
        assert database.execute(sql).fetchall() == [(0,)]
        thread = threading.Thread(target=move)
        thread.start()
        assert not moved.wait(0.3)
    assert moved.wait(SECONDS_MAX)
    thread.join()


@pytest.mark.parametrize("release", ["0.1.0", "0.1.1"])
def test_checkpoints_of_an_earlier_release_are_taken_over_under_those_who_move_them(
    store: SqlViewStore, generation: Generation, postgres_url: str, release: str
) -> None:
    """`migrate` runs while they do; theirs goes on in what it has made."""
    ids = generation.slice_ids()
    assert len(store.commit([Advance(one, 0, 7 + one.slice, {}, mark=f"{7 + one.slice}-x") for one in ids])) == SLICES
    SqlPlace(postgres_url).keep_checkpoints_as(release)
    sql = "UPDATE read.checkpoints SET position = position + 1 WHERE view = 'everything' AND generation = 1 AND slice = 0"
    with psycopg.connect(libpq(postgres_url), autocommit=True) as database:
        for _ in range(8):  # often enough for the driver to have it prepared
            database.execute(sql)
        assert store.make(EVERYTHING, SLICES) == generation
        assert database.execute(sql).rowcount == 1
    at = store.positions("everything")
    assert [at[one] for one in ids] == [16, 8, 9, 10, 11, 12]
    assert store.marks()[ids[3]] == ("" if release == "0.1.0" else "10-x")
    assert store.make(EVERYTHING, SLICES) == generation
    assert to(store, generation, range(SLICES), 20) == set(range(SLICES))
    assert runs(postgres_url) == [(0, 5, 20)]


@settings(deadline=None)
@given(
    st.lists(st.tuples(st.integers(1, 4), st.integers(0, 2)), min_size=1, max_size=6),
    st.dictionaries(st.integers(0, 30), st.integers(0, 2)),
)
def test_joining_changes_no_slice_and_leaves_as_few_runs_as_can_be(lengths: list[tuple[int, int]], moves: dict[int, int]) -> None:
    """Whatever stood where, and whoever moves."""
    before, first = [], 0
    for length, position in lengths:
        before.append(Run("v", 1, first, first + length - 1, position, f"{position}"))
        first += length
    moved = {SliceId("v", 1, number): (to, f"{to}") for number, to in moves.items() if number < first}
    after = joined(before, moved)
    expected = {number: run.position for run in before for number in range(run.first, run.last + 1)}
    expected |= {slice_id.slice: to for slice_id, (to, _) in moved.items()}
    assert {number: run.position for run in after for number in range(run.first, run.last + 1)} == expected
    assert all(a.last + 1 == b.first and a.position != b.position for a, b in zip(after, after[1:], strict=False))
