"""A page of a search as one statement, in either dialect: rows, how many there are, their facets and the lowest checkpoint of the
view come from one snapshot.

    matched   everything that is found, narrow: key, score, order, facets ──> counted, as a whole and by facet
    page      a page of it, which alone is looked up in the rows
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import msgspec

from twofold.database.session import Session
from twofold.database.times import moment
from twofold.kernel.rows import Query, RowPage, Search, SearchPage
from twofold.readmodels.schema.columns import Column
from twofold.readmodels.schema.query import CheckedQuery, checked_query
from twofold.readmodels.schema.searching import FACET_VALUES_MAX, CheckedSearch, checked_search, facet_text
from twofold.readmodels.schema.shape import Reading
from twofold.readmodels.stores.search.words import NUMBER, WORDS, index_of, question
from twofold.readmodels.stores.sql.find import Condition, equals, find, within
from twofold.readmodels.stores.sql.rows import RowTable
from twofold.readmodels.stores.sql.tables import quoted, row_table_name


def checked(table: RowTable, reading: Reading | None, query: Query) -> CheckedQuery | CheckedSearch:
    """What a client asks, as it can be answered from this table."""
    if isinstance(query, Search):
        return reading.searched(table.columns, query) if reading else checked_search(table.view, table.columns, query)
    return reading.checked(table.columns, query) if reading else checked_query(table.view, table.columns, query)


def answer(session: Session, table: RowTable, asked: CheckedQuery | CheckedSearch) -> RowPage:
    return search(session, table, asked) if isinstance(asked, CheckedSearch) else find(session, table, asked)


def search(session: Session, table: RowTable, asked: CheckedSearch) -> SearchPage:
    stored = session.rows(*search_statement(table, asked))
    position, parked, total, *counts = stored[0][: 3 + len(asked.facets)]
    found = [(one[len(counts) + 3], table.row(one[len(counts) + 4 :])) for one in stored if one[-1] is not None]
    page = found[: asked.query.limit]
    rows = [row for _, row in page]
    return SearchPage(
        rows=rows,
        next=asked.cursor(rows[-1], page[-1][0]) if len(found) > len(page) else None,
        position=position or 0,
        has_parked=parked is not None,
        parked=parked,
        total=total,
        facets={column.name: _counted(column, one) for column, one in zip(asked.facets, counts, strict=True)},
        scores=[score for score, _ in page],
        highlights=asked.highlights([row.value for row in rows]),
    )


def search_statement(table: RowTable, asked: CheckedSearch) -> tuple[str, list[Any]]:
    matched, values = _matched(table, asked)
    order, behind = _order(table, asked), _behind(table, asked)
    counts = ["(SELECT count(*) FROM matched)", *(_facet(table, place) for place in range(len(asked.facets)))]
    names = ["p._score", *(f"t.{quoted(column.name)}" for column in table.columns.all), "t._position"]
    page = f"SELECT * FROM matched {f'WHERE {behind.sql}' if behind else ''} ORDER BY {order} LIMIT {asked.query.limit + 1}"
    rows = f"page p JOIN (SELECT {table.selected}, {table.key} AS _own FROM {table.table}) t ON t._own = p._key"
    return (
        f"WITH matched AS MATERIALIZED ({matched}), page AS MATERIALIZED ({page})"
        f" SELECT c.position, {table.parked}, {', '.join((*counts, *names))}"
        f" FROM ({table.lowest}) c LEFT JOIN ({rows}) ON true ORDER BY {order}",
        [*values, *(behind.values if behind else [])],
    )


def _matched(table: RowTable, asked: CheckedSearch) -> tuple[str, list[Any]]:
    conditions = [equals(table, column, value) for column, value in asked.query.equal]
    conditions += [one for span in asked.spans for one in within(table, span)]
    score, source, first = "NULL", table.table, list[Condition]()
    if asked.terms == ():
        first = [Condition("1 = 0", [])]
    elif asked.terms and table.on_postgres:
        score, source = (
            f"ts_rank({WORDS}, _asked.words, 1)::float8",
            f"{table.table} CROSS JOIN (SELECT %s::tsquery AS words) _asked",
        )
        first = [Condition(f"{WORDS} @@ _asked.words", [question(asked.terms, on_postgres=True)])]
    elif asked.terms:
        index = quoted(index_of(row_table_name(table.generation)))
        found = f"(SELECT rowid AS _row, -bm25({index}) AS _rank FROM {index} WHERE {index} MATCH ?)"
        score, source = "f._rank", f"{found} f CROSS JOIN {table.table} t ON t.{NUMBER} = f._row"
        first = [Condition("1 = 1", [question(asked.terms, on_postgres=False)])]
    every = [*first, *conditions]
    order = quoted(asked.query.order.name) if asked.query.order else "NULL"
    facets = [f"{quoted(column.name)} AS _facet{place}" for place, column in enumerate(asked.facets)]
    selected = ", ".join((f"{table.key} AS _key", f"{score} AS _score", f"{order} AS _order", *facets))
    where = f"WHERE {' AND '.join(one.sql for one in every)}" if every else ""
    return f"SELECT {selected} FROM {source} {where}", [value for one in every for value in one.values]


def _order(table: RowTable, asked: CheckedSearch) -> str:
    if asked.is_by_score:
        return "_score DESC, _key ASC"
    direction = "DESC" if asked.query.descending else "ASC"
    nulls = (" NULLS LAST" if asked.query.descending else " NULLS FIRST") if table.on_postgres else ""
    return f"{f'_order {direction}{nulls}, ' if asked.query.order else ''}_key {direction}"


def _behind(table: RowTable, asked: CheckedSearch) -> Condition | None:
    """What comes after the cursor's place. Absent values come first, last when descending."""
    if asked.after is None:
        return None
    mark, (anchor, key) = table.mark, asked.after
    if asked.is_by_score:
        return Condition(f"(_score < {mark} OR (_score = {mark} AND _key > {mark}))", [anchor, anchor, key])
    beyond = "<" if asked.query.descending else ">"
    if asked.query.order is None:
        return Condition(f"_key {beyond} {mark}", [key])
    if anchor is None:
        others = "" if asked.query.descending else " OR _order IS NOT NULL"
        return Condition(f"((_order IS NULL AND _key {beyond} {mark}){others})", [key])
    value = table.value_to_driver(asked.query.order.type, anchor)
    others = " OR _order IS NULL" if asked.query.descending else ""
    further = f"(_order {beyond} {mark} OR (_order = {mark} AND _key {beyond} {mark}){others})"
    return Condition(further, [value, value, key])


def _facet(table: RowTable, place: int) -> str:
    name = f"_facet{place}"
    counted = (
        f"SELECT {name} AS v, count(*) AS n FROM matched WHERE {name} IS NOT NULL"
        f" GROUP BY {name} ORDER BY n DESC, v LIMIT {FACET_VALUES_MAX}"
    )
    pairs = "json_agg(json_build_array(v, n))::text" if table.on_postgres else "json_group_array(json_array(v, n))"
    return f"(SELECT {pairs} FROM ({counted}) s)"


def _counted(column: Column, counts: str | None) -> dict[str, int]:
    pairs = [(facet_text(_value(column, value)), count) for value, count in msgspec.json.decode(counts or "[]")]
    return dict(sorted(pairs, key=lambda pair: (-pair[1], pair[0])))


def _value(column: Column, value: Any) -> Any:
    """As the row has it, of what JSON made of the column."""
    if column.type == "truth":
        return bool(value)
    if column.type == "time":
        return moment(value) if isinstance(value, int) else datetime.fromisoformat(value).astimezone(UTC)
    return value
