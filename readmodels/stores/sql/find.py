"""One page of rows in an order, as one statement: the rows and the lowest checkpoint of the view come from one snapshot.

Keyset paging: a page begins behind the last row of the one before, by (order value, key), however many rows came or went since.
Each part of it is one stretch of an index, read from where it begins until the page is full; absent values are one of their own.

Which index that is, where several would do, PostgreSQL knows from its statistics. SQLite has none, and is told: by counting what
each would lead through, no further than to so many that more of them are not to be sorted.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from twofold.database.session import Session
from twofold.kernel.rows import RowPage
from twofold.readmodels.schema.columns import Column
from twofold.readmodels.schema.query import CheckedQuery, Span
from twofold.readmodels.schema.walks import Walk, all_walks, compounds_of, single_paths
from twofold.readmodels.stores.sql.rows import RowTable
from twofold.readmodels.stores.sql.tables import index_name, quoted, row_table_name

SORTED_ROWS_MAX = 1_000
"""So many rows, found by what they equal, are sorted for a page on SQLite. If there are more, rows are read in their order."""


class Condition(NamedTuple):
    sql: str
    values: list[Any]


def find(session: Session, table: RowTable, query: CheckedQuery) -> RowPage:
    sql, values = find_statement(table, query, None if table.on_postgres else _shortest(session, table, query))
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


def find_statement(table: RowTable, query: CheckedQuery, walk: Walk | None = None) -> tuple[str, list[Any]]:
    """`walk`: by which index, where the database is to be told."""
    order = _order(table, query)
    shared = [equals(table, column, value) for column, value in query.equal]
    shared += [one for span in query.beside for one in within(table, span)]
    if query.span is not None:
        shared += within(table, query.span)
    source = _source(table, walk)
    selects, values = [], list[Any]()
    for stretch in _stretches(table, query):
        conditions = [*shared, *stretch]
        where = f"WHERE {' AND '.join(one.sql for one in conditions)}" if conditions else ""
        selects.append(f"SELECT {table.selected} FROM {source} {where} ORDER BY {order} LIMIT {query.limit + 1}")
        values += [value for one in conditions for value in one.values]
    page = selects[0] if len(selects) == 1 else " UNION ALL ".join(f"SELECT * FROM ({one}) s" for one in selects)
    page = page if len(selects) == 1 else f"SELECT * FROM ({page}) s ORDER BY {order} LIMIT {query.limit + 1}"
    return f"SELECT c.position, {table.parked}, r.* FROM ({table.lowest}) c LEFT JOIN ({page}) r ON true ORDER BY {order}", values


def count(session: Session, table: RowTable, query: CheckedQuery, most: int) -> int:
    """How many rows answer it, `most` at most."""
    sql, values = count_statement(table, query, most, None if table.on_postgres else _shortest(session, table, query))
    return int(session.rows(sql, values)[0][0])


def count_statement(table: RowTable, query: CheckedQuery, most: int, walk: Walk | None = None) -> tuple[str, list[Any]]:
    """In the order of its page, so that it goes the way of one: through an index, from where it begins to where it is enough."""
    conditions = [equals(table, column, value) for column, value in query.equal]
    spans = [*query.beside, *([query.span] if query.span else [])]
    conditions += [one for span in spans for one in within(table, span)]
    where = f"WHERE {' AND '.join(one.sql for one in conditions)}" if conditions else ""
    found = f"SELECT 1 FROM {_source(table, walk)} {where} ORDER BY {_order(table, query)} LIMIT {most}"
    return f"SELECT count(*) FROM ({found}) s", [value for one in conditions for value in one.values]


def equals(table: RowTable, column: Column, value: Any) -> Condition:
    if value is None:
        return Condition(f"{quoted(column.name)} IS NULL", [])
    return Condition(f"{quoted(column.name)} = {table.mark}", [table.value_to_driver(column.type, value)])


def within(table: RowTable, span: Span) -> list[Condition]:
    bounds = [(">=", span.start), ("<", span.end)]
    return [
        Condition(f"{quoted(span.column.name)} {sign} {table.mark}", [table.value_to_driver(span.column.type, bound)])
        for sign, bound in bounds
        if bound is not None
    ]


def _order(table: RowTable, query: CheckedQuery) -> str:
    """Absent values first, last when descending: SQLite's own way, and PostgreSQL's when told so."""
    direction = "DESC" if query.descending else "ASC"
    key = f"{table.key} {direction}"
    if query.order is None:
        return key
    nulls = (" NULLS LAST" if query.descending else " NULLS FIRST") if table.on_postgres else ""
    return f"{quoted(query.order.name)} {direction}{nulls}, {key}"


def _stretches(table: RowTable, query: CheckedQuery) -> list[list[Condition]]:
    """What is behind the cursor: one stretch of an index, or two, where one of them has no values and the other has."""
    if query.after is None:
        return [[]]
    anchor, key = query.after
    beyond = "<" if query.descending else ">"
    behind_key = Condition(f"{table.key} {beyond} {table.mark}", [key])
    if query.order is None:
        return [[behind_key]]
    name = quoted(query.order.name)
    absent = Condition(f"{name} IS NULL", [])
    if anchor is None:
        present = Condition(_is_present(table, query.order), [])
        return [[absent, behind_key]] if query.descending else [[absent, behind_key], [present]]
    further = f"({name}, {table.key}) {beyond} ({table.mark}, {table.mark})"
    stretch = [Condition(further, [table.value_to_driver(query.order.type, anchor), key])]
    has_absent = query.descending and query.order.is_nullable and query.span is None
    return [stretch, [absent]] if has_absent else [stretch]


def _is_present(table: RowTable, column: Column) -> str:
    """As a bound that its index can be sought by: SQLite seeks none for IS NOT NULL. Texts and numbers are not compared."""
    if table.on_postgres:
        return f"{quoted(column.name)} IS NOT NULL"
    least = "''" if column.type == "text" else "-9e999"
    return f"{quoted(column.name)} >= {least}"


def _source(table: RowTable, walk: Walk | None) -> str:
    if walk is None or not walk.path:
        return table.table
    name = index_name(row_table_name(table.generation), [column.name for column in walk.path])
    return f"{table.table} INDEXED BY {quoted(name)}"


def _shortest(session: Session, table: RowTable, query: CheckedQuery) -> Walk | None:
    """Through as few rows as can be; None for a single key, which is found by itself."""
    if any(column is table.columns.key for column, _ in query.equal):
        return None
    paths = [*single_paths(table.view, table.columns), *compounds_of(table.view, table.columns)]
    every = all_walks(paths, query)
    best = max(every, key=_merit)
    if not best.equal and all(span.column in best.rest for span in best.beside):
        return best
    walks = [one for one in every if (one.fixed_count == best.fixed_count if one.is_ordered else one.fixed_count)]
    counted = dict(zip(walks, _counts(session, table, query, walks), strict=True))
    gathering = min((one for one in walks if not one.is_ordered), key=counted.__getitem__, default=best)
    ordered = min((one for one in walks if one.is_ordered), key=lambda one: (counted[one], *(-each for each in _merit(one))))
    return gathering if counted[gathering] < min(counted[ordered], SORTED_ROWS_MAX + 1) else ordered


def _merit(walk: Walk) -> tuple[int, int, int, int]:
    """What is in the index need not be looked up in the row."""
    seen = sum(span.column in walk.rest for span in walk.beside)
    return walk.is_ordered, walk.fixed_count, seen, -len(walk.rest)


def _counts(session: Session, table: RowTable, query: CheckedQuery, walks: Sequence[Walk]) -> tuple[int, ...]:
    """How many rows each leads through; one more than may be sorted stands for all that are more."""
    counts, values = [], list[Any]()
    for walk in walks:
        conditions = [equals(table, column, value) for column, value in query.equal if column in walk.path[: walk.fixed_count]]
        if walk.is_ordered and query.span is not None:
            conditions += within(table, query.span)
        where = f"WHERE {' AND '.join(one.sql for one in conditions)}" if conditions else ""
        counts.append(f"(SELECT count(*) FROM (SELECT 1 FROM {_source(table, walk)} {where} LIMIT {SORTED_ROWS_MAX + 1}))")
        values += [value for one in conditions for value in one.values]
    return tuple(session.rows(f"SELECT {', '.join(counts)}", values)[0])
