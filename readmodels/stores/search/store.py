"""The port ViewStore on OpenSearch or Elasticsearch: rows in an index for each generation, everything else in SQL.

Checkpoints, parked lines and builds are those of the SQL store, in its tables; its commits enter rows into a ledger (ledger.py)
instead of a table, and what is entered is sent before a commit returns. What a search sees, and how far that is, comes from the
index alone (documents.py).

An index that is gone, emptied or older than the ledger shows nothing: its views stand at 0, and are folded anew.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from typing import Any, cast

import msgspec

from twofold.database.session import Session
from twofold.kernel.builds import Build, Rebuild
from twofold.kernel.counting import counted_by_pages
from twofold.kernel.errors import Unavailable
from twofold.kernel.rows import Advance, Drain, Found, Generation, Promises, Query, Row, RowPage
from twofold.kernel.view import AnyView, SliceId
from twofold.readmodels.schema.searching import CheckedSearch
from twofold.readmodels.schema.shape import INDEXED
from twofold.readmodels.stores.search.documents import id_of, marker_id
from twofold.readmodels.stores.search.indexes import Indexes
from twofold.readmodels.stores.search.ledger import Entry, Ledger, ledger_of
from twofold.readmodels.stores.search.looking_up import look_up
from twofold.readmodels.stores.search.sql import checked
from twofold.readmodels.stores.sql.generations import is_missing
from twofold.readmodels.stores.sql.store import SqlViewStore

BATCH_ENTRIES = 1_000
"""Sent at a time."""
REFRESHED_ENTRIES_MAX = 500
"""A commit of more is of a view that catches up: nobody waits for it, and the index is refreshed when it is due."""
LOOKS_MAX, LOOK_SECONDS = 20, 0.01
"""How often a row is read again that moved while it was read."""
VERIFY_SECONDS = 5.0
"""How often whoever folds a generation looks whether its index is the one that was filled."""


class SearchViewStore(SqlViewStore):
    """Rows of the views made or attached here. Thread-safe. Every call may raise Unavailable."""

    promises = Promises(is_atomic=True, commits_views_together=True)
    in_index = True

    def __init__(self, owner: SqlViewStore, indexes: Indexes) -> None:
        """`owner` has the tables, and the connections to them."""
        super().__init__(owner._engine, owner)
        self._indexes = indexes
        self._verified_at: dict[tuple[str, int], float] = {}

    def beside(self) -> SearchViewStore:
        return SearchViewStore(self._owner, self._indexes)

    def make(self, view: AnyView, slices: int) -> Generation:
        is_first = self._read(lambda session: is_missing(session, self._engine.dialect))
        self._indexes.keep(view.name, [] if is_first else [one.generation for one in self.builds([view.name])])
        generation = super().make(_kept(view), slices)
        table = self._ledger(view.name)
        if not self._read(table.filling):
            self._fill(table, before="")
        if generation.state == "live":
            self._indexes.name(generation)
        return generation

    def attach(self, view: AnyView, build: Build | None = None) -> Generation:
        marked = build and msgspec.structs.replace(build, shape=f"{build.shape}|{INDEXED}")
        return super().attach(_kept(view), marked)

    def builds(self, views: Collection[str]) -> list[Build]:
        return [msgspec.structs.replace(one, shape=one.shape.removesuffix(f"|{INDEXED}")) for one in super().builds(views)]

    def swap(self, generation: Generation, position: int) -> bool:
        is_swapped = super().swap(generation, position)
        if is_swapped:
            with suppress(Unavailable):  # the alias is for others: ours are told by the tables
                self._indexes.name(generation)
        return is_swapped

    def rebuild(self, view: AnyView, throttle: float, begun_at: float, again: int | None = None) -> Rebuild | None:
        return super().rebuild(_kept(view), throttle, begun_at, again)

    def note_rebuild(self, rebuild: Rebuild) -> bool:
        is_noted = super().note_rebuild(rebuild)
        if is_noted and rebuild.is_over:
            with suppress(Unavailable):
                self._indexes.keep(rebuild.view, [one.generation for one in self.builds([rebuild.view])])
        return is_noted

    def positions(self, *views: str) -> dict[SliceId, int]:
        """As far as the index has it: 0 where it has lost what it had."""
        found = super().positions(*views)
        for name in views or list(self._tables):
            table = self._ledger(name)
            index = self._indexes.of(table.generation)
            there = index.documents([marker_id(number) for number in range(table.generation.slices)])
            for slice_id in table.generation.slice_ids():
                marker = there.get(marker_id(slice_id.slice))
                found[slice_id] = min(found[slice_id], marker.document["position"]) if marker else 0
            if len(there) < table.generation.slices:
                self._verified_at.pop((name, table.generation.number), None)
        return found

    def load(self, view: str, keys: Collection[str]) -> dict[str, Row]:
        if not keys:
            return {}
        table = self._ledger(view)
        self._settle(table)
        there = self._indexes.of(table.generation).documents([id_of(key) for key in keys])
        rows = (table.documents.row(one.document) for one in there.values())
        return {row.key: row for row in rows if row is not None}

    def load_together(self, wanted: Mapping[str, Collection[str]]) -> dict[str, dict[str, Row]]:
        return {view: self.load(view, keys) for view, keys in wanted.items()}

    def commit(self, advances: Sequence[Advance]) -> set[SliceId]:
        with self._sending(advances):
            return super().commit(advances)

    def drain(self, drain: Drain) -> bool:
        with self._sending([drain]):
            return super().drain(drain)

    def get(self, view: str, keys: Sequence[str]) -> list[Found]:
        if not keys:
            return []
        table, reading = self._attached(view)
        found: list[Found] = []
        for look in range(LOOKS_MAX):
            if look:
                time.sleep(LOOK_SECONDS)
            found, is_whole = look_up(ledger_of(table), self._indexes.of(table.generation), keys, self.parked_lines)
            if is_whole:
                break
        return [reading.found(one) for one in found] if reading else found

    def find(self, view: str, query: Query) -> RowPage:
        table, reading = self._attached(view)
        asked, ledger = checked(table, reading, query), ledger_of(table)
        index, documents, slices = self._indexes.of(table.generation), ledger.documents, table.generation.slices
        page = documents.page(asked, index.search(documents.question(asked)), slices)
        if isinstance(asked, CheckedSearch) and asked.terms and not page.total:  # then what is spelt nearly so
            page = documents.page(asked, index.search(documents.question(asked, is_fuzzy=True)), slices, is_fuzzy=True)
        return reading.page(page) if reading else page

    def count(self, view: str, query: Query, most: int) -> int:
        return counted_by_pages(self.find, view, query, most)

    def close(self) -> None:
        self._indexes.close()

    @contextmanager
    def _sending(self, acts: Sequence[Advance | Drain]) -> Iterator[None]:
        """Before it, what is left; behind it, what it has entered."""
        tables = [ledger_of(table) for table in self._tables_of(acts).values()]
        for table in tables:
            self._settle(table)
        yield
        for table in tables:
            self._send(table)

    def _settle(self, table: Ledger) -> None:
        """Send what is left of an earlier commit, and look, now and then, whether the index still has what was sent."""
        self._send(table)
        name = table.generation.view, table.generation.number
        if time.monotonic() - self._verified_at.get(name, float("-inf")) >= VERIFY_SECONDS:
            self._verify(table)
            self._verified_at[name] = time.monotonic()

    def _verify(self, table: Ledger) -> None:
        """Begin anew unless the index stands where the ledger does: not behind where that stood before all was sent, nor ahead of
        where it stands now."""
        filling, before = self._read(lambda session: (table.filling(session), table.positions(session)))
        if not before:
            return  # it has been dropped
        self._send(table)
        there = self._indexes.of(table.generation).documents([marker_id(slice) for slice in before])
        now = self._read(table.positions)
        for slice, position in before.items():
            marker = there.get(marker_id(slice))
            at = marker.document["position"] if marker and marker.document["marker"] == filling else -1
            if not position <= at <= now.get(slice, at):
                if self._read(table.filling) == filling:
                    self._fill(table, before=filling)
                return

    def _fill(self, table: Ledger, before: str) -> None:
        """Make the index anew, empty, and let everything be folded again."""
        with self._transaction() as session:
            is_ours = table.begin(session, before, secrets.token_hex(8))
        if is_ours:
            self._indexes.of(table.generation).make()
            self._send(table)

    def _send(self, table: Ledger) -> None:
        """Everything that is entered. Where the index is gone it is left for `_verify` to see."""
        index = self._indexes.of(table.generation)
        while entries := self._read(lambda session: table.waiting(session, BATCH_ENTRIES)):
            if not index.write(entries, is_awaited=len(entries) < REFRESHED_ENTRIES_MAX):
                self._verified_at.pop((table.generation.view, table.generation.number), None)
                return
            self._cross_out(table, entries)
            if len(entries) < BATCH_ENTRIES:
                return

    def _cross_out(self, table: Ledger, entries: Sequence[Entry]) -> None:
        with self._transaction() as session:
            table.cross_out(session, entries)

    def _written(self, session: Session, slices: Collection[SliceId]) -> None:
        for table in {id(self._tables[one.view]): self._ledger(one.view) for one in slices}.values():
            mine = [one.slice for one in slices if one[:2] == (table.generation.view, table.generation.number)]
            table.mark_slices(session, mine)

    def _row_table(self, view: AnyView, generation: Generation) -> Ledger:
        return Ledger(view, generation, self._engine.dialect)

    def _ledger(self, view: str) -> Ledger:
        return ledger_of(self._tables[view])


def _kept(view: AnyView) -> AnyView:
    """As its tables know it."""
    return replace(view, store=cast(Any, INDEXED))
