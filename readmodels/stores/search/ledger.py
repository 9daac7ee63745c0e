"""What SQL knows of a generation that a search index holds: rows on their way there, beside the checkpoints that moved with them.

    commit: checkpoints, lines, rows and markers ── one transaction ──> the ledger ── bulk, by their numbers ──> the index
                                                                          └── what has arrived is crossed out <──┘

An index cannot commit rows with a checkpoint, so it is the ledger that does, and is worked off before anything else is read or
written: whoever died in between left it to the next. Every entry has a number, higher than all before it, which is its document's
version: what is sent twice, or late, changes nothing. A generation's own entry has the last number, and names the filling of the
index: one that was lost is filled anew from position 0, under another name.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Sequence
from typing import NamedTuple, cast

import msgspec
from sqlalchemy import Dialect

from twofold.database.session import Session
from twofold.kernel.ids import slice_of
from twofold.kernel.rows import STREAM_PREFIX, Generation, Row
from twofold.kernel.view import AnyView
from twofold.readmodels.schema.columns import STREAM_PREFIX_END
from twofold.readmodels.stores.search.documents import Documents, grave, marker, marker_id
from twofold.readmodels.stores.sql.rows import RowTable
from twofold.readmodels.stores.sql.tables import qualified, row_table_name

OWN = STREAM_PREFIX
"""The generation's own entry. No row has such a key, and no marker (see documents.py)."""


class Entry(NamedTuple):
    """A document on its way: its id is made of the key, which is a row's or a marker's."""

    key: str
    number: int
    document: str


class Ledger(RowTable):
    """In place of the rows of a generation, in a transaction of the store's."""

    def __init__(self, view: AnyView, generation: Generation, dialect: Dialect) -> None:
        self.view = view
        self.generation = generation
        self.documents = Documents(view)
        self.columns = self.documents.columns
        self._on_postgres = dialect.name == "postgresql"
        self._mark = m = "%s" if self._on_postgres else "?"
        self.table = qualified(row_table_name(generation), dialect)
        self._checkpoints, self._parked = qualified("checkpoints", dialect), qualified("parked_keys", dialect)
        self._mine = f"view = '{generation.view}' AND generation = {generation.number}"
        self._next = f"UPDATE {self.table} SET number = number + 1 WHERE key = {m}"
        self._put = f"""
            INSERT INTO {self.table} (key, slice, position, number, row)
            VALUES ({m}, {m}, {m}, (SELECT number FROM {self.table} WHERE key = '{OWN}'), {m})
            ON CONFLICT (key) DO UPDATE SET number = excluded.number, position = excluded.position, row = excluded.row
        """

    def write(self, session: Session, rows: Sequence[Row]) -> None:
        self._enter(session, [(row.key, row.position, self.documents.packed(row)) for row in rows])

    def delete(self, session: Session, keys: Collection[str]) -> None:
        document = grave(time.time_ns() // 1_000_000)
        self._enter(session, [(key, 0, document) for key in keys])

    def mark_slices(self, session: Session, slices: Collection[int]) -> None:
        """What the markers of these slices say from now on."""
        if self._on_postgres:
            session.run("SET LOCAL synchronous_commit = on")  # the index must not know more than SQL after a crash
        filling = self.filling(session)
        at = self.positions(session)
        lines = f"SELECT slice, min(position) FROM {self._parked} WHERE {self._mine} GROUP BY slice"
        parked = dict(tuple(row) for row in session.rows(lines))
        documents = {one: marker(filling, at.get(one, 0), parked.get(one)) for one in sorted(slices)}
        self._enter(
            session,
            [(marker_id(one), said["position"], msgspec.json.encode(said).decode()) for one, said in documents.items()],
        )

    def positions(self, session: Session) -> dict[int, int]:
        sql = f"SELECT slice, position FROM {self._checkpoints} WHERE {self._mine}"
        return dict(tuple(row) for row in session.rows(sql))

    def filling(self, session: Session) -> str:
        """Its name; "" before the first."""
        found = session.rows(f"SELECT row FROM {self.table} WHERE key = {self._mark}", (OWN,))
        return found[0][0] if found else ""

    def waiting(self, session: Session, limit: int) -> list[Entry]:
        """In the order in which they may be sent: a marker comes when all rows have."""
        is_marker = f"key >= '{STREAM_PREFIX}' AND key < '{STREAM_PREFIX_END}'"
        sql = f"SELECT key, number, row FROM {self.table} WHERE key <> {self._mark}"
        return [Entry(*row) for row in session.rows(f"{sql} ORDER BY ({is_marker}), number LIMIT {limit}", (OWN,))]

    def cross_out(self, session: Session, sent: Sequence[Entry]) -> None:
        """Unless they have been written again since."""
        m = self._mark
        sql = f"DELETE FROM {self.table} WHERE key = {m} AND number = {m}"
        session.each(sql, sorted((entry.key, entry.number) for entry in sent))

    def begin(self, session: Session, before: str, filling: str) -> bool:
        """Fill the index from position 0. False when somebody else has begun that."""
        m = self._mark
        if before:
            changed = f"UPDATE {self.table} SET row = {m}, number = number + 1 WHERE key = {m} AND row = {m}"
            if not session.count(changed, (filling, OWN, before)):
                return False
        else:
            first = f"INSERT INTO {self.table} (key, slice, position, number, row) VALUES ({m}, 0, 0, 1, {m})"
            if not session.count(f"{first} ON CONFLICT DO NOTHING", (OWN, filling)):
                return False
        session.count(f"DELETE FROM {self.table} WHERE key <> {m}", (OWN,))
        session.run(f"UPDATE {self._checkpoints} SET position = 0, mark = NULL WHERE {self._mine}")
        for table in (self._parked, self._parked.replace("parked_keys", "parked_positions")):
            session.run(f"DELETE FROM {table} WHERE {self._mine}")
        self.mark_slices(session, range(self.generation.slices))
        return True

    def _enter(self, session: Session, entries: Sequence[tuple[str, int, str]]) -> None:
        if entries:
            session.count(self._next, (OWN,))
            session.each(
                self._put,
                [(key, slice_of(key, self.generation.slices), position, document) for key, position, document in sorted(entries)],
            )


def ledger_of(table: RowTable) -> Ledger:
    return cast(Ledger, table)
