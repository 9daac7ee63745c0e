"""The SQL of one generation of a view's rows: load, write, delete, get by key. What differs by dialect is in dialects.py.

The text is made once, when the view is prepared. A row travels as its plain values in column order, `_position` last.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

import msgspec
from sqlalchemy import Dialect

from twofold.kernel.ids import slice_of
from twofold.kernel.rows import Generation, Row
from twofold.kernel.view import AnyView
from twofold.readmodels.schema.columns import Columns, ColumnType
from twofold.readmodels.stores.sql.session import Session
from twofold.readmodels.stores.sql.tables import qualified, row_table_name


class RowTable:
    """What both dialects share."""

    mark = "?"
    places_nulls = False

    def __init__(self, view: AnyView, generation: Generation, dialect: Dialect, head: str | None = None) -> None:
        """`head` is the table whose `position` counts for inline views, instead of the checkpoints."""
        self.view = view
        self.generation = generation
        self.columns = Columns(view)
        self.table = qualified(row_table_name(generation), dialect)
        self.key = quoted(view.key)
        self.jsons = tuple(place for place, column in enumerate(self.columns.all) if column.type == "json")
        self.selected = ", ".join(self.read(column.name, column.type) for column in self.columns.all) + ", _position"
        checkpoints = qualified("checkpoints", dialect)
        mine = f"c.view = '{view.name}' AND c.generation = {generation.number}"
        self.lowest = f"SELECT min(position) AS position FROM {head or f'{checkpoints} c WHERE {mine}'}"
        self._load, self._load_locked = self.loading(""), self.loading(self.lock())
        self._get = f"""
            SELECT w.key, c.position, r.* FROM {self.wanted()}
            {f"CROSS JOIN {head} c" if head else f"LEFT JOIN {checkpoints} c ON {mine} AND c.slice = w.slice"}
            LEFT JOIN {self.beside()}
        """
        self._delete = self.deleting()
        names = [quoted(column.name) for column in self.columns.all] + ["_position"]
        changes = ", ".join(f"{name} = excluded.{name}" for name in names if name != self.key)
        self._write = (
            f"INSERT INTO {self.table} ({', '.join(names)}) {self.values()} ON CONFLICT ({self.key}) DO UPDATE SET {changes}"
        )

    def load(self, session: Session, keys: Collection[str], locking: bool = False) -> dict[str, Row]:
        """Those of these rows that exist; locked in the order of the keys until the transaction ends, if asked for."""
        sql = self._load_locked if locking else self._load
        return {row.key: row for row in map(self.row, session.rows(sql, (self.keys(keys),)))}

    def get(self, session: Session, keys: Collection[str]) -> dict[str, tuple[Row | None, int]]:
        """Row and checkpoint of each of these keys, in one statement and so in one snapshot."""
        wanted = [(key, slice_of(key, self.generation.slices)) for key in keys]
        found = session.rows(self._get, self.wanted_values(wanted))
        return {key: (None if rest[-1] is None else self.row(rest), position or 0) for key, position, *rest in found}

    def write(self, session: Session, rows: Sequence[Row]) -> None:
        if rows:
            self.insert(
                session, self._write, [(*self.to_driver(self.columns.encode(row.key, row.value)), row.position) for row in rows]
            )

    def delete(self, session: Session, keys: Collection[str]) -> None:
        if keys:
            session.count(self._delete, (self.keys(keys),))

    def row(self, stored: Sequence[Any]) -> Row:
        value = self.columns.decode(self.from_driver(stored[:-1]))
        return Row(getattr(value, self.view.key), value, stored[-1])

    def read(self, name: str, kind: ColumnType) -> str:
        return quoted(name)

    def keys(self, keys: Collection[str]) -> str:
        """Many keys as the one parameter of a load or a delete."""
        return msgspec.json.encode(list(keys)).decode()

    def loading(self, lock: str) -> str:
        raise NotImplementedError

    def deleting(self) -> str:
        raise NotImplementedError

    def wanted(self) -> str:
        raise NotImplementedError

    def wanted_values(self, wanted: Sequence[tuple[str, int]]) -> tuple[Any, ...]:
        raise NotImplementedError

    def beside(self) -> str:
        raise NotImplementedError

    def values(self) -> str:
        raise NotImplementedError

    def insert(self, session: Session, sql: str, rows: Sequence[tuple[Any, ...]]) -> None:
        raise NotImplementedError

    def lock(self) -> str:
        raise NotImplementedError

    def to_driver(self, kept: tuple[Any, ...]) -> tuple[Any, ...]:
        return kept

    def from_driver(self, stored: Sequence[Any]) -> Sequence[Any]:
        return stored

    def value_to_driver(self, kind: ColumnType, value: Any) -> Any:
        return value


def quoted(name: str) -> str:
    return f'"{name}"'
