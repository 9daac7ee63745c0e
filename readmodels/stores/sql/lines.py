"""Parked keys in SQL, each with its line of waiting positions, and what an operator asked for."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Dialect

from twofold.database.session import Session
from twofold.database.times import microseconds, moment
from twofold.kernel.rows import REKEYED, STREAM_PREFIX, Advance, Drain, Generation, ParkedKey, ParkedLine
from twofold.kernel.view import SliceId
from twofold.readmodels.schema.columns import STREAM_PREFIX_END, queryable_key
from twofold.readmodels.stores.sql.tables import qualified


class ParkedLineTable:
    """All lines of all views in one database."""

    def __init__(self, dialect: Dialect) -> None:
        self._on_postgres = dialect.name == "postgresql"
        self._mark = "%s" if self._on_postgres else "?"
        self._keys = qualified("parked_keys", dialect)
        self._positions = qualified("parked_positions", dialect)

    def parked(self, session: Session, generations: Sequence[Generation], key: str | None, limit: int | None) -> list[ParkedKey]:
        """Of each generation, by where they wait."""
        return [found for one in generations for found in self._parked(session, one, key, limit)]

    def _parked(self, session: Session, generation: Generation, key: str | None, limit: int | None) -> list[ParkedKey]:
        m = self._mark
        columns = "view, generation, slice, key, position, error, waiting, attempts, parked_at, request"
        sql = f"SELECT {columns} FROM {self._keys} WHERE view = {m} AND generation = {m}"
        sql += f"{'' if key is None else f' AND key = {m}'} ORDER BY position, key{'' if limit is None else f' LIMIT {limit}'}"
        values = (generation.view, generation.number, *(() if key is None else (queryable_key(key),)))
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
            for view, generation, slice, key, position, error, waiting, attempts, parked_at, request in session.rows(sql, values)
        ]

    def lines(self, session: Session, generation: Generation, only_requested: bool) -> list[ParkedLine]:
        m = self._mark
        sql = f"SELECT view, generation, slice, key, position, request FROM {self._keys} WHERE view = {m} AND generation = {m}"
        found = session.rows(sql + (" AND request IS NOT NULL" if only_requested else ""), (generation.view, generation.number))
        return [ParkedLine(SliceId(*place), key, position, request or "") for *place, key, position, request in found]

    def counts(self, session: Session, generations: Sequence[Generation]) -> dict[str, int]:
        """How many keys are parked, by view. Errors, which are long, stay where they are. Streams stand in every slice."""
        of_stream = f"CASE WHEN key >= '{STREAM_PREFIX}' AND key < '{STREAM_PREFIX_END}' THEN key END"
        counted = f"count(*) - count({of_stream}) + count(DISTINCT {of_stream})"
        found = session.rows(f"SELECT view, generation, {counted} FROM {self._keys} GROUP BY view, generation")
        counts = {(view, generation): count for view, generation, count in found}
        return {one.view: counts.get((one.view, one.number), 0) for one in generations}

    def rekeyed(self, session: Session, generation: Generation) -> int | None:
        m = self._mark
        begins = f"substr(error, 1, {len(REKEYED)}) = {m}"
        sql = f"SELECT min(position) FROM {self._keys} WHERE view = {m} AND generation = {m} AND {begins}"
        found: int | None = session.rows(sql, (generation.view, generation.number, REKEYED))[0][0]
        return found

    def waiting(self, session: Session, slice_id: SliceId, key: str, limit: int) -> list[int]:
        sql = f"SELECT position FROM {self._positions} WHERE {self._where()} ORDER BY position LIMIT {limit}"
        return [position for (position,) in session.rows(sql, (*slice_id, key))]

    def request(self, session: Session, generation: Generation, key: str, request: str) -> bool:
        """Note what is wanted for a key, in every slice where it is parked."""
        m = self._mark
        sql = f"UPDATE {self._keys} SET request = {m} WHERE view = {m} AND generation = {m} AND key = {m}"
        return session.count(sql, (request, generation.view, generation.number, key)) > 0

    def stale(self, session: Session, relied_on: Mapping[SliceId, Mapping[str, int]]) -> set[SliceId]:
        """The slices of which some line no longer begins where a projector saw it begin: somebody else worked at it."""
        lines = [(*slice_id, key, first) for slice_id, lines in relied_on.items() for key, first in lines.items()]
        if self._on_postgres:
            asked = (
                "unnest(%s::text[], %s::int[], %s::int[], %s::text[], %s::bigint[]) AS a(view, generation, slice, key, position)"
            )
            values: list[Any] = [list(column) for column in zip(*lines, strict=True)]
        else:
            columns = ("view", "generation", "slice", "key", "position")
            taken = ", ".join(f"value ->> {number} AS {column}" for number, column in enumerate(columns))
            asked, values = f"(SELECT {taken} FROM json_each(?)) AS a", [json.dumps(lines)]
        found = session.rows(
            f"""
            SELECT DISTINCT a.view, a.generation, a.slice FROM {asked}
            LEFT JOIN {self._keys} p ON p.view = a.view AND p.generation = a.generation AND p.slice = a.slice AND p.key = a.key
            WHERE p.position IS NULL OR p.position <> a.position
            """,
            values,
        )
        return {SliceId(*row) for row in found}

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


def parked_columns(generation: Generation, dialect: Dialect) -> tuple[str, str, str]:
    """Three columns of a query whose `w` has key and slice: where that key's line begins, where one of a parked stream of that
    slice does, and where any of the generation does; NULL when none is there."""
    mine = f"p.view = '{generation.view}' AND p.generation = {generation.number}"
    begins = f"SELECT min(p.position) FROM {qualified('parked_keys', dialect)} p WHERE {mine}"
    of_streams = f"p.key >= '{STREAM_PREFIX}' AND p.key < '{STREAM_PREFIX_END}'"
    return (
        f"({begins} AND p.slice = w.slice AND p.key = w.key)",
        f"({begins} AND p.slice = w.slice AND {of_streams})",
        f"({begins})",
    )


class StaleLines(Exception):
    """Somebody else worked at the parked lines of these slices; the transaction is given up."""

    def __init__(self, slices: set[SliceId]) -> None:
        super().__init__()
        self.slices = slices
