"""Law 2: one technology, one room."""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterable

from tests.guards.house import FLOOR_OF, Source, imports, room_sources

SQL_ROOMS = {"database", "eventstore", "readmodels"}
HOME_OF = {
    "aiohttp": {"gateway", "client"},
    "dramatiq": {"bus"},
    "pika": {"bus"},
    "sqlalchemy": SQL_ROOMS,
    "alembic": SQL_ROOMS,
    "psycopg": SQL_ROOMS,
    "psycopg_pool": SQL_ROOMS,
    "sqlite3": SQL_ROOMS,
    "apsw": SQL_ROOMS,
    "redis": {"readmodels"},
    "prometheus_client": {"monitoring"},
    "typer": {"twofold"},
    "aiosmtplib": {"shop"},
    "uvloop": {"twofold", "gateway"},
}
KERNEL_KNOWS = {"msgspec", "twofold", *sys.stdlib_module_names}
STATEMENT = re.compile(
    r"\s*(SELECT\s.+\sFROM|INSERT\s+INTO|UPDATE\s.+\sSET|DELETE\s+FROM|(CREATE|ALTER|DROP)\s+TABLE)\s", re.DOTALL
)

DEFINITION = re.compile(r"\s*(CREATE|ALTER|DROP|TRUNCATE)\s+(TEMP\w*\s+|UNIQUE\s+)*(TABLE|INDEX|SCHEMA|TRIGGER|FUNCTION|VIEW)\b")


def violations(sources: Iterable[Source]) -> list[str]:
    found = []
    for source in sources:
        for line, module in imports(source):
            technology = module.split(".", 1)[0]
            is_at_home = source.room in HOME_OF.get(technology, {source.room})
            if not is_at_home or (source.room == "kernel" and technology not in KERNEL_KNOWS):
                found.append(f"{source.path}:{line} imports {technology}")
        if source.room not in SQL_ROOMS:
            found += [f"{source.path}:{line} holds SQL" for line in sql_lines(source)]
    return found


def table_makers(sources: Iterable[Source]) -> list[str]:
    """Places that make, change or drop tables outside the migrations: what runs day and night needs no right to."""
    return [
        f"{source.path}:{node.lineno} makes or drops something"
        for source in sources
        if not source.path.startswith("eventstore/migrations/")
        for node in ast.walk(source.tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and DEFINITION.match(node.value)
    ]


def sql_lines(source: Source) -> list[int]:
    constants = [node for node in ast.walk(source.tree) if isinstance(node, ast.Constant) and isinstance(node.value, str)]
    return [node.lineno for node in constants if STATEMENT.match(str(node.value))]


def test_one_technology_one_room() -> None:
    assert violations(room_sources()) == []


def test_the_log_is_defined_by_its_migrations_alone() -> None:
    """A role that may only read and write rows runs everything but `migrate` (tests/contract/test_eventstore_postgres.py)."""
    assert table_makers(source for source in room_sources() if source.room in ("database", "eventstore")) == []


def test_the_guard_sees_tables_made_on_the_way() -> None:
    planted = [
        Source("eventstore/a.py", "A = 'CREATE TABLE x (n int)'\nB = ' DROP INDEX y'\nC = 'created'\n"),
        Source("eventstore/migrations/versions/b.py", "A = 'CREATE TABLE x (n int)'\n"),
    ]
    assert table_makers(planted) == [f"eventstore/a.py:{line} makes or drops something" for line in (1, 2)]


def test_every_technology_has_a_room_that_uses_it() -> None:
    """A line in HOME_OF that nobody needs would make the law look stricter than it is."""
    used = {(module.split(".", 1)[0], source.room) for source in room_sources() for _, module in imports(source)}
    prescribed = {"aiohttp", "dramatiq", "pika", "sqlalchemy", "redis", "prometheus_client"}
    assert {technology for technology, _ in used if technology in prescribed} == prescribed
    assert {room for rooms in HOME_OF.values() for room in rooms} <= set(FLOOR_OF)


def test_the_guard_sees_a_technology_out_of_its_room() -> None:
    planted = [
        Source("workers/a.py", "import aiohttp.web\n"),
        Source("kernel/b.py", "from structlog import get_logger\n"),
        Source("gateway/c.py", "QUERY = '''\n  SELECT position\n  FROM events'''\n"),
        Source("twofold/d.py", "def late():\n    import pika\n"),
        Source("eventstore/e.py", "import psycopg\nQUERY = 'SELECT 1 FROM events'\n"),
        Source("gateway/f.py", "HINT = 'select a view from the list'\n"),
    ]
    assert violations(planted) == [
        "workers/a.py:1 imports aiohttp",
        "kernel/b.py:1 imports structlog",
        "gateway/c.py:1 holds SQL",
        "twofold/d.py:2 imports pika",
    ]
