"""What release 0.1.0 left is brought up to date by `migrate`, or by `up`, and goes on: nothing lost, nothing folded anew."""

from __future__ import annotations

import base64
import json
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest
import redis

from tests.chaos.rooms import Room, wait_until
from tests.environment import environment_of
from tests.guards.instance import running
from tests.servers.namespace import clean
from tests.servers.postgres import libpq
from tests.servers.server import free_port
from tests.system.test_changed_view import call
from twofold.settings import Settings

LEFT = Path(__file__).parent / "earlier"
DOMAIN = "tests.system.earlier"
VIEWS = ("tallies", "fast", "strong")
HEAD = 23
SECONDS_MAX = 60.0


def left_in_redis(url: str, namespace: str) -> None:
    client = redis.Redis.from_url(url)
    for key, kept in json.loads((LEFT / "redis.json").read_text()).items():
        name = key.replace("{earlier:", f"{{{namespace}:")
        if isinstance(kept, dict):
            client.hset(name, mapping={base64.b64decode(field): base64.b64decode(value) for field, value in kept.items()})
        else:
            client.zadd(name, {base64.b64decode(member): 0 for member in kept})
    client.close()


@contextmanager
def served(settings: Settings, folder: Path, port: int) -> Iterator[None]:
    environment = environment_of(settings) | {"TWOFOLD_PORT": str(port)}
    migrate = Room("migrate", ["migrate"], environment, folder)
    for _ in range(2):
        migrate.start()
        migrate.wait_done(SECONDS_MAX)
    rooms = [
        Room(name, [name], environment | {"TWOFOLD_METRICS_PORT": str(free_port())}, folder, port if name == "gateway" else None)
        for name in ("workers", "readmodels", "processes", "gateway")
    ]
    try:
        for room in rooms:
            room.start()
        rooms[-1].wait_ready()
        yield
    finally:
        for room in rooms:
            room.stop()


def test_a_served_installation_is_upgraded(
    postgres_url: str, broker_url: str, redis_url: str, unique: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    request.addfinalizer(lambda: clean(broker_url, redis_url, unique))
    settings = Settings(domain=DOMAIN, database_url=postgres_url, broker_url=broker_url, redis_url=redis_url, namespace=unique)
    with psycopg.connect(libpq(postgres_url)) as database:
        database.execute((LEFT / "postgres.sql").read_text().encode())
    left_in_redis(redis_url, unique)
    port = free_port()
    with served(settings, tmp_path, port):
        goes_on(port, "served")
    with psycopg.connect(libpq(postgres_url)) as database:
        builds = database.execute("SELECT view, generation, state FROM read.generations ORDER BY view").fetchall()
    assert builds == [("strong", 1, "live"), ("tallies", 1, "live")], "what was folded is used on"


def test_an_embedded_installation_is_upgraded(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    for name in ("log", "views"):
        with sqlite3.connect(tmp_path / "data" / f"{name}.db") as database:
            database.executescript((LEFT / f"{name}.sql").read_text())
        database.close()
    with running(tmp_path, "--domain", DOMAIN) as instance:
        goes_on(instance.port, "embedded")
        for view in VIEWS[:2]:
            rebuilt = instance.run(f"twofold rebuild {view}", TWOFOLD_DOMAIN=DOMAIN)
            assert rebuilt.returncode == 0, rebuilt.stderr


def goes_on(port: int, kind: str) -> None:
    """The rows are as they were left; commands asked again have their outcomes, new ones are folded onto the rows; every row is
    what its events say."""

    def row(view: str, token: str) -> Any:
        return call(port, "GET", f"/views/{view}/t0", None, {"Consistency-Token": token, "Prefer": "wait=20"})

    before: dict[str, list[dict[str, Any]]] = json.loads((LEFT / "rows.json").read_text())[kind]
    for view in VIEWS:
        assert call(port, "GET", f"/views/{view}") == (200, {"items": before[view], "next": None})
    waiting = {"Prefer": "wait=20"}
    again = {"tally_id": "t2", "by": 22, "colour": "blue"}
    status, known = call(port, "POST", "/commands/Count", again, waiting | {"Idempotency-Key": "key-22"})
    assert (status, known["status"], known["position"]) == (200, "succeeded", HEAD - 1)
    other = call(port, "POST", "/commands/Count", {**again, "by": 23}, {"Idempotency-Key": "key-22"})
    assert other[0] == 422
    [parked] = call(port, "GET", "/parked")[1]["commands"]
    assert parked["stream"] == "tally-bug"
    status, new = call(port, "POST", "/commands/Count", {"tally_id": "t0", "by": 7}, waiting)
    assert (status, new["position"], new["version"]) == (200, HEAD + 1, 5)
    for view in VIEWS:
        status, found = row(view, new["command_id"])
        assert (status, found["count"], found["steps"]) == (200, 57, [5, 10, 15, 20, 7])
        audit = call(port, "POST", f"/views/{view}/audit")
        assert audit == (200, {"checked": 5, "differences": [], "open": 0, "next": None, "parked": 0})

    def states() -> set[str]:
        return {told["state"] for told in call(port, "GET", "/lag")[1]["views"].values()}

    wait_until("live", lambda: states() == {"live"}, SECONDS_MAX)
