"""Every hot read of the SQL view store finds its rows through an index: a scan is fast only until there are rows."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from sqlalchemy import Engine

from tests.contract.viewstores import EVERYTHING, Everything
from twofold.kernel.rows import Advance, Query, Range, Row
from twofold.readmodels.schema.query import checked_query
from twofold.readmodels.stores.sql import SqlViewStore, connect
from twofold.readmodels.stores.sql.find import count_statement, find_statement
from twofold.readmodels.stores.sql.rows import RowTable, row_table

ROWS = {f"k{number}": Row(f"k{number}", Everything(f"k{number}", number, colour=f"c{number}"), 1) for number in range(5_000)}
CURSOR_LIMIT = 9


@pytest.fixture(params=["sqlite", "postgres"])
def engine(request: pytest.FixtureRequest) -> Iterator[Engine]:
    folder = request.getfixturevalue("tmp_path")
    url = request.getfixturevalue("postgres_url") if request.param == "postgres" else f"sqlite:///{folder / 'views.db'}"
    opened = connect(url, 2)
    yield opened
    opened.dispose()


def hot_reads(store: SqlViewStore, table: RowTable) -> Iterator[tuple[str, tuple[Any, ...]]]:
    yield table._load, (table.keys(["k1", "k2"]),)
    yield table._get, ('[["k1", 0], ["k2", 0]]',)
    orders = [
        Query(limit=CURSOR_LIMIT),
        *(Query(order="count", descending=turned, limit=CURSOR_LIMIT) for turned in (False, True)),
    ]
    further = [Query(order=one.order, descending=one.descending, cursor=store.find("everything", one).next) for one in orders]
    for query in (Query(where=(("colour", "c7"),)), *orders, *further):
        sql, values = find_statement(table, checked_query(EVERYTHING, table.columns, query))
        yield sql, tuple(values)
    for query in (Query(where=(("colour", "c7"),)), Query(ranges=(Range("count", 100, None),), order="count")):
        sql, values = count_statement(table, checked_query(EVERYTHING, table.columns, query), CURSOR_LIMIT)
        yield sql, tuple(values)


def test_every_hot_read_uses_an_index(engine: Engine) -> None:
    """The plan is asked of the database itself, on a table it has statistics about."""
    store = SqlViewStore(engine)
    generation = store.make(EVERYTHING, 1)
    store.commit([Advance(generation.slice_ids()[0], 0, 1, ROWS)])
    table = row_table(EVERYTHING, generation, engine.dialect)
    on_postgres = engine.dialect.name == "postgresql"
    with engine.connect() as connection:
        if on_postgres:
            connection.exec_driver_sql(f"ANALYZE {table.table}")
        for sql, values in hot_reads(store, table):
            explained = connection.exec_driver_sql(f"EXPLAIN {'' if on_postgres else 'QUERY PLAN'} {sql}", values)
            plan = "\n".join(str(line[-1]) for line in explained)
            assert "everything__g1" in plan, plan
            assert "Seq Scan on everything__g1" not in plan, plan
            assert not any("SCAN everything__g1" in line and "INDEX" not in line for line in plan.splitlines()), plan
