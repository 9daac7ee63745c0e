"""What a page costs in every store, whatever is asked: it is read from an index, not found by a scan, nor by sorting everything.

Asked of the databases themselves, on tables that they have statistics about: of PostgreSQL how many rows each step of a plan
passed, of SQLite how many steps its machine made, of Redis how many commands a question became.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

import msgspec
import pytest
import redis
from sqlalchemy import Engine

from tests.contract.viewstores import Counted, counted_keys, rows_url  # noqa: F401
from tests.servers import Servers
from twofold.database.session import EngineSession
from twofold.kernel.ports import ViewStore
from twofold.kernel.rows import Advance, Query, Range, Row, RowPage
from twofold.kernel.view import AnyView, SliceId, View
from twofold.readmodels.schema.query import CheckedQuery, checked_query
from twofold.readmodels.stores.redis import RedisViewStore
from twofold.readmodels.stores.redis import store as redis_store
from twofold.readmodels.stores.sql import SqlViewStore, connect
from twofold.readmodels.stores.sql.find import SORTED_ROWS_MAX, find, find_statement
from twofold.readmodels.stores.sql.rows import RowTable, row_table

ROWS_COUNT = 30_000
REDIS_ROWS_COUNT = 15_000
LIMIT = 9
NOON = datetime(2010, 12, 1, 12, tzinfo=UTC)
STATUSES = ("placed", "placed", "placed", "shipped", "shipped", "returned")
ROWS_LOOKED_AT_MAX = 2 * SORTED_ROWS_MAX
"""Of 30,000, at any step of a plan."""
STEPS_MAX = 60_000
"""Of SQLite's machine: counting and sorting as much as it may takes some 40,000, looking at every row 300,000 and more."""
STEPS_OF_A_PAGE = 2_000
"""Where what is asked for stands together in an index."""
BATCHES_MAX = 10
"""Of 200 members each."""
COMMANDS_MAX = 40


class Sale(msgspec.Struct, frozen=True):
    name: str
    customer: str
    status: str
    country: str
    placed_at: datetime
    total: int
    shipped_at: datetime | None


SALES: AnyView = View(
    name="sales",
    key="name",
    row=Sale,
    on=(Counted,),
    keys=counted_keys,
    evolve=lambda row, event, about: row,
    indexes=("customer", "status", "country"),
    orders=("placed_at", "total", "shipped_at"),
    compounds=(("status", "country", "placed_at"), ("country", "total", "placed_at")),
)


def sale(number: int) -> Sale:
    """Spread by multiplying with primes: no field follows another."""
    return Sale(
        f"k{number:05}",
        f"c{number * 7919 % 3_000}",
        STATUSES[number * 104_729 % 1_009 % 6],
        f"country {number * 15_485_863 % 997 % 30}",
        NOON + timedelta(minutes=number * 611_953 % ROWS_COUNT // 3),
        number * 32_452_843 % 10_007,
        None if number % 2 else NOON + timedelta(minutes=number),
    )


ROWS = {row.name: Row(row.name, row, 1) for row in map(sale, range(ROWS_COUNT))}


class Asked(NamedTuple):
    """`is_together`: what it asks for stands together in one index. `is_in_order`: no row is sorted for it at all."""

    query: Query
    is_together: bool = False
    is_in_order: bool = True


def since(hours: int, until: int | None = None) -> Range:
    return Range("placed_at", NOON + timedelta(hours=hours), None if until is None else NOON + timedelta(hours=until))


PLACED, SPAIN, ADA = ("status", "placed"), ("country", "country 7"), ("customer", "c2718")
QUESTIONS = {
    "everything": Asked(Query(), True),
    "one index": Asked(Query((PLACED,)), True),
    "two indexes": Asked(Query((PLACED, SPAIN)), False, False),
    "two indexes, one of them of few rows": Asked(Query((PLACED, ADA)), True, False),
    "a range": Asked(Query((), (since(20, 90),)), True),
    "a range of the key": Asked(Query((), (Range("key", "k01", "k02"),)), True),
    "an index and a range of the key": Asked(Query((PLACED,), (Range("key", "k01", "k02"),)), True),
    "a range without an end": Asked(Query((), (Range("shipped_at", NOON + timedelta(days=3)),)), True),
    "an index and a range": Asked(Query((PLACED,), (since(20, 90),))),
    "an index of few rows and a range": Asked(Query((ADA,), (since(20),)), True, False),
    "an index and an order": Asked(Query((PLACED,), (), "total")),
    "an index of few rows and an order": Asked(Query((ADA,), (), "total"), True, False),
    "an order": Asked(Query((), (), "total"), True),
    "an order with absent values": Asked(Query((), (), "shipped_at"), True),
    "a compound": Asked(Query((PLACED, SPAIN), (), "placed_at"), True),
    "a compound and a range": Asked(Query((SPAIN, PLACED), (since(20, 90),)), True),
    "a compound and a range in another order": Asked(Query((SPAIN,), (since(20),), "total"), True),
}


@pytest.fixture(scope="module", params=["sqlite", "postgres"])
def engine(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    if request.param == "sqlite":
        url = f"sqlite:///{tmp_path_factory.mktemp('plans') / 'views.db'}"
    else:
        url = request.getfixturevalue("rows_url")
    opened = connect(url, 2)
    store = SqlViewStore(opened)
    generation = store.make(SALES, 1)
    fill(store, generation.slice_ids()[0])
    if request.param == "postgres":
        with opened.begin() as connection:
            connection.exec_driver_sql(f"ANALYZE {table_of(opened).table}")
    yield opened
    opened.dispose()


def fill(store: ViewStore, slice_id: SliceId, rows_count: int = ROWS_COUNT) -> None:
    """A thousand at a time, as a projector does: a transaction is not to take long."""
    names = list(ROWS)
    for begin in range(0, rows_count, 1_000):
        some = {name: ROWS[name] for name in names[begin : begin + 1_000]}
        assert store.commit([Advance(slice_id, begin, begin + 1_000, some)])


def table_of(engine: Engine) -> RowTable:
    generation = SqlViewStore(engine).attach(SALES)
    return row_table(SALES, generation, engine.dialect)


def pages_of(engine: Engine, table: RowTable, name: str, descending: bool) -> Iterator[CheckedQuery]:
    """The first page, and one from the middle of the answer."""
    query = msgspec.structs.replace(QUESTIONS[name].query, descending=descending, limit=1_000)
    with engine.connect() as connection:
        much = checked_query(SALES, table.columns, query)
        rows = find(EngineSession(connection), table, much).rows
    assert rows
    cursor = much.cursor(rows[len(rows) // 2])
    for one in (None, cursor):
        yield checked_query(SALES, table.columns, msgspec.structs.replace(query, limit=LIMIT, cursor=one))


@pytest.mark.parametrize("descending", [False, True], ids=["ascending", "descending"])
@pytest.mark.parametrize("name", QUESTIONS)
def test_a_page_reads_an_index_and_no_more_of_it_than_it_must(engine: Engine, name: str, descending: bool) -> None:
    """A scan is fast only until there are rows; so is a sort."""
    table = table_of(engine)
    asked = QUESTIONS[name]
    for query in pages_of(engine, table, name, descending):
        if engine.dialect.name == "postgresql":
            steps = list(plan_of(engine, table, query))
            told = msgspec.json.format(msgspec.json.encode(steps)).decode()
            assert not [step for step in steps if step["Node Type"] == "Seq Scan" and is_of_rows(step)], told
            assert [step for step in steps if "Index" in step["Node Type"]], told
            assert steps[0]["Actual Rows"] <= LIMIT + 1, "one more tells whether there is a next page"
            most = 4 * LIMIT if asked.is_together and asked.is_in_order else ROWS_LOOKED_AT_MAX
            assert max(passed(step) for step in steps) <= most, told
            sorted_counts = [passed(step["Plans"][0]) for step in steps if "Sort" in step["Node Type"]]
            assert max(sorted_counts) <= (2 * (LIMIT + 1) if asked.is_in_order else SORTED_ROWS_MAX), told
        else:
            plan, steps_count = worked(engine, table, query)
            assert not any(line.startswith("SCAN sales__g1") and "INDEX" not in line for line in plan), plan
            assert any("sales__g1 USING" in line and "INDEX" in line for line in plan), plan
            assert steps_count <= (STEPS_OF_A_PAGE if asked.is_together and asked.is_in_order else STEPS_MAX), (steps_count, plan)


def plan_of(engine: Engine, table: RowTable, query: CheckedQuery) -> Iterator[dict[str, Any]]:
    """Every step of the plan, as it was run."""
    sql, values = find_statement(table, query)
    with engine.connect() as connection:
        [[[explained]]] = connection.exec_driver_sql(f"EXPLAIN (ANALYZE, FORMAT JSON) {sql}", tuple(values)).fetchall()
    left = [explained["Plan"]]
    while left:
        step = left.pop()
        left += step.get("Plans", [])
        yield step


def is_of_rows(step: dict[str, Any]) -> bool:
    return bool(step.get("Relation Name") == "sales__g1")


def passed(step: dict[str, Any]) -> int:
    """Rows that a step took up, whether it let them through or not."""
    removed = sum(count for name, count in step.items() if name.startswith("Rows Removed by"))
    return int((step["Actual Rows"] + removed) * step["Actual Loops"])


def worked(engine: Engine, table: RowTable, query: CheckedQuery) -> tuple[list[str], int]:
    """Of a whole answer: the plans of its statements, and the steps of SQLite's machine, counted in hundreds."""
    ran: list[str] = []
    hundreds = 0

    def count() -> None:
        nonlocal hundreds
        hundreds += 1

    with engine.connect() as connection:
        raw: Any = connection.connection.driver_connection
        raw.set_progress_handler(count, 100)
        raw.set_trace_callback(ran.append)
        find(EngineSession(connection), table, query)
        raw.set_trace_callback(None)
        raw.set_progress_handler(None, 0)
        plan = [str(line[-1]) for sql in ran if sql.startswith("SELECT") for line in raw.execute(f"EXPLAIN QUERY PLAN {sql}")]
    return plan, hundreds * 100


@pytest.fixture(scope="module")
def in_redis(servers: Servers) -> Iterator[tuple[Any, RedisViewStore]]:
    client = redis.Redis.from_url(servers.redis_url)
    prefix = f"plans-{uuid.uuid4().hex[:12]}"
    store = RedisViewStore(client, prefix)
    [slice_id] = store.make(SALES, 1).slice_ids()
    fill(store, slice_id, REDIS_ROWS_COUNT)
    yield client, store
    client.delete(*client.scan_iter(f"{{{prefix}:*", count=1_000))
    client.close()


def test_redis_looks_at_so_many_members_for_a_page_and_no_more(in_redis: tuple[Any, RedisViewStore]) -> None:
    """It does nothing else meanwhile. An index and an order, or two indexes, are one range of members that stand together."""
    client, store = in_redis
    for name, asked in QUESTIONS.items():
        for descending in (False, True):
            query = msgspec.structs.replace(asked.query, descending=descending, limit=LIMIT)
            for cursor in (None, store.find("sales", query).next):
                page, ran = commands(client, store, msgspec.structs.replace(query, cursor=cursor))
                assert page.rows and sum(ran.values()) <= COMMANDS_MAX, (name, ran)
                ranges_count = ran.get("zrangebylex", 0) + ran.get("zrevrangebylex", 0)
                assert ranges_count <= (BATCHES_MAX if "in another order" in name else 1), (name, ran)


def test_a_page_that_ends_early_in_redis_goes_on_with_the_next(
    in_redis: tuple[Any, RedisViewStore], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of the rows of a country all are looked at for their status, so many for each page; none is missed."""
    monkeypatch.setattr(redis_store, "TOUCHED_MEMBERS_MAX", 100)
    client, store = in_redis
    query = Query((SPAIN, ("status", "returned")), order="shipped_at", limit=50)
    found: list[str] = []
    pages_count = 1
    while True:
        page, ran = commands(client, store, query)
        assert ran["zrangebylex"] == 1 and len(page.rows) < query.limit, "one batch; a sixth of it are answers"
        found += [row.key for row in page.rows]
        if page.next is None:
            break
        query = msgspec.structs.replace(query, cursor=page.next)
        pages_count += 1
    mine = [sale(number) for number in range(REDIS_ROWS_COUNT)]
    wanted = [row for row in mine if (row.country, row.status) == (SPAIN[1], "returned")]
    wanted.sort(key=lambda row: (row.shipped_at is not None, row.shipped_at or NOON, row.name))
    assert found == [row.name for row in wanted] and pages_count > 4


def commands(client: Any, store: RedisViewStore, query: Query) -> tuple[RowPage, dict[str, int]]:
    """The page, and how often each command ran for it, those of scripts included."""
    client.config_resetstat()
    page = store.find("sales", query)
    stats = client.info("commandstats")
    return page, {name.removeprefix("cmdstat_"): one["calls"] for name, one in stats.items() if "info" not in name}
