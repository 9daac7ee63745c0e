"""The order of rows in Redis: one sorted set for each order one may ask for, whose members sort by their bytes.

    member = (value NUL)* key        path (): by key; (field): by field and key; (index, field): the same within an index value

A value becomes bytes that sort as it does: absent ones first, numbers and times as fixed-width hexadecimal, text as UTF-8. All
scores are 0, so Redis sorts by the members alone, and ties are broken by the key. Neither values nor keys hold NUL.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Any

import msgspec

from twofold.database.times import microseconds
from twofold.kernel.view import AnyView
from twofold.readmodels.schema.columns import Column, Columns
from twofold.readmodels.schema.query import CheckedQuery

Path = tuple[Column, ...]

_OFFSET = 1 << 63


def paths_of(view: AnyView, columns: Columns) -> tuple[Path, ...]:
    """Every order one may ask for. A view's paths are part of its shape: their places in this tuple are on disk."""
    fields = [columns.by_name[name] for name in sorted({*view.indexes, *view.orders} - {view.key})]
    indexes = [column for column in fields if column.name in view.indexes]
    pairs = [(index, field) for index in indexes for field in fields if field is not index]
    return ((), *((field,) for field in fields), *pairs)


def members_of(paths: Sequence[Path], key: str, value: msgspec.Struct) -> list[str]:
    """A row's member in each of these orders."""
    sortable = {column.name: _sortable(column, column.encode(getattr(value, column.name))) for path in paths for column in path}
    return [b"".join(sortable[column.name] + b"\0" for column in path).decode() + key for path in paths]


def range_of(columns: Columns, query: CheckedQuery) -> tuple[Path, bytes, bytes]:
    """The path that answers a query, and the bounds of its members, lowest and highest, as ZRANGEBYLEX wants them."""
    if query.index is columns.key:
        return (), *_one_key(query)
    fixed = [] if query.index is None else [query.index]
    ordered = [] if query.order is None or query.order in fixed else [query.order]
    within = b"".join(_sortable(column, query.value) + b"\0" for column in fixed)
    lowest, highest = (b"[" + within, b"(" + within[:-1] + b"\x01") if within else (b"-", b"+")
    if query.after is not None:
        anchor, key = query.after
        last = b"(" + within + b"".join(_sortable(column, anchor) + b"\0" for column in ordered) + key.encode()
        lowest, highest = (lowest, last) if query.descending else (last, highest)
    return (*fixed, *ordered), lowest, highest


def _one_key(query: CheckedQuery) -> tuple[bytes, bytes]:
    """The bounds of one key, which let nothing through when a cursor is past it."""
    key = str(query.value).encode()
    after = None if query.after is None else query.after[1].encode()
    is_past = after is not None and (key >= after if query.descending else key <= after)
    return (b"(" if is_past else b"[") + key, b"[" + key


def _sortable(column: Column, value: Any) -> bytes:
    if value is None:
        return b"0"
    match column.type:
        case "integer":
            return b"1%016x" % (value + _OFFSET)
        case "truth":
            return b"1%d" % value
        case "number":
            (bits,) = struct.unpack(">Q", struct.pack(">d", value + 0.0))
            return b"1%016x" % (bits ^ (((1 << 64) - 1) if bits >> 63 else _OFFSET))
        case "time":
            return b"1%016x" % (microseconds(value) + _OFFSET)
        case _:
            return b"1" + str(value).encode()
