"""One page of rows in an order, as one statement: the rows and the lowest checkpoint of the view come from one snapshot.

Keyset paging: a page begins behind the last row of the one before, by (order value, key), however many rows came or went since.
"""

from __future__ import annotations

from typing import Any

from twofold.database.session import Session
from twofold.kernel.rows import RowPage
from twofold.readmodels.schema.query import CheckedQuery
from twofold.readmodels.stores.sql.rows import RowTable, quoted


def find(session: Session, table: RowTable, query: CheckedQuery) -> RowPage:
    sql, values = find_statement(table, query)
    answer = session.rows(sql, values)
    rows = [table.row(stored) for _, _, *stored in answer if stored[-1] is not None]
    page = rows[: query.limit]
    return RowPage(
        rows=page,
        next=query.cursor(page[-1]) if len(rows) > query.limit else None,
        position=answer[0][0] or 0,
        has_parked=answer[0][1] is not None,
        parked=answer[0][1],
    )


def find_statement(table: RowTable, query: CheckedQuery) -> tuple[str, list[Any]]:
    conditions: list[str] = []
    values: list[Any] = []
    if query.index is not None and query.value is None:
        conditions.append(f"{quoted(query.index.name)} IS NULL")
    elif query.index is not None:
        conditions.append(f"{quoted(query.index.name)} = {table.mark}")
        values.append(table.value_to_driver(query.index.type, query.value))
    if query.after is not None:
        condition, anchors = _behind(table, query, *query.after)
        conditions.append(condition)
        values.extend(anchors)
    order = _order(table, query)
    where = f"WHERE {' AND '.join(conditions)}" if conditions else ""
    page = f"SELECT {table.selected} FROM {table.table} {where} ORDER BY {order} LIMIT {query.limit + 1}"
    return f"SELECT c.position, {table.parked}, r.* FROM ({table.lowest}) c LEFT JOIN ({page}) r ON true ORDER BY {order}", values


def _order(table: RowTable, query: CheckedQuery) -> str:
    """Absent values first, last when descending: SQLite's own way, and PostgreSQL's when told so."""
    direction = "DESC" if query.descending else "ASC"
    key = f"{table.key} {direction}"
    if query.order is None:
        return key
    nulls = (" NULLS LAST" if query.descending else " NULLS FIRST") if table.places_nulls else ""
    return f"{quoted(query.order.name)} {direction}{nulls}, {key}"


def _behind(table: RowTable, query: CheckedQuery, anchor: Any, key: str) -> tuple[str, list[Any]]:
    beyond = "<" if query.descending else ">"
    if query.order is None:
        return f"{table.key} {beyond} {table.mark}", [key]
    name = quoted(query.order.name)
    if anchor is None:
        among_absent = f"({name} IS NULL AND {table.key} {beyond} {table.mark})"
        return (among_absent if query.descending else f"({among_absent} OR {name} IS NOT NULL)"), [key]
    further = f"({name}, {table.key}) {beyond} ({table.mark}, {table.mark})"
    values = [table.value_to_driver(query.order.type, anchor), key]
    if query.descending and query.order.is_nullable:
        return f"({further} OR {name} IS NULL)", values
    return further, values
