"""Inline views: folded inside the append's own transaction, on the log's own connection, so that they are never behind.

    lock(new events) ── rows of all keys, in key order ──> head locked by the store ──> write(recorded events) ──> COMMIT

A key whose row was not there to be locked, or that only the recorded event names (its time, its position), is loaded by `write`:
by then the log's head is locked and nobody else can be writing rows. A domain's bug raises, and the whole append with
it: the worker finds the command that causes it and parks that one.

    migrate, up ── build, make ──> tables, and the rows of the log so far        worker ── attach, once
"""

from __future__ import annotations

import time
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from threading import get_ident
from typing import Any

from sqlalchemy import Dialect, make_url

from twofold.database.session import RawSession, Session
from twofold.kernel.codec import Codec
from twofold.kernel.errors import BUGS, Error, Neighbour, Unavailable, other_inline_views
from twofold.kernel.log import NewEvent, Recorded
from twofold.kernel.ports import LogPages
from twofold.kernel.rows import Generation, Row, set_number
from twofold.kernel.view import AnyView
from twofold.readmodels.inline.refusal import folding
from twofold.readmodels.inline.store import HEAD, NEWEST
from twofold.readmodels.projection.fold import Touch, parts_of
from twofold.readmodels.stores.sql.generations import make, not_made, of_shape, retire_inline
from twofold.readmodels.stores.sql.rows import RowTable, row_table
from twofold.readmodels.stores.sql.tables import qualified
from twofold.subscriptions.log_cache import Seen, about_of

PAGE_EVENTS = 1_000
UNRECORDED = datetime(1970, 1, 1, tzinfo=UTC)
"""Stands for the time of an event that has none yet; only its keys are asked for."""

Locked = dict[str, dict[str, Row]]
"""By view and key, rows that exist and are locked."""

Rehearsed = dict[str, dict[str, Row | None]]
"""By view and key, rows as they would be; None for one that would not be there."""


class SqlInlineProjection:
    """Port InlineProjection. `attach` is to be called by every process before its first append, and again when the views that are
    to be folded have changed. Thread-safe after the first time."""

    def __init__(self, views: Iterable[AnyView], codec: Codec, dialect: Dialect) -> None:
        self._views = {view.name: view for view in views}
        self._codec, self._dialect = codec, dialect
        self._listened = frozenset[str]().union(*(view.listened for view in self._views.values()))
        self._tables: dict[str, RowTable] = {}
        self._folding_since: dict[int, float] = {}
        self.number = 0

    def folding_seconds(self) -> float:
        now = time.monotonic()
        return now - min(self._folding_since.copy().values(), default=now)

    def attach(self, connection: Any) -> None:
        """Find the views' rows. Raises Misconfigured, with the fix, when they have not been made; NotKnown when others are
        folded by now than these. A view that is not folded any more, since its version was rolled back, is left out."""
        session = RawSession(connection)
        tables = {}
        for view in self._views.values():
            generation = of_shape(session, view, self._dialect)
            if generation is None:
                raise not_made(view)
            if generation.state == "live":
                tables[view.name] = row_table(view, generation, self._dialect, head=NEWEST)
        needed = session.rows(f"SELECT inline_views FROM {HEAD}")[0][0]
        number = set_number(table.generation for table in tables.values())
        if needed != number:
            raise other_inline_views(needed)
        self._tables, self.number = tables, number

    def build(self, connection: Any, events: LogPages) -> bool:
        """Make the views' tables, and fold one page more of the log into those that are not live yet, in this transaction, which
        holds up nobody. Whether what is left is less than a page. It goes on where it was, whoever began it."""
        session = RawSession(connection)
        is_near = True
        for view in self._views.values():
            generation, _ = make(session, view, 1, self._dialect)
            if generation.state == "live":
                continue
            self._tables[view.name] = row_table(view, generation, self._dialect, head=NEWEST)
            page = events.page(self._stands(session, generation), PAGE_EVENTS)
            self._fold_past(session, view, page.events)
            if page.events:
                mark, table = self._mark(), qualified("checkpoints", self._dialect)
                sql = f"UPDATE {table} SET position = {mark} WHERE view = {mark} AND generation = {mark}"
                session.count(sql, (page.through, view.name, generation.number))
            is_near = is_near and len(page.events) < PAGE_EVENTS
        return is_near

    def make(self, connection: Any, events: LogPages) -> None:
        """Fold what is left of the log into the rows, on this connection and in its transaction: until it ends nobody appends,
        and from then on whoever does has to fold exactly these views. Little is left once `build` has said so.

        Raises Unavailable when events were appended that `events` does not see yet: try again in a new transaction.
        """
        session = RawSession(connection)
        retire_inline(session, self._views, self._dialect)
        for view in self._views.values():
            generation, is_new = make(session, view, 1, self._dialect, is_joining=True)
            self._tables[view.name] = row_table(view, generation, self._dialect, head=NEWEST)
            if is_new:
                self._catch_up(session, view, generation, events)
        mark = self._mark()
        self.number = set_number(table.generation for table in self._tables.values())
        session.count(f"UPDATE {HEAD} SET inline_views = {mark}", (self.number,))

    def hears(self, events: Sequence[NewEvent]) -> bool:
        return any(event.type in self._listened for event in events)

    def lock(self, connection: Any, events: Sequence[NewEvent]) -> Locked:
        """Rows that exist, by view and key, locked in key order until the transaction ends."""
        session = RawSession(connection)
        expected = [self._expected(new) for new in events]
        locked: Locked = {}
        for name, table in sorted(self._tables.items()):
            keys = {key for _, parts in self._parts(self._views[name], expected) for key in parts}
            locked[name] = table.load(session, sorted(keys), locking=True) if keys else {}
        return locked

    def write(self, connection: Any, locked: Locked, events: Sequence[Recorded]) -> None:
        """Fold these events into the rows and write them."""
        session = RawSession(connection)
        seen = [self._decoded(recorded) for recorded in events]
        for name in sorted(self._tables):
            view = self._views[name]
            self._fold(session, view, self._parts(view, seen), locked.get(name, {}))

    def rehearse(self, connection: Any, rows: Rehearsed, events: Sequence[NewEvent]) -> None:
        """Fold events that are not appended, on a connection that only reads. What becomes of the rows is kept in `rows`, for the
        next; raises whatever `write` would."""
        session = RawSession(connection)
        expected = [self._expected(new) for new in events]
        for name, table in sorted(self._tables.items()):
            view = self._views[name]
            touched, known = self._parts(view, expected), rows.setdefault(name, {})
            missing = {key for _, parts in touched for key in parts} - known.keys()
            loaded = table.load(session, missing) if missing else {}
            known |= {key: loaded.get(key) for key in missing}
            for seen, parts in touched:
                for key, part in parts.items():
                    known[key] = _evolved(view, key, known[key], Touch(seen, part))

    def _mark(self) -> str:
        return "%s" if self._dialect.name == "postgresql" else "?"

    def _stands(self, session: Session, generation: Generation) -> int:
        mark, table = self._mark(), qualified("checkpoints", self._dialect)
        sql = f"SELECT position FROM {table} WHERE view = {mark} AND generation = {mark}"
        return int(session.rows(sql, (generation.view, generation.number))[0][0])

    def _catch_up(self, session: Session, view: AnyView, generation: Generation, events: LogPages) -> None:
        lock = " FOR UPDATE" if self._dialect.name == "postgresql" else ""
        head = session.rows(f"SELECT position FROM {HEAD}{lock}")[0][0]
        through = self._stands(session, generation)
        while through < head:
            page = events.page(through, PAGE_EVENTS)
            if not page.events:
                raise Unavailable(Neighbour.LOG, "its newest events are not readable yet")
            self._fold_past(session, view, page.events)
            through = page.through

    def _fold_past(self, session: Session, view: AnyView, events: Sequence[Recorded]) -> None:
        """Raises Misconfigured for the first of these events that cannot be folded: it is looked for once there is one."""
        try:
            self._fold(session, view, self._parts(view, [self._decoded(recorded) for recorded in events]), {})
        except Error:
            raise
        except BUGS as error:
            self._refuse(session, view, events)
            raise error

    def _refuse(self, session: Session, view: AnyView, events: Sequence[Recorded]) -> None:
        table, rows = self._tables[view.name], dict[str, Row | None]()
        for recorded in events:
            with folding(view, recorded):
                touched = self._parts(view, [self._decoded(recorded)])
                keys = {key for _, parts in touched for key in parts} - rows.keys()
            rows |= dict.fromkeys(keys) | table.load(session, keys) if keys else {}
            with folding(view, recorded):
                for seen, parts in touched:
                    for key, part in parts.items():
                        rows[key] = row = _evolved(view, key, rows[key], Touch(seen, part))
                        _ = row and table.columns.encode(key, row.value)

    def _fold(
        self, session: Session, view: AnyView, touched: Sequence[tuple[Seen, Mapping[str, Any]]], known: Mapping[str, Row]
    ) -> None:
        table = self._tables[view.name]
        missing = {key for _, parts in touched for key in parts} - known.keys()
        rows: dict[str, Row | None] = {**known, **(table.load(session, missing) if missing else {})}
        changed: dict[str, Row | None] = {}
        with self._watched():
            for seen, parts in touched:
                for key, part in parts.items():
                    changed[key] = rows[key] = _evolved(view, key, rows.get(key), Touch(seen, part))
        table.write(session, [row for _, row in sorted(changed.items()) if row is not None])
        table.delete(session, [key for key, row in changed.items() if row is None])

    def _parts(self, view: AnyView, events: Collection[Seen]) -> list[tuple[Seen, Mapping[str, Any]]]:
        with self._watched():
            return [(seen, parts_of(view, seen)) for seen in events if seen.type in view.listened]

    @contextmanager
    def _watched(self) -> Iterator[None]:
        """The domain's code runs: it may come to no end."""
        thread = get_ident()
        self._folding_since[thread] = time.monotonic()
        try:
            yield
        finally:
            self._folding_since.pop(thread, None)

    def _expected(self, new: NewEvent) -> Seen:
        return self._decoded(Recorded(0, new.stream, new.version, new.type, new.data, new.meta, UNRECORDED))

    def _decoded(self, recorded: Recorded) -> Seen:
        event = self._codec.event(recorded) if recorded.type in self._listened else None
        return Seen(recorded.position, recorded.type, about_of(recorded), event, None, len(recorded.data))


class SqliteInlineProjection(SqlInlineProjection):
    """On a raw sqlite3 connection to the log's file."""

    def __init__(self, views: Iterable[AnyView], codec: Codec) -> None:
        super().__init__(views, codec, make_url("sqlite://").get_dialect()())


class PostgresInlineProjection(SqlInlineProjection):
    """On a raw psycopg connection to the log's database."""

    def __init__(self, views: Iterable[AnyView], codec: Codec) -> None:
        super().__init__(views, codec, make_url("postgresql+psycopg://").get_dialect()())


def _evolved(view: AnyView, key: str, row: Row | None, touch: Touch) -> Row | None:
    about = touch.seen.about
    value = view.evolved(None if row is None else row.value, touch.seen.event, about.of(key, touch.part))
    return None if value is None else Row(key, value, about.position)
