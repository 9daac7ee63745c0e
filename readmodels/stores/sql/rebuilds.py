"""Rows made anew beside the live ones of the same shape: beginning it, and what is noted of it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from contextlib import AbstractContextManager
from typing import TypeVar

import msgspec
from sqlalchemy import Dialect, Engine

from twofold.database.session import Session
from twofold.kernel.builds import Build, Rebuild, rebuild_as_it_stands
from twofold.kernel.rows import Generation
from twofold.kernel.view import AnyView
from twofold.readmodels.schema.shape import is_indexed, shape_of
from twofold.readmodels.stores.sql.generations import (
    alone,
    builds,
    clear,
    generations,
    make_rows,
    retire,
    set_state,
    swap,
    use,
)
from twofold.readmodels.stores.sql.tables import qualified

Answer = TypeVar("Answer")


def rebuild(
    session: Session, view: AnyView, throttle: float, begun_at: float, again: int | None, dialect: Dialect
) -> Rebuild | None:
    """See kernel/builds.py."""
    alone(session, dialect)
    standing = kept(builds(session, [view.name], dialect), is_indexed(shape_of(view)))
    live = next((one for one in standing if one.generation.state == "live" and one.shape == shape_of(view)), None)
    if live is None or any(one.generation.state == "building" for one in standing):
        return None
    begun_from = 0
    if again is None:
        number = max(one.number for one, _ in generations(session, view.name, dialect)) + 1
        make_rows(session, view, Generation(view.name, number, live.generation.slices, "building"), dialect)
    else:
        number = again
        mine = next((one for one in standing if one.generation.number == again and one.shape == live.shape), None)
        if mine is None or mine.generation.state != "retired":
            return None
        begun_from = mine.position
        set_state(session, mine.generation, "building", dialect)
    begun = Rebuild(view.name, number, live.generation.number, "building", throttle, begun_at, begun_from)
    _write(session, begun, dialect)
    return begun


def kept(all_builds: Sequence[Build], in_index: bool) -> list[Build]:
    """Those that a search index holds, or those that SQL does."""
    return [one for one in all_builds if is_indexed(one.shape) == in_index]


def rebuilt(session: Session, views: Collection[str], dialect: Dialect, in_index: bool = False) -> list[Rebuild]:
    records = session.rows(f"SELECT view, record FROM {qualified('rebuilds', dialect)} ORDER BY view")
    noted = {view: msgspec.json.decode(record, type=Rebuild) for view, record in records}
    standing = kept(builds(session, views, dialect), in_index)
    found = [rebuild_as_it_stands(noted.get(view), [one for one in standing if one.generation.view == view]) for view in views]
    return sorted((one for one in found if one is not None), key=lambda one: one.view)


def note_rebuild(session: Session, rebuild: Rebuild, dialect: Dialect, in_index: bool = False) -> bool:
    """See kernel/builds.py."""
    alone(session, dialect)
    last = next(iter(rebuilt(session, [rebuild.view], dialect, in_index)), None)
    if last is None or last.generation != rebuild.generation or (last.is_over and last.state != rebuild.state):
        return False
    if rebuild.state in ("cancelled", "failed") and not last.is_over:
        [mine] = [one for one, _ in generations(session, rebuild.view, dialect) if one.number == rebuild.generation]
        retire(session, [mine], dialect) if rebuild.is_going_back else clear(session, mine, dialect)
    _write(session, rebuild, dialect)
    return True


def _write(session: Session, rebuild: Rebuild, dialect: Dialect) -> None:
    mark = "%s" if dialect.name == "postgresql" else "?"
    sql = f"INSERT INTO {qualified('rebuilds', dialect)} (view, record) VALUES ({mark}, {mark})"
    record = msgspec.json.encode(rebuild, enc_hook=str).decode()
    session.count(f"{sql} ON CONFLICT (view) DO UPDATE SET record = excluded.record", (rebuild.view, record))


class SqlBuilds:
    """What a store of rows in SQL answers about its builds: kernel/builds.py."""

    _engine: Engine
    in_index = False
    """Whether it is a search index that holds the rows."""

    def builds(self, views: Collection[str]) -> list[Build]:
        return kept(self._read(lambda session: builds(session, views, self._engine.dialect)), self.in_index)

    def swap(self, generation: Generation, position: int) -> bool:
        with self._transaction() as session:
            return swap(session, generation, position, self._engine.dialect)

    def use(self, member: str, generations: Sequence[Generation], term_seconds: float) -> None:
        with self._transaction() as session:
            use(session, member, generations, term_seconds, self._engine.dialect)

    def rebuild(self, view: AnyView, throttle: float, begun_at: float, again: int | None = None) -> Rebuild | None:
        with self._transaction() as session:
            return rebuild(session, view, throttle, begun_at, again, self._engine.dialect)

    def rebuilt(self, views: Collection[str]) -> list[Rebuild]:
        return self._read(lambda session: rebuilt(session, views, self._engine.dialect, self.in_index))

    def note_rebuild(self, rebuild: Rebuild) -> bool:
        with self._transaction() as session:
            return note_rebuild(session, rebuild, self._engine.dialect, self.in_index)

    def _transaction(self) -> AbstractContextManager[Session]:
        raise NotImplementedError

    def _read(self, ask: Callable[[Session], Answer]) -> Answer:
        raise NotImplementedError
