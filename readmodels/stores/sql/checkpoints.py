"""Checkpoints in SQL: where each slice stands, and moving those that still stand where their projector believes."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Dialect

from twofold.kernel.rows import Advance, Generation
from twofold.kernel.view import SliceId
from twofold.readmodels.stores.sql.session import Session
from twofold.readmodels.stores.sql.tables import qualified


class Checkpoints:
    """Both dialects' statements, chosen once."""

    def __init__(self, dialect: Dialect) -> None:
        self._on_postgres = dialect.name == "postgresql"
        self._table = qualified("checkpoints", dialect)

    def positions(self, session: Session, generations: Sequence[Generation]) -> dict[SliceId, int]:
        """Every slice of these generations, 0 for one without a checkpoint."""
        stored = {
            SliceId(view, generation, slice): position
            for view, generation, slice, position in session.rows(f"SELECT view, generation, slice, position FROM {self._table}")
        }
        return {slice_id: stored.get(slice_id, 0) for generation in generations for slice_id in generation.slice_ids()}

    def lock(self, session: Session, slice_id: SliceId) -> int | None:
        """Where this slice stands, and nobody moves it before the transaction ends; None when it has no checkpoint."""
        mark, lock = ("%s", "FOR UPDATE") if self._on_postgres else ("?", "")
        where = f"view = {mark} AND generation = {mark} AND slice = {mark}"
        found = session.rows(f"SELECT position FROM {self._table} WHERE {where} {lock}", tuple(slice_id))
        return found[0][0] if found else None

    def move(self, session: Session, advances: Sequence[Advance]) -> set[SliceId]:
        """Compare and set each; the slices that moved. Locked in the order of their names: two movers cannot deadlock."""
        ordered = sorted(advances, key=lambda advance: advance.slice)
        return self._move_together(session, ordered) if self._on_postgres else self._move_one_by_one(session, ordered)

    def _move_together(self, session: Session, advances: Sequence[Advance]) -> set[SliceId]:
        moved = session.rows(
            f"""
            WITH asked AS (
                SELECT * FROM unnest(%s::text[], %s::int[], %s::int[], %s::bigint[], %s::bigint[])
                    AS a(view, generation, slice, expected, position)
            ), standing AS (
                SELECT c.view, c.generation, c.slice, a.position
                FROM {self._table} c JOIN asked a
                    ON c.view = a.view AND c.generation = a.generation AND c.slice = a.slice AND c.position = a.expected
                ORDER BY c.view, c.generation, c.slice
                FOR UPDATE OF c
            )
            UPDATE {self._table} c SET position = s.position FROM standing s
            WHERE c.view = s.view AND c.generation = s.generation AND c.slice = s.slice
            RETURNING c.view, c.generation, c.slice
            """,
            [
                [advance.slice.view for advance in advances],
                [advance.slice.generation for advance in advances],
                [advance.slice.slice for advance in advances],
                [advance.expected for advance in advances],
                [advance.position for advance in advances],
            ],
        )
        return {SliceId(*row) for row in moved}

    def _move_one_by_one(self, session: Session, advances: Sequence[Advance]) -> set[SliceId]:
        sql = f"UPDATE {self._table} SET position = ? WHERE view = ? AND generation = ? AND slice = ? AND position = ?"
        return {
            advance.slice for advance in advances if session.count(sql, (advance.position, *advance.slice, advance.expected)) == 1
        }
