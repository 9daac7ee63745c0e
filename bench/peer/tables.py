"""The peer's tables: events with their unique version, one outcome per command, and the row of each order."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal, get_origin

import msgspec
from sqlalchemy import (
    BigInteger,
    Column,
    DateTime,
    Identity,
    Integer,
    MetaData,
    Table,
    Text,
    UniqueConstraint,
    create_engine,
    func,
)
from sqlalchemy.dialects.postgresql import JSONB, UUID
from sqlalchemy.engine import Engine

from bench.domain import VIEWS

ORDERS = VIEWS[0]
METADATA = MetaData()

EVENTS = Table(
    "events",
    METADATA,
    Column("position", BigInteger, Identity(), primary_key=True),
    Column("stream", Text, nullable=False),
    Column("version", Integer, nullable=False),
    Column("type", Text, nullable=False),
    Column("data", JSONB, nullable=False),
    Column("command_id", UUID(as_uuid=False), nullable=False, index=True),
    Column("recorded_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
    UniqueConstraint("stream", "version"),
)

OUTCOMES = Table(
    "outcomes",
    METADATA,
    Column("command_id", UUID(as_uuid=False), primary_key=True),
    Column("type", Text, nullable=False),
    Column("status", Text, nullable=False),
    Column("code", Text),
    Column("version", Integer, nullable=False),
    Column("decided_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
)


def _column(field: msgspec.structs.FieldInfo) -> Column[Any]:
    is_key = field.name == ORDERS.key
    indexed = field.name in (*ORDERS.indexes, *ORDERS.orders) and not is_key
    plain = str if get_origin(field.type) is Literal else field.type
    kind: Any = {int: BigInteger(), str: Text(), datetime: DateTime(timezone=True)}.get(plain, JSONB())
    return Column(field.name, kind, primary_key=is_key, index=indexed)


ROWS = Table(
    "orders",
    METADATA,
    *[_column(field) for field in msgspec.structs.fields(ORDERS.row)],
    Column("row_version", Integer, nullable=False),
)


def connect(url: str, pool_size: int) -> Engine:
    """An engine whose connections stay open, as many as there are threads."""
    return create_engine(
        url,
        pool_size=pool_size,
        max_overflow=0,
        json_serializer=lambda value: msgspec.json.encode(value).decode(),
        json_deserializer=msgspec.json.decode,
    )
