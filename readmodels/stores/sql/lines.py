"""Parked keys in SQL: each with its line of waiting positions, and what an operator asked to be done with it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Dialect

from twofold.database.times import microseconds, moment
from twofold.kernel.rows import Advance, Drain, Generation, ParkedKey
from twofold.kernel.view import SliceId
from twofold.readmodels.stores.sql.session import Session
from twofold.readmodels.stores.sql.tables import qualified


class ParkedLineTable:
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

    def is_stale(self, session: Session, slice_id: SliceId, lines: Mapping[str, int]) -> bool:
        """Whether some line no longer begins where a projector saw it begin: somebody else worked at it."""
        sql = f"SELECT position FROM {self._keys} WHERE {self._where()}"
        return any(session.rows(sql, (*slice_id, key)) != [(first,)] for key, first in lines.items())

    def extend(self, session: Session, advance: Advance) -> None:
        """The events that wait from now on, and the keys that are parked because of them."""
        m = self._mark
        for key, positions in advance.waiting.items():
            session.each(
                f"INSERT INTO {self._positions} (view, generation, slice, key, position) VALUES ({m}, {m}, {m}, {m}, {m})",
                [(*advance.slice, key, position) for position in positions],
            )
            if key in advance.errors:
                self._park(session, advance.slice, key, positions, advance.errors[key])
            else:
                sql = f"UPDATE {self._keys} SET waiting = waiting + {m} WHERE {self._where()}"
                session.count(sql, (len(positions), *advance.slice, key))

    def drain(self, session: Session, drain: Drain) -> None:
        """The events that wait no longer; whether the key is still parked, and why."""
        m = self._mark
        line = (*drain.slice, drain.key)
        if drain.through is not None:
            session.count(f"DELETE FROM {self._positions} WHERE {self._where()} AND position <= {m}", (*line, drain.through))
            if drain.is_done:
                session.count(f"DELETE FROM {self._keys} WHERE {self._where()}", line)
            else:
                self._recount(session, line)
        if drain.error:
            sql = f"UPDATE {self._keys} SET error = {m}, attempts = attempts + 1, request = NULL WHERE {self._where()}"
            session.count(sql, (drain.error, *line))

    def _park(self, session: Session, slice_id: SliceId, key: str, positions: Sequence[int], error: str) -> None:
        m = self._mark
        session.count(
            f"""
            INSERT INTO {self._keys} (view, generation, slice, key, position, error, waiting, attempts, parked_at)
            VALUES ({m}, {m}, {m}, {m}, {m}, {m}, {m}, 1, {m})
            """,
            (*slice_id, key, positions[0], error, len(positions), self._now()),
        )

    def _recount(self, session: Session, named: tuple[Any, ...]) -> None:
        line = f"FROM {self._positions} WHERE {self._where()}"
        session.count(
            f"""
            UPDATE {self._keys} SET
                position = (SELECT min(position) {line}),
                waiting = (SELECT count(*) {line}),
                request = CASE request WHEN 'discard' THEN 'retry' ELSE request END
            WHERE {self._where()}
            """,
            (*named, *named, *named),
        )

    def _where(self) -> str:
        m = self._mark
        return f"view = {m} AND generation = {m} AND slice = {m} AND key = {m}"

    def _now(self) -> Any:
        now = datetime.now(UTC)
        return now if self._on_postgres else microseconds(now)
