"""Parked keys in SQL: each with its line of waiting positions, and what an operator asked to be done with it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Dialect

from twofold.database.times import microseconds, moment
from twofold.kernel.rows import Advance, Generation, ParkedKey
from twofold.kernel.view import SliceId
from twofold.readmodels.stores.sql.session import Session
from twofold.readmodels.stores.sql.tables import qualified


class Lines:
    """All lines of all views in one database."""

    def __init__(self, dialect: Dialect) -> None:
        self._on_postgres = dialect.name == "postgresql"
        self._mark = "%s" if self._on_postgres else "?"
        self._keys = qualified("parked_keys", dialect)
        self._positions = qualified("parked_positions", dialect)

    def parked(self, session: Session, generations: Sequence[Generation]) -> list[ParkedKey]:
        columns = "view, generation, slice, key, position, error, waiting, attempts, parked_at, request"
        sql = f"SELECT {columns} FROM {self._keys} ORDER BY view, position, key"
        live = {(generation.view, generation.number) for generation in generations}
        return [
            ParkedKey(
                slice=SliceId(view, generation, slice),
                key=key,
                position=position,
                error=error,
                waiting=waiting,
                attempts=attempts,
                parked_at=parked_at if self._on_postgres else moment(parked_at),
                retry_requested=request == "retry",
                discard_requested=request == "discard",
            )
            for view, generation, slice, key, position, error, waiting, attempts, parked_at, request in session.rows(sql)
            if (view, generation) in live
        ]

    def waiting(self, session: Session, slice_id: SliceId, key: str, limit: int) -> list[int]:
        sql = f"SELECT position FROM {self._positions} WHERE {self._where()} ORDER BY position LIMIT {limit}"
        return [position for (position,) in session.rows(sql, (*slice_id, key))]

    def request(self, session: Session, generation: Generation, key: str, request: str) -> bool:
        """Note what is wanted for a key, in every slice where it is parked."""
        m = self._mark
        sql = f"UPDATE {self._keys} SET request = {m} WHERE view = {m} AND generation = {m} AND key = {m}"
        return session.count(sql, (request, generation.view, generation.number, key)) > 0

    def is_stale(self, session: Session, advance: Advance) -> bool:
        """Whether some line is no longer what the projector that made this advance saw: somebody else worked at them."""
        sql = f"SELECT position FROM {self._keys} WHERE {self._where()}"
        return any(session.rows(sql, (*advance.slice, key)) != [(first,)] for key, first in advance.lines.items())

    def apply(self, session: Session, advance: Advance) -> None:
        m = self._mark
        for key, last in advance.drained.items():
            session.count(f"DELETE FROM {self._positions} WHERE {self._where()} AND position <= {m}", (*advance.slice, key, last))
            if key in advance.unparked:
                session.count(f"DELETE FROM {self._keys} WHERE {self._where()}", (*advance.slice, key))
            else:
                self._recount(session, advance.slice, key)
        for key, positions in advance.waiting.items():
            session.each(
                f"INSERT INTO {self._positions} (view, generation, slice, key, position) VALUES ({m}, {m}, {m}, {m}, {m})",
                [(*advance.slice, key, position) for position in positions],
            )
            if key not in advance.errors:
                sql = f"UPDATE {self._keys} SET waiting = waiting + {m} WHERE {self._where()}"
                session.count(sql, (len(positions), *advance.slice, key))
        for key, error in advance.errors.items():
            self._park(session, advance, key, error)

    def _park(self, session: Session, advance: Advance, key: str, error: str) -> None:
        m = self._mark
        if key not in advance.waiting:
            sql = f"UPDATE {self._keys} SET error = {m}, attempts = attempts + 1, request = NULL WHERE {self._where()}"
            session.count(sql, (error, *advance.slice, key))
            return
        positions = advance.waiting[key]
        session.count(
            f"""
            INSERT INTO {self._keys} (view, generation, slice, key, position, error, waiting, attempts, parked_at)
            VALUES ({m}, {m}, {m}, {m}, {m}, {m}, {m}, 1, {m})
            """,
            (*advance.slice, key, positions[0], error, len(positions), self._now()),
        )

    def _recount(self, session: Session, slice_id: SliceId, key: str) -> None:
        line = f"FROM {self._positions} WHERE {self._where()}"
        place = (*slice_id, key)
        session.count(
            f"""
            UPDATE {self._keys} SET
                position = (SELECT min(position) {line}),
                waiting = (SELECT count(*) {line}),
                request = CASE request WHEN 'discard' THEN 'retry' ELSE request END
            WHERE {self._where()}
            """,
            (*place, *place, *place),
        )

    def _where(self) -> str:
        m = self._mark
        return f"view = {m} AND generation = {m} AND slice = {m} AND key = {m}"

    def _now(self) -> Any:
        now = datetime.now(UTC)
        return now if self._on_postgres else microseconds(now)
