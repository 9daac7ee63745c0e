"""Where each slice stands, in SQL. Checkpoints move by compare-and-set, inside the transaction that writes the rows.

On PostgreSQL slices of a view that stand together have one checkpoint: `standings` has a row for each run of them, from `first`
to `last`. Whoever moves locks the runs that his slices are in, and compares what he finds; runs are parted when only some of
their slices move, and joined when one mover takes neighbours to the same place:

    0..3 @7 ── all move ──> 0..3 @9            0..3 @7 ── 2, 3 move ──> 0..1 @7   2..3 @9 ── all are moved to 12 ──> 0..3 @12

Release 0.1.0 knows a table `checkpoints` with a row for each slice. On PostgreSQL that is a view of the runs by now, which may be
written (tables.py), so its processes go on beside ours. On SQLite, where one process does everything and a row costs next to
nothing, it is still a table.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import groupby
from typing import NamedTuple

from sqlalchemy import Dialect

from twofold.database.session import Session
from twofold.kernel.rows import Advance, Generation
from twofold.kernel.view import SliceId
from twofold.readmodels.stores.sql.tables import qualified


class Run(NamedTuple):
    """Slices of one generation that stand together."""

    view: str
    generation: int
    first: int
    last: int
    position: int
    mark: str


class Checkpoints:
    """What both dialects share."""

    lock_words = ""
    parameter = "?"

    def __init__(self, dialect: Dialect) -> None:
        self._table = qualified("checkpoints", dialect)

    def positions(self, session: Session, generations: Sequence[Generation]) -> dict[SliceId, int]:
        """Every slice of these generations, 0 for one without a checkpoint."""
        stored = {
            SliceId(view, generation, slice): position
            for view, generation, slice, position in session.rows(f"SELECT view, generation, slice, position FROM {self._table}")
        }
        return {slice_id: stored.get(slice_id, 0) for generation in generations for slice_id in generation.slice_ids()}

    def marks(self, session: Session, generations: Sequence[Generation]) -> dict[SliceId, str]:
        """Of every slice of these generations the event it stands on; "" where that was not noted."""
        stored = {
            SliceId(view, generation, slice): mark or ""
            for view, generation, slice, mark in session.rows(f"SELECT view, generation, slice, mark FROM {self._table}")
        }
        return {slice_id: stored.get(slice_id, "") for generation in generations for slice_id in generation.slice_ids()}

    def lock(self, session: Session, slice_id: SliceId) -> int | None:
        """Where this slice stands, and nobody moves it before the transaction ends; None when it has no checkpoint."""
        where = " AND ".join(f"{name} = {self.parameter}" for name in ("view", "generation", "slice"))
        found = session.rows(f"SELECT position FROM {self._table} WHERE {where} {self.lock_words}", tuple(slice_id))
        return found[0][0] if found else None

    def move(self, session: Session, advances: Sequence[Advance]) -> set[SliceId]:
        """Compare and set each; the slices that moved."""
        raise NotImplementedError


class SqliteCheckpoints(Checkpoints):
    """Only one writes at a time, so nothing can move between the comparison and the setting."""

    def move(self, session: Session, advances: Sequence[Advance]) -> set[SliceId]:
        asked = [(*advance.slice, advance.expected, advance.position, advance.mark) for advance in advances]
        names = ("view", "generation", "slice", "expected", "position", "mark")
        taken = ", ".join(f"value ->> {number} AS {name}" for number, name in enumerate(names))
        sql = f"""
            UPDATE {self._table} AS c SET position = a.position, mark = a.mark FROM (SELECT {taken} FROM json_each(?)) AS a
            WHERE c.view = a.view AND c.generation = a.generation AND c.slice = a.slice AND c.position = a.expected
            RETURNING view, generation, slice
        """
        return {SliceId(*row) for row in session.rows(sql, (json.dumps(asked),))}


class PostgresCheckpoints(Checkpoints):
    """A round trip that locks the runs and says where they stand; what is set goes out with the rows.

    Runs are locked in the order of their names, so two movers cannot deadlock. A run that was parted or joined while one waited
    for it is not found: its slices are refused, and are looked up by who wanted to move them.
    """

    lock_words = "FOR UPDATE"
    parameter = "%s"

    def __init__(self, dialect: Dialect) -> None:
        super().__init__(dialect)
        runs = qualified("standings", dialect)
        self._lock = f"""
            SELECT s.view, s.generation, s.first, s.last, s.position, coalesce(s.mark, '')
            FROM unnest(%s::text[], %s::int[], %s::int[], %s::int[]) AS a(view, generation, first, last)
            JOIN {runs} s ON s.view = a.view AND s.generation = a.generation AND s.first <= a.last AND s.last >= a.first
            ORDER BY s.view, s.generation, s.first FOR UPDATE OF s
        """
        self._set = f"""
            UPDATE {runs} s SET position = a.position, mark = a.mark
            FROM unnest(%s::text[], %s::int[], %s::int[], %s::bigint[], %s::text[]) AS a(view, generation, first, position, mark)
            WHERE s.view = a.view AND s.generation = a.generation AND s.first = a.first
        """
        self._clear = f"""
            DELETE FROM {runs} s USING unnest(%s::text[], %s::int[], %s::int[]) AS a(view, generation, first)
            WHERE s.view = a.view AND s.generation = a.generation AND s.first = a.first
        """
        self._insert = f"""
            INSERT INTO {runs} (view, generation, first, last, position, mark)
            SELECT * FROM unnest(%s::text[], %s::int[], %s::int[], %s::int[], %s::bigint[], %s::text[])
        """

    def move(self, session: Session, advances: Sequence[Advance]) -> set[SliceId]:
        asked = joined((Run(*one.slice, one.slice.slice, 0, "") for one in advances), {})
        standing = sorted({Run(*row) for row in session.rows(self._lock, _columns(asked)[:4])})
        at = {slice_id: run.position for run in standing for slice_id in _slices(run)}
        moved = {one.slice: (one.position, one.mark) for one in advances if at.get(one.slice) == one.expected}
        if not moved:
            return set()
        after = joined(standing, moved)
        if [run[:4] for run in after] == [run[:4] for run in standing]:
            changed = [run for run, before in zip(after, standing, strict=True) if run != before]
            views, generations, firsts, _, positions, marks = _columns(changed)
            session.count(self._set, (views, generations, firsts, positions, marks))
        else:
            session.count(self._clear, _columns(standing)[:3])
            session.count(self._insert, _columns(after))
        return set(moved)


def checkpoints_of(dialect: Dialect) -> Checkpoints:
    return (PostgresCheckpoints if dialect.name == "postgresql" else SqliteCheckpoints)(dialect)


def checkpoint_of_slice(dialect: Dialect) -> tuple[str, str]:
    """The table in which the checkpoint `c` of the slice `w.slice` is found by itself, and by what condition."""
    if dialect.name == "postgresql":
        return qualified("standings", dialect), "w.slice BETWEEN c.first AND c.last"
    return qualified("checkpoints", dialect), "c.slice = w.slice"


def joined(runs: Iterable[Run], moved: Mapping[SliceId, tuple[int, str]]) -> list[Run]:
    """The runs after some of their slices have moved to a position and its mark: as few as can be, by their names."""
    single = sorted(
        Run(*slice_id, slice_id.slice, *moved.get(slice_id, (run.position, run.mark)))
        for run in runs
        for slice_id in _slices(run)
    )
    found = []
    for _, together in groupby(enumerate(single), lambda one: (*one[1][:2], one[1].first - one[0], *one[1][4:])):
        members = [run for _, run in together]
        found.append(members[0]._replace(last=members[-1].last))
    return found


def _slices(run: Run) -> Iterator[SliceId]:
    return (SliceId(run.view, run.generation, number) for number in range(run.first, run.last + 1))


def _columns(runs: Sequence[Run]) -> list[list[object]]:
    return [[run[number] for run in runs] for number in range(len(Run._fields))]
