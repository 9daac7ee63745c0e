"""From a query as a client wrote it to a question a store can answer: names checked, values converted, cursors opened.

A cursor is the anchor of the last row of a page, its order value and key, written together with the order it belongs to:
a cursor from another order is refused, not misread.
"""

from __future__ import annotations

from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

import msgspec

from twofold.kernel.errors import Malformed
from twofold.kernel.rows import CURSOR_CHARS_MAX, PAGE_ROWS_MAX, Query, Range, Row
from twofold.kernel.view import AnyView
from twofold.readmodels.schema.columns import INDEXED_BYTES_MAX, Column, Columns, ColumnType, refuse_key, text_encoder

LIMIT_MAX = PAGE_ROWS_MAX

_BOUND_TYPES: dict[ColumnType, Any] = {"integer": int, "truth": bool, "number": float, "time": datetime}

_UNUSABLE = (ValueError, TypeError, OverflowError, msgspec.MsgspecError)


@dataclass(frozen=True, slots=True)
class Span:
    """Rows whose value is there, not before `start` and before `end`; None is no bound."""

    column: Column
    start: Any
    end: Any


@dataclass(frozen=True, slots=True)
class CheckedQuery:
    """A checked query. Values are plain (see columns.py); `order` None means by key; `after` is the place a cursor holds.

    `span` is of what rows are ordered by, `beside` are of other fields. Absent order values (None) come first, last when
    descending; ties are broken by the key, in the same direction.
    """

    equal: tuple[tuple[Column, Any], ...] = ()
    span: Span | None = None
    beside: tuple[Span, ...] = ()
    order: Column | None = None
    descending: bool = False
    limit: int = LIMIT_MAX
    after: tuple[Any, str] | None = None

    def cursor(self, row: Row) -> str:
        """What continues after this row."""
        anchor = None if self.order is None else self.order.encode(getattr(row.value, self.order.name))
        return cursor_text(_name(self.order), self.descending, anchor, row.key)


def cursor_text(order: str | None, descending: bool, anchor: Any, key: str) -> str:
    """The place of a row in an order."""
    return urlsafe_b64encode(msgspec.json.encode((order, descending, anchor, key))).decode().rstrip("=")


def opened_score(order: str, cursor: str) -> tuple[float, str]:
    """Score and key of a cursor in this order, which is by falling score. Raises Malformed."""
    try:
        anchor, key = _place(cursor, order, True)
        return msgspec.convert(anchor, float), key
    except _UNUSABLE as error:
        raise Malformed(f"not a cursor of this query: {error}", "/cursor") from error


def checked_query(view: AnyView, columns: Columns, query: Query, is_walked: bool = False) -> CheckedQuery:
    """Raises Malformed for a field that is not declared, a value of the wrong type, a range that ends before it begins or that no
    declared order serves, a limit out of bounds or a foreign cursor. `is_walked`: any order serves any ranges."""
    if not 1 <= query.limit <= LIMIT_MAX:
        raise Malformed(f"limit must be from 1 to {LIMIT_MAX:,}", "/limit")
    orders = (*view.orders, *view.indexes)
    equal: dict[Column, Any] = {}
    for name, value in query.where:
        column = _declared(columns, name, view.indexes, view.key)
        _once(column, name, equal)
        equal[column] = _plain(column, value)
    spans: dict[Column, Span] = {}
    for asked in query.ranges:
        column = _declared(columns, asked.field, orders, view.key, "range")
        _once(column, asked.field, {**equal, **spans})
        spans[column] = _span(column, asked)
    if query.order is None and len(spans) > 1 and not is_walked:
        names = [column.name for column in spans]
        raise Malformed(
            f"which order? ranges of {' and '.join(names)} are answered together only by a declared compound"
            f" (…, {', '.join(names)}), in its order: order={names[0]}; declared: {_compounds(view)}",
            "/order",
        )
    order = next(iter(spans), columns.key) if query.order is None else _declared(columns, query.order, orders, view.key, "order")
    span = spans.pop(order, None)
    if spans and not is_walked:
        _require_compound(view, {column.name for column in equal}, order.name, list(spans))
    order_or_key = None if order is columns.key else order
    after = None if query.cursor is None else _opened(order_or_key, query)
    span, after = _onwards(span, order_or_key, after, query.descending)
    return CheckedQuery(tuple(equal.items()), span, tuple(spans.values()), order_or_key, query.descending, query.limit, after)


def _declared(columns: Columns, name: str, names: tuple[str, ...], key: str, what: str = "index") -> Column:
    if name in ("key", key):
        return columns.key
    if name in names:
        return columns.by_name[name]
    declared = ", ".join(sorted({"key", key, *names}))
    raise Malformed(f"there is no {what} {name!r}; declared: {declared}", f"/{what}" if what == "order" else f"/{name}")


def _once(column: Column, name: str, asked: Mapping[Column, Any]) -> None:
    if column in asked:
        raise Malformed(f"{column.name} is asked for twice", f"/{name}")


def _plain(column: Column, value: Any) -> Any:
    try:
        given = _unspaced(value) if column.type == "time" else value
        return column.encode(msgspec.convert(given, column.annotation, strict=False))
    except _UNUSABLE as error:
        raise Malformed(f"not a value of {column.name}: {error}", f"/{column.name}") from error


def _span(column: Column, asked: Range) -> Span:
    bounds = []
    for side, value in (("from", asked.start), ("to", asked.end)):
        try:
            bounds.append(None if value is None else _bound(column, value))
        except _UNUSABLE as error:
            raise Malformed(f"not a bound of {column.name}: {error}", f"/{asked.field}.{side}") from error
    start, end = bounds
    if start is None and end is None:
        raise Malformed(f"a range of {column.name} has a from, a to, or both", f"/{asked.field}.from")
    if start is not None and end is not None and end < start:
        raise Malformed(f"{asked.field}.to lies before {asked.field}.from", f"/{asked.field}.to")
    return Span(column, start, end)


def bound_type(column: Column) -> Any:
    """Of what a range is between, without what narrows the field: a scale of 1 to 5 ends before 6."""
    is_day = column.type == "text" and column.decode == date.fromisoformat
    return date if is_day else _BOUND_TYPES.get(column.type, str)


def _bound(column: Column, value: Any) -> Any:
    kind = bound_type(column)
    bound = msgspec.convert(_unspaced(value) if kind is datetime else value, kind, strict=False)
    return text_encoder(INDEXED_BYTES_MAX)(bound) if kind is str else column.encode(bound)


def _unspaced(value: Any) -> Any:
    """The plus of a time zone that was not percent-encoded arrives as a space."""
    return value.replace(" ", "+") if isinstance(value, str) and "T" in value else value


def _require_compound(view: AnyView, equal: Collection[str], order: str, beside: Collection[Column]) -> None:
    """A range in another order than its own would be a walk over everything, unless the view has declared that way."""
    names = [column.name for column in beside]
    for compound in view.compounds:
        if order in compound:
            place = compound.index(order)
            if set(compound[:place]) <= set(equal) and set(names) <= set(compound[place + 1 :]):
                return
    raise Malformed(
        f"rows with a range of {names[0]} come in the order of {names[0]}; in that of {order} only by a declared compound"
        f" (…, {', '.join((order, *names))}); declared: {_compounds(view)}",
        "/order",
    )


def _compounds(view: AnyView) -> str:
    return ", ".join("+".join(compound) for compound in view.compounds) or "none"


def _onwards(
    span: Span | None, order: Column | None, after: tuple[Any, str] | None, descending: bool
) -> tuple[Span | None, tuple[Any, str] | None]:
    """A page begins at its cursor or where the range does, whichever is further on, never at both: one bound is sought."""
    if span is None or after is None:
        return span, after
    anchor = after[1] if order is None else after[0]
    if descending:
        if anchor is not None and span.end is not None and anchor >= span.end:
            return span, None
        return (span if anchor is None else Span(span.column, span.start, None)), after
    if anchor is None or (span.start is not None and anchor < span.start):
        return span, None
    return Span(span.column, None, span.end), after


def _opened(order: Column | None, query: Query) -> tuple[Any, str]:
    try:
        anchor, key = _place(query.cursor or "", _name(order), query.descending)
        if order is not None:
            anchor = order.encode(msgspec.convert(anchor, order.annotation))
        return anchor, key
    except _UNUSABLE as error:
        raise Malformed(f"not a cursor of this query: {error}", "/cursor") from error


def _place(cursor: str, order: str | None, descending: bool) -> tuple[Any, str]:
    """Anchor and key. Raises what is _UNUSABLE."""
    if len(cursor) > CURSOR_CHARS_MAX:
        raise ValueError("too long")
    data = urlsafe_b64decode(cursor.encode("ascii") + b"=" * (-len(cursor) % 4))
    asked = msgspec.json.decode(data, type=tuple[str | None, bool, Any, str])
    if asked[:2] != (order, descending):
        raise ValueError("it belongs to another order")
    refuse_key(asked[3])
    return asked[2:]


def _name(order: Column | None) -> str | None:
    return None if order is None else order.name
