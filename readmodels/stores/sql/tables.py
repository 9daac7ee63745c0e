"""The tables of the read side. Their names are on disk: `{view}__g{generation}` and the platform tables, for ever.

On PostgreSQL they live in the schema `read`, so that views may share a database with the log.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from zlib import crc32

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Dialect,
    Double,
    Index,
    Integer,
    MetaData,
    Table,
    Text,
    asc,
    nulls_first,
)
from sqlalchemy.dialects.postgresql import JSONB, TIMESTAMP
from sqlalchemy.schema import CreateIndex, CreateSchema, CreateTable
from sqlalchemy.types import TypeEngine

from twofold.kernel.rows import Generation
from twofold.kernel.view import AnyView
from twofold.readmodels.schema.columns import Columns, ColumnType
from twofold.readmodels.schema.shape import is_indexed, shape_of
from twofold.readmodels.stores.search import words

SCHEMA = "read"
INDEX_NAME_CHARS = 50
"""PostgreSQL cuts names at 63; ours are cut before that and made unique by a check sum."""


TYPES: dict[ColumnType, str] = {
    "integer": "bigint",
    "truth": "boolean",
    "number": "double precision",
    "text": "text",
    "time": "timestamptz",
    "json": "jsonb",
}
"""As PostgreSQL names them."""


def row_table_name(generation: Generation) -> str:
    return f"{generation.view}__g{generation.number}"


def create_platform(dialect: Dialect) -> list[str]:
    """DDL of the platform tables, each statement harmless where they exist."""
    metadata = MetaData(schema=_schema(dialect))
    hot: dict[str, Any] = {
        "postgresql_with": {"fillfactor": 50, "autovacuum_vacuum_threshold": 500, "autovacuum_vacuum_scale_factor": 0}
    }
    Table(
        "generations",
        metadata,
        Column("view", _text(dialect), primary_key=True),
        Column("generation", Integer, primary_key=True, autoincrement=False),
        Column("slices", Integer, nullable=False),
        Column("shape", Text, nullable=False),
        Column("state", Text, nullable=False),
    )
    if dialect.name == "postgresql":
        Table(
            "standings",
            metadata,
            *_slice_columns(dialect, "first"),
            Column("last", Integer, nullable=False),
            Column("position", BigInteger, nullable=False),
            Column("mark", Text),
            **hot,
        )
    else:
        Table(
            "checkpoints",
            metadata,
            *_slice_columns(dialect),
            Column("position", BigInteger, nullable=False),
            Column("mark", Text),
        )
    Table(
        "parked_keys",
        metadata,
        *_slice_columns(dialect),
        Column("key", _text(dialect), primary_key=True),
        Column("position", BigInteger, nullable=False),
        Column("error", Text, nullable=False),
        Column("waiting", BigInteger, nullable=False),
        Column("attempts", Integer, nullable=False),
        Column("parked_at", _types(dialect)["time"], nullable=False),
        Column("request", Text, nullable=True),
    )
    Table(
        "parked_positions",
        metadata,
        *_slice_columns(dialect),
        Column("key", _text(dialect), primary_key=True),
        Column("position", BigInteger, primary_key=True, autoincrement=False),
    )
    Table(
        "generation_users",
        metadata,
        Column("view", _text(dialect), primary_key=True),
        Column("generation", Integer, primary_key=True, autoincrement=False),
        Column("member", _text(dialect), primary_key=True),
        Column("until", Double, nullable=False),
        **hot,
    )
    Table("rebuilds", metadata, Column("view", _text(dialect), primary_key=True), Column("record", Text, nullable=False))
    schema = [str(CreateSchema(SCHEMA, if_not_exists=True).compile(dialect=dialect))] if metadata.schema else []
    return schema + [_ddl(CreateTable(table, if_not_exists=True), dialect) for table in metadata.sorted_tables]


def create_rows(view: AnyView, generation: Generation, dialect: Dialect) -> list[str]:
    """DDL of one generation's rows: a column for each field, an index for each field one may filter or sort by, and for each
    compound, key last; one of the words, where they are searched for."""
    if is_indexed(shape_of(view)):
        return [_ddl(CreateTable(_on_its_way(generation, dialect), if_not_exists=True), dialect)]
    columns = Columns(view)
    types = _types(dialect)
    name = row_table_name(generation)
    table = Table(
        name,
        MetaData(schema=_schema(dialect)),
        *(
            Column(
                column.name,
                types[column.type],
                primary_key=column is columns.key and not words.has_numbers(view, dialect),
                unique=column is columns.key and words.has_numbers(view, dialect),
                nullable=column.is_nullable or column.type == "json",
            )
            for column in columns.all
        ),
        Column("_position", BigInteger, nullable=False),
        *words.columns(view, dialect),
        postgresql_with={"fillfactor": 80},
    )
    singles = [(field,) for field in (*view.indexes, *view.orders) if field != view.key]
    first = (lambda column: nulls_first(asc(column))) if dialect.name == "postgresql" else asc
    indexes = [
        Index(index_name(name, fields), *(first(table.c[field]) for field in fields), table.c[view.key])
        for fields in dict.fromkeys((*singles, *view.compounds))
    ]
    statements = [_ddl(CreateTable(table, if_not_exists=True), dialect)]
    statements += [_ddl(CreateIndex(index, if_not_exists=True), dialect) for index in indexes]
    return statements + (words.create(name, qualified(name, dialect), dialect) if view.text else [])


def _on_its_way(generation: Generation, dialect: Dialect) -> Table:
    """What a search index has still to be told of a generation that it holds (see stores/search/ledger.py)."""
    return Table(
        row_table_name(generation),
        MetaData(schema=_schema(dialect)),
        Column("key", _text(dialect), primary_key=True),
        Column("slice", Integer, nullable=False),
        Column("position", BigInteger, nullable=False),
        Column("number", BigInteger, nullable=False),
        Column("row", Text, nullable=True),
    )


def drop_rows(generation: Generation, dialect: Dialect) -> list[str]:
    name = row_table_name(generation)
    return [f"DROP TABLE IF EXISTS {qualified(name, dialect)}", *words.drop(name, dialect)]


def qualified(table: str, dialect: Dialect) -> str:
    """A table's name as SQL wants it."""
    schema = _schema(dialect)
    return f'"{schema}"."{table}"' if schema else f'"{table}"'


def quoted(name: str) -> str:
    return f'"{name}"'


def _slice_columns(dialect: Dialect, slice: str = "slice") -> list[Column[Any]]:
    """The three columns that name a slice."""
    return [
        Column("view", _text(dialect), primary_key=True),
        Column("generation", Integer, primary_key=True, autoincrement=False),
        Column(slice, Integer, primary_key=True, autoincrement=False),
    ]


def _types(dialect: Dialect) -> dict[ColumnType, TypeEngine[Any]]:
    on_postgres = dialect.name == "postgresql"
    return {
        "integer": BigInteger(),
        "truth": Boolean(),
        "number": Double(),
        "text": _text(dialect),
        "time": TIMESTAMP(timezone=True) if on_postgres else BigInteger(),
        "json": JSONB() if on_postgres else Text(),
    }


def _text(dialect: Dialect) -> Text:
    """Text in the order of its bytes, which is that of SQLite, of Redis, and of nobody's language."""
    return Text(collation="C") if dialect.name == "postgresql" else Text()


def _schema(dialect: Dialect) -> str | None:
    return SCHEMA if dialect.name == "postgresql" else None


def index_name(table: str, fields: Sequence[str]) -> str:
    """On disk. A field's name has no plus in it."""
    name = f"{table}__{'+'.join(fields)}"
    return name if len(name) <= INDEX_NAME_CHARS else f"{name[: INDEX_NAME_CHARS - 9]}_{crc32(name.encode()):08x}"


def _ddl(element: CreateTable | CreateIndex, dialect: Dialect) -> str:
    return str(element.compile(dialect=dialect)).strip()
