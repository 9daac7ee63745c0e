"""The SQL of one generation of a view's rows: load, write, delete, get by key; and what PostgreSQL and SQLite say differently.

The text is made once, when a view is made or attached. A row travels as its encoded values in column order, then `_position`; is
written with its words, where these are searched for; and comes back without them.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import Any

import msgspec
from sqlalchemy import Dialect

from twofold.database.session import Session
from twofold.database.times import microseconds, moment
from twofold.kernel.ids import slice_of
from twofold.kernel.rows import Found, Generation, Row
from twofold.kernel.view import AnyView, SliceId
from twofold.readmodels.schema.columns import Columns, ColumnType
from twofold.readmodels.stores.search.words import WORDS, written
from twofold.readmodels.stores.sql.checkpoints import checkpoint_of_slice
from twofold.readmodels.stores.sql.lines import parked_columns
from twofold.readmodels.stores.sql.tables import TYPES, qualified, quoted, row_table_name


class RowTable:
    """What both dialects share."""

    mark = "?"
    on_postgres = False

    def __init__(self, view: AnyView, generation: Generation, dialect: Dialect, head: str | None = None) -> None:
        """`head` is the table whose `position` counts for an inline view while it is live; one that is not stands nowhere."""
        self.view = view
        self.generation = generation
        self.columns = Columns(view)
        self.table = qualified(row_table_name(generation), dialect)
        self.key = quoted(view.key)
        self._words = written(view, self.on_postgres)
        self.added = {"_position": "bigint"} | ({WORDS: "tsvector"} if view.text else {})
        self.jsons = tuple(index for index, column in enumerate(self.columns.all) if column.type == "json")
        self.selected = ", ".join(self.read(column.name, column.type) for column in self.columns.all) + ", _position"
        checkpoints, is_of_slice = checkpoint_of_slice(dialect)
        mine = f"c.view = '{view.name}' AND c.generation = {generation.number}"
        if head:
            of = f"g.view = '{view.name}' AND g.generation = {generation.number}"
            at = "CASE g.state WHEN 'live' THEN h.position ELSE 0 END AS position"
            head = f"(SELECT {at} FROM {head} h CROSS JOIN {qualified('generations', dialect)} g WHERE {of})"
        self.lowest = f"SELECT min(c.position) AS position FROM {f'{head} c' if head else f'{checkpoints} c WHERE {mine}'}"
        self._load, self._load_locked = self.loading(""), self.loading(self.lock())
        own, of_streams, self.parked = ("NULL", "NULL", "NULL") if head else parked_columns(generation, dialect)
        self._get = f"""
            SELECT w.key, c.position, {own}, {of_streams}, r.* FROM {self.wanted()}
            {f"CROSS JOIN {head} c" if head else f"LEFT JOIN {checkpoints} c ON {mine} AND {is_of_slice}"}
            LEFT JOIN {self.beside()}
        """
        self._delete = self.deleting()
        names = [quoted(column.name) for column in self.columns.all] + list(self.added)
        changes = ", ".join(f"{name} = excluded.{name}" for name in names if name != self.key)
        self._write = (
            f"INSERT INTO {self.table} ({', '.join(names)}) {self.values()} ON CONFLICT ({self.key}) DO UPDATE SET {changes}"
        )

    def load(self, session: Session, keys: Collection[str], locking: bool = False) -> dict[str, Row]:
        """Those of these rows that exist; locked in the order of the keys until the transaction ends, if asked for."""
        sql, values = self.load_statement(keys)
        return self.rows(session.rows(self._load_locked if locking else sql, values))

    def load_statement(self, keys: Collection[str]) -> tuple[str, tuple[str]]:
        """What returns those of these rows that exist, for `rows`."""
        return self._load, (self.keys(keys),)

    def rows(self, stored: Iterable[Sequence[Any]]) -> dict[str, Row]:
        """By key."""
        return {row.key: row for row in map(self.row, stored)}

    def get(self, session: Session, keys: Collection[str]) -> dict[str, Found]:
        """Row, checkpoint and parked lines of each of these keys, in one statement and so in one snapshot."""
        wanted = {key: slice_of(key, self.generation.slices) for key in keys}
        found = session.rows(self._get, (msgspec.json.encode(list(wanted.items())).decode(),))
        return {
            key: Found(
                row=None if stored[-1] is None else self.row(stored),
                slice=SliceId(self.generation.view, self.generation.number, wanted[key]),
                position=position or 0,
                parked=parked,
                has_parked_streams=streams is not None,
            )
            for key, position, parked, streams, *stored in found
        }

    def write(self, session: Session, rows: Sequence[Row]) -> None:
        if rows:
            encoded = [(*self.to_driver(self.columns.encode(row.key, row.value)), row.position) for row in rows]
            if words := self._words:
                encoded = [(*one, words(row.value)) for one, row in zip(encoded, rows, strict=True)]
            self.insert(session, self._write, encoded)

    def delete(self, session: Session, keys: Collection[str]) -> None:
        if keys:
            session.count(self._delete, (self.keys(keys),))

    def row(self, stored: Sequence[Any]) -> Row:
        value = self.columns.decode(self.from_driver(stored[:-1]))
        return Row(getattr(value, self.view.key), value, stored[-1])

    def read(self, name: str, column_type: ColumnType) -> str:
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

    def value_to_driver(self, column_type: ColumnType, value: Any) -> Any:
        return value


class PostgresRows(RowTable):
    """Many keys or rows travel as one JSON text: the driver writes arrays of text at a third of the speed.

    Keys are joined LATERALLY with a subquery that OFFSET 0 fences: one index descent for each key, whatever the planner thinks.
    Left alone it scans the table, and goes on with the plan that it made when the table was empty.
    """

    mark = "%s"
    on_postgres = True

    def read(self, name: str, column_type: ColumnType) -> str:
        return f"{quoted(name)}::text AS {quoted(name)}" if column_type == "json" else quoted(name)

    def loading(self, lock: str) -> str:
        return f"SELECT r.* FROM {self._keys()} CROSS JOIN LATERAL ({self._row(self.selected)} {lock}) r"

    def deleting(self) -> str:
        found = f"SELECT r.ctid FROM {self._keys()} CROSS JOIN LATERAL ({self._row('ctid')}) r"
        return f"DELETE FROM {self.table} WHERE ctid = ANY(ARRAY({found}))"

    def wanted(self) -> str:
        return "(SELECT value ->> 0 AS key, (value ->> 1)::int AS slice FROM json_array_elements(%s::json)) w"

    def beside(self) -> str:
        return f"LATERAL ({self._row(self.selected)}) r ON true"

    def _keys(self) -> str:
        return "(SELECT value AS key FROM json_array_elements_text(%s::json)) w"

    def _row(self, selected: str) -> str:
        return f"SELECT {selected} FROM {self.table} t WHERE t.{self.key} = w.key OFFSET 0"

    def values(self) -> str:
        typed = [f"{quoted(column.name)} {TYPES[column.type]}" for column in self.columns.all]
        typed += [f"{name} {kind}" for name, kind in self.added.items()]
        return f"SELECT * FROM json_to_recordset(%s::json) AS r({', '.join(typed)})"

    def insert(self, session: Session, sql: str, rows: Sequence[tuple[Any, ...]]) -> None:
        names = (*(column.name for column in self.columns.all), *self.added)
        session.count(sql, (msgspec.json.encode([dict(zip(names, row, strict=True)) for row in rows]).decode(),))

    def lock(self) -> str:
        return "FOR UPDATE"

    def to_driver(self, kept: tuple[Any, ...]) -> tuple[Any, ...]:
        values = list(kept)
        for index in self.jsons:
            values[index] = values[index] and msgspec.Raw(values[index])
        return tuple(values)


class SqliteRows(RowTable):
    """Many keys travel as one JSON array; times are kept as microseconds since 1970, UTC."""

    def __init__(self, view: AnyView, generation: Generation, dialect: Dialect, head: str | None = None) -> None:
        super().__init__(view, generation, dialect, head)
        self._times = tuple(index for index, column in enumerate(self.columns.all) if column.type == "time")

    def loading(self, lock: str) -> str:
        return f"SELECT {self.selected} FROM {self.table} WHERE {self.key} IN (SELECT value FROM json_each(?)) {lock}"

    def deleting(self) -> str:
        return f"DELETE FROM {self.table} WHERE {self.key} IN (SELECT value FROM json_each(?))"

    def wanted(self) -> str:
        return "(SELECT value ->> 0 AS key, value ->> 1 AS slice FROM json_each(?)) w"

    def beside(self) -> str:
        return f"(SELECT {self.selected} FROM {self.table}) r ON r.{self.key} = w.key"

    def values(self) -> str:
        return f"VALUES ({', '.join('?' * (len(self.columns.all) + len(self.added)))})"

    def insert(self, session: Session, sql: str, rows: Sequence[tuple[Any, ...]]) -> None:
        session.each(sql, rows)

    def lock(self) -> str:
        return ""

    def to_driver(self, kept: tuple[Any, ...]) -> tuple[Any, ...]:
        if not self._times:
            return kept
        values = list(kept)
        for index in self._times:
            values[index] = values[index] and microseconds(values[index])
        return tuple(values)

    def from_driver(self, stored: Sequence[Any]) -> Sequence[Any]:
        if not self._times:
            return stored
        values = list(stored)
        for index in self._times:
            if values[index] is not None:
                values[index] = moment(values[index])
        return values

    def value_to_driver(self, column_type: ColumnType, value: Any) -> Any:
        return microseconds(value) if value and column_type == "time" else value


def row_table(view: AnyView, generation: Generation, dialect: Dialect, head: str | None = None) -> RowTable:
    return (PostgresRows if dialect.name == "postgresql" else SqliteRows)(view, generation, dialect, head)
