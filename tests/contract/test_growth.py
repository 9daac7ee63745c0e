"""A log that is written to for years: what an append touches does not grow with what lies behind it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from tests.contract.eventstores import PostgresPlace, place, placed
from tests.contract.test_eventstore_postgres import HOT
from tests.servers.postgres import libpq
from twofold.eventstore.postgres import sql

BATCHES = 20_000
BLOCKS_MAX = 30
"""That a statement on the head looks at, events and indexes included; with every version of the head's row it was 148 more."""
HEADS = ("take the head", "page of types")


@pytest.fixture
def where(request: pytest.FixtureRequest) -> Iterator[PostgresPlace]:
    with place("postgres", request) as opened:
        assert isinstance(opened, PostgresPlace)
        yield opened


def moved(connection: psycopg.Connection[Any], times: int) -> None:
    """The head takes as many steps, each one committed."""
    connection.execute(
        "CREATE PROCEDURE move_the_head() LANGUAGE plpgsql AS $$ BEGIN"
        f" FOR step IN 1..{times} LOOP UPDATE log_head SET position = position + 1 WHERE position >="
        " (SELECT position FROM log_head ORDER BY position DESC LIMIT 1); COMMIT; END LOOP; END $$"
    )
    connection.execute("SET enable_seqscan = off")
    connection.execute("CALL move_the_head()")


def blocks(connection: psycopg.Connection[Any], statement: str, values: Any) -> int:
    plan: Any = connection.execute("EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) " + statement, values).fetchone()
    return int(plan[0][0]["Plan"]["Shared Hit Blocks"]) + int(plan[0][0]["Plan"]["Shared Read Blocks"])


def test_a_reader_that_stays_for_long_costs_an_append_nothing(where: PostgresPlace) -> None:
    """A dump of an hour keeps every version of the head's row since it began; each append looked at all of them for its own."""
    store = where.open()
    store.append([placed("order-7", version=3, count=3)])
    with psycopg.connect(libpq(where.url)) as dump, psycopg.connect(libpq(where.url), autocommit=True) as connection:
        dump.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        dump.execute("SELECT 1 FROM log_head")
        moved(connection, BATCHES)
        [[pages]] = where.execute("SELECT pg_relation_size('log_head') / current_setting('block_size')::int")
        assert pages > BLOCKS_MAX, "the versions are all there"
        looked_at = {name: blocks(connection, *HOT[name]) for name in HEADS}
        looked_at["see the head"] = blocks(connection, sql.SEE_HEAD, {"fresh_ids": []})
        looked_at["head"] = blocks(connection, sql.HEAD, None)
        assert max(looked_at.values()) <= BLOCKS_MAX, looked_at
    assert store.append([placed("order-8")]).head > BATCHES


def test_a_log_has_one_head(where: PostgresPlace) -> None:
    for statement in ("INSERT INTO log_head SELECT * FROM log_head", "DELETE FROM log_head", "TRUNCATE log_head"):
        with pytest.raises(psycopg.Error, match="the log has one head"):
            where.execute(statement)
