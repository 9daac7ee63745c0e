"""The disk: ready only while it takes what is decided, and what is on it is its owner's alone. Whole processes, real servers."""

from __future__ import annotations

import http.client
import json
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg

from tests.chaos.rooms import Room, wait_until
from tests.environment import environment_of
from tests.servers.namespace import clean
from tests.servers.postgres import libpq
from tests.servers.server import free_port
from twofold.settings import Settings
from twofold.wiring import migrate

SECONDS_MAX = 30.0
FOUND = {"sku": "A", "quantity": 1, "reason": "found"}


def call(port: int, method: str, path: str, body: object = None, **headers: str) -> tuple[int, Any]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=SECONDS_MAX)
    connection.request(method, path, json.dumps(body) if body else None, {"Content-Type": "application/json", **headers})
    answer = connection.getresponse()
    status, text = answer.status, answer.read()
    connection.close()
    return status, json.loads(text)


def assert_follows_the_disk(port: int, fill: Any, free: Any, tail: Any) -> None:
    assert call(port, "POST", "/commands/AdjustStock", FOUND, Prefer="wait=10")[0] == 200
    fill()
    wait_until("it says so", lambda: call(port, "GET", "/readyz")[0] == 503, SECONDS_MAX, tail)
    assert call(port, "GET", "/readyz")[1]["detail"].startswith("log: ")
    assert call(port, "GET", "/livez")[0] == 200
    assert call(port, "GET", "/streams/stock-A")[0] == 200, "what is there can be read"
    free()
    wait_until("it is ready again", lambda: call(port, "GET", "/readyz")[0] == 200, SECONDS_MAX, tail)
    assert call(port, "POST", "/commands/AdjustStock", FOUND, Prefer="wait=10")[0] == 200


def test_up_on_a_full_disk_is_not_ready_until_there_is_room_again(tmp_path: Path) -> None:
    """The disk of its log lines, too, none of which may fail what it tells of."""
    settings = Settings(data=str(tmp_path / "data"), port=free_port())
    up = Room("up", ["up"], environment_of(settings), tmp_path, settings.port)
    try:
        up.start()
        up.wait_ready()
        limits = resource.prlimit(up.pid, resource.RLIMIT_FSIZE)
        assert_follows_the_disk(
            settings.port,
            fill=lambda: resource.prlimit(up.pid, resource.RLIMIT_FSIZE, (1, limits[1])),
            free=lambda: resource.prlimit(up.pid, resource.RLIMIT_FSIZE, limits),
            tail=up.tail,
        )
    finally:
        up.stop()


def test_embedded_data_is_for_its_owner_alone(tmp_path: Path) -> None:
    settings = Settings(data=str(tmp_path / "data"), port=free_port())
    up = Room("up", ["up"], environment_of(settings), tmp_path, settings.port)
    try:
        up.start()
        up.wait_ready()
        made = {path.name: oct(path.stat().st_mode & 0o777) for path in [tmp_path / "data", *(tmp_path / "data").iterdir()]}
    finally:
        up.stop()
    assert made.pop("data") == "0o700"
    assert {"log.db", "log.db-wal", "log.db.lock", "views.db", "views.db-wal"} <= set(made)
    assert set(made.values()) == {"0o600"}, made


@contextmanager
def served(settings: Settings, folder: Path) -> Iterator[Room]:
    migrate(settings)
    environment = environment_of(settings)
    rooms = {name: Room(name, [name], environment, folder) for name in ("workers", "readmodels")}
    rooms["gateway"] = Room("gateway", ["gateway"], environment, folder, settings.port)
    try:
        for room in rooms.values():
            room.start()
        rooms["gateway"].wait_ready()
        yield rooms["gateway"]
    finally:
        for room in rooms.values():
            room.stop()


def test_a_gateway_whose_log_only_reads_is_not_ready(postgres_url: str, broker_url: str, unique: str, tmp_path: Path) -> None:
    """What providers do to a server whose disk is full, and what a gateway finds at a replica that was not promoted."""
    settings = Settings(
        database_url=postgres_url, broker_url=broker_url, namespace=unique, port=free_port(), metrics_port=free_port()
    )

    def only_read(value: str) -> None:
        with psycopg.connect(libpq(postgres_url), autocommit=True) as connection:
            connection.execute("SET default_transaction_read_only = off")
            name = connection.info.dbname
            connection.execute(f'ALTER DATABASE "{name}" SET default_transaction_read_only = {value}')
            connection.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s AND pid <> pg_backend_pid()", (name,)
            )

    try:
        with served(settings, tmp_path) as gateway:
            assert_follows_the_disk(settings.port, lambda: only_read("on"), lambda: only_read("off"), gateway.tail)
    finally:
        clean(broker_url, "", unique)
