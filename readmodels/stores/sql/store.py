"""The port ViewStore on SQLite and PostgreSQL.

A projector's commit is one transaction: move the checkpoints that still stand where they are expected, then write rows and parked
lines of exactly those: on PostgreSQL a pipeline of two round trips. A gateway's question is one statement, and so one snapshot.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from threading import Lock

from sqlalchemy import Connection, Engine, event
from sqlalchemy.exc import DBAPIError

from twofold.database.postgres import borrowed, transaction
from twofold.database.session import EngineSession, RawSession, Session, in_our_words
from twofold.database.sqlite import writer
from twofold.kernel.builds import Build
from twofold.kernel.errors import Neighbour
from twofold.kernel.rows import Advance, Drain, Found, Generation, Promises, Query, Row, RowPage
from twofold.kernel.view import AnyView, SliceId
from twofold.readmodels.schema.columns import queryable_key
from twofold.readmodels.schema.query import CheckedQuery
from twofold.readmodels.schema.shape import Reading, reading_of
from twofold.readmodels.stores.search.sql import answer, checked
from twofold.readmodels.stores.sql.checkpoints import checkpoints_of
from twofold.readmodels.stores.sql.find import count
from twofold.readmodels.stores.sql.generations import make, not_made, of_shape
from twofold.readmodels.stores.sql.lines import ParkedLineTable, StaleLines
from twofold.readmodels.stores.sql.parked_keys import SqlParkedKeys
from twofold.readmodels.stores.sql.rebuilds import Answer
from twofold.readmodels.stores.sql.rows import RowTable, row_table

_Tables = Mapping[tuple[str, int], RowTable]


class SqlViewStore(SqlParkedKeys):
    """Rows, checkpoints and parked keys of the views made or attached here. Thread-safe. Every call may raise Unavailable."""

    promises = Promises(is_atomic=True, commits_views_together=True)

    def __init__(self, engine: Engine, owner: SqlViewStore | None = None) -> None:
        """`owner`: the store beside which this one works, with its connections."""
        self._engine = engine
        self._owner = owner or self
        self._on_postgres = engine.dialect.name == "postgresql"
        self._writer: Connection | None = None
        self._writing = Lock()
        self._tables: dict[str, RowTable] = {}
        self._readings: dict[tuple[str, int], Reading] = {}
        """By view and generation; of those of another shape than the view's."""
        self._checkpoints = checkpoints_of(engine.dialect)
        self._lines = ParkedLineTable(engine.dialect)
        if owner is None:
            event.listen(engine, "engine_disposed", self._close_writer)

    def beside(self) -> SqlViewStore:
        return SqlViewStore(self._engine, self._owner)

    def make(self, view: AnyView, slices: int) -> Generation:
        with self._transaction() as session:
            generation, _ = make(session, view, slices, self._engine.dialect)
        self._tables[view.name] = self._row_table(view, generation)
        return generation

    def attach(self, view: AnyView, build: Build | None = None) -> Generation:
        generation = build.generation if build else self._read(lambda session: of_shape(session, view, self._engine.dialect))
        if generation is None:
            raise not_made(view)
        reading = reading_of(view, build.shape) if build else None
        if reading:
            self._readings[view.name, generation.number] = reading
        self._tables[view.name] = self._row_table(reading.stored if reading else view, generation)
        return generation

    def positions(self, *views: str) -> dict[SliceId, int]:
        generations = [self._tables[view].generation for view in views] or self._generations(None)
        return self._read(lambda session: self._checkpoints.positions(session, generations))

    def marks(self, view: str | None = None) -> dict[SliceId, str]:
        return self._read(lambda session: self._checkpoints.marks(session, self._generations(view)))

    def load(self, view: str, keys: Collection[str]) -> dict[str, Row]:
        return self._read(lambda session: self._tables[view].load(session, keys)) if keys else {}

    def load_together(self, wanted: Mapping[str, Collection[str]]) -> dict[str, dict[str, Row]]:
        if not self._on_postgres:
            return {view: self.load(view, keys) for view, keys in wanted.items()}
        tables = {view: self._tables[view] for view in wanted}
        with borrowed(self._engine, Neighbour.ROWS) as connection:
            with connection.pipeline():
                asked = {view: connection.execute(*tables[view].load_statement(keys)) for view, keys in wanted.items()}
            return {view: tables[view].rows(cursor) for view, cursor in asked.items()}

    def commit(self, advances: Sequence[Advance]) -> set[SliceId]:
        tables = self._tables_of(advances)
        left = [advance for advance in advances if advance.slice[:2] in tables]
        while left:
            try:
                with self._pipeline() if self._on_postgres else self._transaction() as session:
                    return self._apply(session, left, tables)
            except StaleLines as stale:
                left = [advance for advance in left if advance.slice not in stale.slices]
        return set()

    def drain(self, drain: Drain) -> bool:
        tables = self._tables_of([drain])
        if not tables:
            return False
        with self._transaction() as session:
            line = {drain.slice: {drain.key: drain.first}}
            if self._checkpoints.lock(session, drain.slice) != drain.expected or self._lines.stale(session, line):
                return False
            write_rows(session, [drain], tables)
            self._lines.drain(session, drain)
            self._written(session, [drain.slice])
            return True

    def get(self, view: str, keys: Sequence[str]) -> list[Found]:
        table, reading = self._attached(view)
        found = self._read(lambda session: table.get(session, {queryable_key(key) for key in keys}))
        answers = [found[queryable_key(key)] for key in keys]
        return [reading.found(one) for one in answers] if reading else answers

    def find(self, view: str, query: Query) -> RowPage:
        table, reading = self._attached(view)
        question = checked(table, reading, query)
        page = self._read(lambda session: answer(session, table, question))
        return reading.page(page) if reading else page

    def count(self, view: str, query: Query, most: int) -> int:
        table, reading = self._attached(view)
        question = checked(table, reading, query)
        assert isinstance(question, CheckedQuery), "a search counts what it finds by itself"
        return self._read(lambda session: count(session, table, question, most))

    def close(self) -> None:
        """Give up all connections, as disposing of the engine does."""
        self._engine.dispose()

    def _apply(self, session: Session, advances: Sequence[Advance], tables: _Tables) -> set[SliceId]:
        moved = self._checkpoints.move(session, advances)
        applied = [advance for advance in advances if advance.slice in moved]
        relied_on = {advance.slice: advance.lines for advance in applied if advance.lines}
        if relied_on and (stale := self._lines.stale(session, relied_on)):
            raise StaleLines(stale)
        write_rows(session, applied, tables)
        for advance in applied:
            if advance.waiting:
                self._lines.extend(session, advance)
        self._written(session, moved)
        return moved

    def _written(self, session: Session, slices: Collection[SliceId]) -> None:
        """Rows or lines of these have changed in this transaction."""

    def _row_table(self, view: AnyView, generation: Generation) -> RowTable:
        return row_table(view, generation, self._engine.dialect)

    def _attached(self, view: str) -> tuple[RowTable, Reading | None]:
        """How it is read goes with the table: another may be attached at any moment."""
        table = self._tables[view]
        return table, self._readings.get((view, table.generation.number))

    def _tables_of(self, acts: Sequence[Advance | Drain]) -> _Tables:
        """By view and generation, the tables of those that are attached now; they may be others before a commit is done."""
        named = {(one.generation.view, one.generation.number): one for one in list(self._tables.values())}
        asked = {act.slice[:2] for act in acts}
        return {name: table for name, table in named.items() if name in asked}

    @contextmanager
    def _pipeline(self) -> Iterator[Session]:
        """A transaction whose statements leave with the next question that is asked, or with its end."""
        with borrowed(self._engine, Neighbour.ROWS) as connection, connection.pipeline():
            connection.execute("BEGIN")
            yield RawSession(connection)
            connection.execute("COMMIT")

    @contextmanager
    def _transaction(self) -> Iterator[Session]:
        with in_our_words(Neighbour.ROWS):
            if self._on_postgres:
                with transaction(self._engine) as connection:
                    yield EngineSession(connection)
                return
            owner = self._owner
            with owner._writing:
                if owner._writer is None:
                    owner._writer = writer(self._engine)
                with owner._writer.begin():
                    yield EngineSession(owner._writer)

    def _close_writer(self, _: Engine) -> None:
        """On SQLite the writing connection goes last: whoever closes a file last checkpoints it."""
        with self._writing:
            if self._writer is not None:
                self._writer.close()
                self._writer = None

    def _read(self, ask: Callable[[Session], Answer]) -> Answer:
        """Ask in a snapshot of one statement. A connection that died while it was idle is replaced, once, without a word."""
        with in_our_words(Neighbour.ROWS):
            try:
                return self._ask(ask)
            except DBAPIError as error:
                if not error.connection_invalidated:
                    raise
                return self._ask(ask)

    def _ask(self, ask: Callable[[Session], Answer]) -> Answer:
        with self._engine.connect() as connection:
            return ask(EngineSession(connection))


def write_rows(session: Session, acts: Sequence[Advance | Drain], tables: _Tables) -> None:
    for name, table in tables.items():
        rows = [item for act in acts if act.slice[:2] == name for item in sorted(act.rows.items())]
        table.write(session, [row for _, row in rows if row is not None])
        table.delete(session, [key for key, row in rows if row is None])
