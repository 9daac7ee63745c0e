"""Answers about views that are folded inside the append's own transaction: their rows are as new as the log's head, always.

The rows are made and written by readmodels/inline/projection.py, on the log's own connection; this reads them through an
engine on the log's database. There is nothing to follow: no checkpoint, no slice but one, no parked key.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import TypeVar

from sqlalchemy import Engine

from twofold.database.session import EngineSession, Session, in_our_words
from twofold.kernel.builds import Build
from twofold.kernel.errors import Neighbour
from twofold.kernel.rows import Found, Generation, Query, Row, RowPage
from twofold.kernel.view import AnyView, SliceId
from twofold.readmodels.schema.columns import queryable_key
from twofold.readmodels.schema.query import checked_query
from twofold.readmodels.stores.nothing_to_follow import NothingToFollow
from twofold.readmodels.stores.sql.find import count, find
from twofold.readmodels.stores.sql.generations import not_made, of_shape
from twofold.readmodels.stores.sql.rows import RowTable, row_table

HEAD = "log_head"
"""The log's table whose `position` is its last: where an inline view stands."""
NEWEST = f"(SELECT position FROM {HEAD} ORDER BY position DESC LIMIT 1)"
"""Its row. On PostgreSQL it is found by its index, and not among all the versions that a long transaction keeps from vacuum."""

Answer = TypeVar("Answer")


class InlineViewStore(NothingToFollow):
    """The port ViewStore for inline views, read only. Thread-safe."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._tables: dict[str, RowTable] = {}

    def make(self, view: AnyView, slices: int) -> Generation:
        """Inline rows are made with the log's tables, by InlineProjection.make: here they are only found."""
        return self.attach(view)

    def beside(self) -> InlineViewStore:
        return InlineViewStore(self._engine)

    def attach(self, view: AnyView, build: Build | None = None) -> Generation:
        dialect = self._engine.dialect
        generation = self._read(lambda session: of_shape(session, view, dialect))
        if generation is None:
            raise not_made(view)
        self._tables[view.name] = row_table(view, generation, dialect, head=NEWEST)
        return generation

    def positions(self, *views: str) -> dict[SliceId, int]:
        tables = [self._tables[view] for view in views] or list(self._tables.values())
        at = self._read(lambda session: [session.rows(table.lowest)[0][0] for table in tables])
        return {slice_id: one for table, one in zip(tables, at, strict=True) for slice_id in table.generation.slice_ids()}

    def load(self, view: str, keys: Collection[str]) -> dict[str, Row]:
        return self._read(lambda session: self._tables[view].load(session, keys))

    def load_together(self, wanted: Mapping[str, Collection[str]]) -> dict[str, dict[str, Row]]:
        return {view: self.load(view, keys) for view, keys in wanted.items()}

    def get(self, view: str, keys: Sequence[str]) -> list[Found]:
        table = self._tables[view]
        found = self._read(lambda session: table.get(session, {queryable_key(key) for key in keys}))
        return [found[queryable_key(key)] for key in keys]

    def find(self, view: str, query: Query) -> RowPage:
        table = self._tables[view]
        question = checked_query(table.view, table.columns, query)
        return self._read(lambda session: find(session, table, question))

    def count(self, view: str, query: Query, most: int) -> int:
        table = self._tables[view]
        question = checked_query(table.view, table.columns, query)
        return self._read(lambda session: count(session, table, question, most))

    def _read(self, ask: Callable[[Session], Answer]) -> Answer:
        with in_our_words(Neighbour.LOG), self._engine.connect() as connection:
            return ask(EngineSession(connection))
