"""From a query as a client wrote it to a question a store can answer: names checked, values converted, cursors opened.

A cursor is the anchor of the last row of a page, its order value and key, written together with the order it belongs to:
a cursor from another order is refused, not misread.
"""

from __future__ import annotations

from base64 import urlsafe_b64decode, urlsafe_b64encode
from dataclasses import dataclass
from typing import Any

import msgspec

from twofold.kernel.errors import Malformed
from twofold.kernel.rows import CURSOR_CHARS_MAX, Query, Row
from twofold.kernel.view import AnyView
from twofold.readmodels.schema.columns import Column, Columns, refuse_key

LIMIT_MAX = 1_000
"""Rows in one page."""

_UNUSABLE = (ValueError, TypeError, OverflowError, msgspec.MsgspecError)


@dataclass(frozen=True, slots=True)
class CheckedQuery:
    """A checked query. `value` is plain (see columns.py), `order` None means by key; `after` is the place a cursor holds.

    Absent order values (None) come first, last when descending; ties are broken by the key, in the same direction.
    """

    index: Column | None
    value: Any
    order: Column | None
    descending: bool
    limit: int
    after: tuple[Any, str] | None

    def cursor(self, row: Row) -> str:
        """What continues after this row."""
        anchor = None if self.order is None else self.order.encode(getattr(row.value, self.order.name))
        data = msgspec.json.encode((_name(self.order), self.descending, anchor, row.key))
        return urlsafe_b64encode(data).decode().rstrip("=")


def checked_query(view: AnyView, columns: Columns, query: Query) -> CheckedQuery:
    """Raises Malformed for a field that is not declared, a value of the wrong type, a limit out of range or a foreign cursor."""
    if not 1 <= query.limit <= LIMIT_MAX:
        raise Malformed(f"limit must be from 1 to {LIMIT_MAX:,}", "/limit")
    index = None if query.index is None else _declared(columns, query.index, view.indexes, view.key)
    order = None if query.order is None else _declared(columns, query.order, (*view.orders, *view.indexes), view.key, "order")
    if order is columns.key:
        order = None
    after = None if query.cursor is None else _opened(order, query)
    return CheckedQuery(
        index=index,
        value=None if index is None else _plain(index, query.value),
        order=order,
        descending=query.descending,
        limit=query.limit,
        after=after,
    )


def _declared(columns: Columns, name: str, names: tuple[str, ...], key: str, what: str = "index") -> Column:
    if name in ("key", key):
        return columns.key
    if name in names:
        return columns.by_name[name]
    declared = ", ".join(sorted({"key", key, *names}))
    raise Malformed(f"there is no {what} {name!r}; declared: {declared}", f"/{what}" if what == "order" else f"/{name}")


def _plain(column: Column, value: Any) -> Any:
    try:
        return column.encode(msgspec.convert(value, column.annotation, strict=False))
    except _UNUSABLE as error:
        raise Malformed(f"not a value of {column.name}: {error}", f"/{column.name}") from error


def _opened(order: Column | None, query: Query) -> tuple[Any, str]:
    cursor = query.cursor or ""
    try:
        if len(cursor) > CURSOR_CHARS_MAX:
            raise ValueError("too long")
        data = urlsafe_b64decode(cursor.encode("ascii") + b"=" * (-len(cursor) % 4))
        name, descending, anchor, key = msgspec.json.decode(data, type=tuple[str | None, bool, Any, str])
        if (name, descending) != (_name(order), query.descending):
            raise ValueError("it belongs to another order")
        refuse_key(key)
        if order is not None:
            anchor = order.encode(msgspec.convert(anchor, order.annotation))
        return anchor, key
    except _UNUSABLE as error:
        raise Malformed(f"not a cursor of this query: {error}", "/cursor") from error


def _name(order: Column | None) -> str | None:
    return None if order is None else order.name
