"""Epochs of lanes in the log's PostgreSQL database: in the one row that says which log it is, so that its lock is theirs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from sqlalchemy import Engine

from twofold.database.postgres import PSYCOPG, borrowed
from twofold.kernel.errors import Misconfigured
from twofold.kernel.lanes import KEPT_SECONDS, Epoch, LaneState, place_of

STATE = "SELECT epoch, lanes, old_epoch, old_lanes, drained, is_over FROM log"
PINNED = f"{STATE} FOR SHARE"
"""Waits for whoever opens an epoch, and is waited for by him."""

OPEN = """
    UPDATE log SET epoch = epoch + 1, lanes = %s, old_epoch = epoch, old_lanes = lanes,
        drained = '{}', is_over = false, due_at = clock_timestamp()
    WHERE old_epoch IS NULL AND lanes IS NOT NULL
"""
DRAINED = """
    UPDATE log SET drained = array_append(drained, %(lane)s::bigint), is_over = cardinality(drained) + 1 = old_lanes,
        due_at = CASE WHEN cardinality(drained) + 1 = old_lanes
                      THEN clock_timestamp() + make_interval(secs => %(kept_seconds)s) ELSE due_at END
    WHERE old_epoch = %(epoch)s AND NOT %(lane)s::bigint = ANY(drained)
"""
TAKE_BACK = """
    UPDATE log SET old_epoch = epoch + 1, old_lanes = 1, drained = '{}', is_over = true, due_at = clock_timestamp()
    WHERE epoch + 1 = %s AND old_epoch IS NULL
"""
"""How many lanes it had nobody knows any more: whoever moves what is in them looks until there is none."""

FORGET = "UPDATE log SET old_epoch = NULL, old_lanes = NULL, drained = '{}', is_over = false WHERE old_epoch = %s AND is_over"
CLAIM = """
    UPDATE log SET due_at = clock_timestamp() + make_interval(secs => %s)
    WHERE old_epoch IS NOT NULL AND due_at <= clock_timestamp()
"""
DEFER = "UPDATE log SET due_at = clock_timestamp() + make_interval(secs => %s) WHERE NOT is_over"


class PostgresLaneEpochs:
    """Port LaneEpochs. Thread-safe; the engine is made with the profile LOG, and the schema is up to date."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def state(self) -> LaneState:
        with borrowed(self._engine) as connection:
            return _state(connection, STATE)

    @contextmanager
    def pinned(self) -> Iterator[LaneState]:
        with borrowed(self._engine) as connection, connection.transaction():
            yield _state(connection, PINNED)

    def open(self, count: int) -> bool:
        return self._changed(OPEN, (count,))

    def drained(self, lane: int) -> None:
        self._changed(DRAINED, {"lane": lane, "epoch": place_of(lane)[0], "kept_seconds": KEPT_SECONDS})

    def take_back(self, number: int) -> None:
        self._changed(TAKE_BACK, (number,))

    def forget(self, number: int) -> None:
        self._changed(FORGET, (number,))

    def claim(self, turn_seconds: float) -> bool:
        return self._changed(CLAIM, (turn_seconds,))

    def defer(self, pause_seconds: float) -> None:
        self._changed(DEFER, (pause_seconds,))

    def _changed(self, statement: str, values: Any) -> bool:
        with borrowed(self._engine) as connection:
            return connection.execute(statement, values).rowcount == 1


def _state(connection: PSYCOPG, statement: str) -> LaneState:
    row = connection.execute(statement).fetchone()
    epoch, lanes, old_epoch, old_lanes, drained, is_over = row or (0, None, None, None, (), False)
    if lanes is None:
        raise Misconfigured("TWOFOLD_DATABASE_URL: the log has not been given its lanes; run `twofold migrate`")
    old = None if old_epoch is None else Epoch(old_epoch, old_lanes)
    return LaneState(Epoch(epoch, lanes), old, frozenset(drained), is_over)
