"""A password that is wrong is said to be wrong: which neighbour, which setting, in one line, by everybody who needs it."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from urllib.parse import urlsplit

import msgspec
import psycopg
import pytest
import redis

from tests.chaos.rooms import ROOT, Room, wait_until
from tests.environment import environment_of
from tests.servers import Servers
from tests.servers.namespace import clean
from tests.servers.postgres import Postgres, libpq
from tests.servers.redis import Redis
from tests.servers.server import free_port
from twofold.settings import Settings

SECONDS_MAX = 60.0
ROOMS = ("gateway", "workers", "readmodels", "processes", "monitoring")


def with_password(url: str, password: str, user: str = "") -> str:
    parts = urlsplit(url)
    return parts._replace(netloc=f"{user or parts.username or ''}:{password}@{parts.hostname}:{parts.port}").geturl()


def guarded(server: Postgres) -> str:
    """Its URL as somebody who needs a password, `right`, and may do everything."""
    with psycopg.connect(libpq(server.url), autocommit=True) as connection:
        connection.execute("CREATE ROLE app LOGIN SUPERUSER PASSWORD 'right'")
        rules = server.folder / "data" / "pg_hba.conf"
        rules.write_text("host all app 127.0.0.1/32 scram-sha-256\n" + rules.read_text())
        connection.execute("SELECT pg_reload_conf()")
    return with_password(server.url, "right", "app")


class Guarded:
    """Servers that want passwords, and the settings that have them."""

    def __init__(self, postgres: Postgres, store: Redis, broker_url: str, unique: str) -> None:
        self.postgres, self.store = postgres, store
        with redis.Redis.from_url(store.url) as client:
            client.config_set("requirepass", "right")
        self.settings = Settings(
            database_url=guarded(postgres),
            broker_url=broker_url,
            redis_url=with_password(store.url, "right"),
            namespace=unique,
            host="127.0.0.1",
            port=free_port(),
            metrics_port=free_port(),
        )

    def without(self, field: str, password: str = "wrong") -> Settings:
        return msgspec.structs.replace(self.settings, **{field: with_password(getattr(self.settings, field), password)})


@pytest.fixture(scope="module")
def house(servers: Servers) -> Iterator[Guarded]:
    with servers.private_postgres() as postgres, servers.private_redis() as store:
        house = Guarded(postgres, store, servers.broker_url, "passwords")
        assert twofold(house.settings, "migrate").returncode == 0
        yield house
        clean(servers.broker_url, "", "passwords")


def twofold(settings: Settings, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {"PATH": "", "COLUMNS": "300", **environment_of(settings)}
    command = [sys.executable, "-m", "twofold", *arguments]
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=SECONDS_MAX, check=False)


@pytest.mark.parametrize(
    ("field", "neighbour", "who"),
    [
        ("database_url", "log", (*ROOMS, "migrate")),
        ("broker_url", "broker", ROOMS),
        ("redis_url", "redis", ("gateway", "readmodels", "monitoring", "migrate")),
        ("read_database_url", "rows", ("gateway", "readmodels", "processes", "monitoring", "migrate")),
    ],
)
def test_whoever_starts_with_a_wrong_password_is_told_so_in_one_line(
    house: Guarded, field: str, neighbour: str, who: tuple[str, ...]
) -> None:
    """It is no outage that passes: waiting for it would hide it."""
    settings = msgspec.structs.replace(house.settings, read_database_url=house.settings.database_url)
    settings = msgspec.structs.replace(settings, **{field: with_password(getattr(settings, field), "wrong")})
    with ThreadPoolExecutor(2) as threads:
        ended = dict(zip(who, threads.map(lambda room: twofold(settings, room), who), strict=True))
    for room, process in ended.items():
        assert process.returncode == 1, (room, process)
        line = process.stderr.splitlines()[-1]
        assert line.startswith(f"twofold: {neighbour}: wrong password (TWOFOLD_{field.upper()}"), (room, process.stderr)
        assert "Traceback" not in process.stderr and "wrong@" not in process.stderr, (room, process.stderr)
    said = twofold(settings, "doctor").stdout
    assert f"{neighbour}: wrong password (TWOFOLD_{field.upper()}" in said


def test_no_password_where_one_is_wanted_is_told_so_too(house: Guarded) -> None:
    for field in ("database_url", "redis_url"):
        url = getattr(house.settings, field)
        bare = url.replace(":right@", "@") if field == "database_url" else url.replace(":right@", "")
        ended = twofold(msgspec.structs.replace(house.settings, **{field: bare}), "gateway")
        assert (ended.returncode, f"wrong password (TWOFOLD_{field.upper()}" in ended.stderr) == (1, True), ended.stderr


@pytest.mark.parametrize("name", ["workers", "processes"])
def test_a_room_does_not_ask_for_the_password_of_what_it_does_not_need(house: Guarded, tmp_path: Path, name: str) -> None:
    """A worker decides without Redis, and instances of processes are not there either."""
    room = Room(name, [name], environment_of(house.without("redis_url")), tmp_path)
    room.start()
    try:
        wait_until("it holds its share", lambda: "holds" in room.tail(), SECONDS_MAX, room.tail)
    finally:
        room.stop()


def test_a_password_that_becomes_wrong_is_told_and_waited_for(house: Guarded, tmp_path: Path) -> None:
    """Passwords are changed while rooms run: one that has the old one says so, and goes on when it is right again."""
    with ExitStack() as stack:
        room = Room("readmodels", ["readmodels"], environment_of(house.settings), tmp_path)
        stack.callback(room.stop)
        room.start()
        wait_until("it holds its slices", lambda: "holds" in room.tail(), SECONDS_MAX, room.tail)
        admin = stack.enter_context(psycopg.connect(libpq(house.postgres.url), autocommit=True))
        admin.execute("ALTER ROLE app PASSWORD 'new'")
        admin.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'app'")
        wait_until("it is told", lambda: "wrong password (TWOFOLD_DATABASE_URL" in room.log.read_text(), SECONDS_MAX, room.tail)
        admin.execute("ALTER ROLE app PASSWORD 'right'")
        with redis.Redis.from_url(house.settings.redis_url) as client:
            client.config_set("requirepass", "new")
            client.client_kill_filter(_type="normal")
        wait_until("that, too", lambda: "wrong password (TWOFOLD_REDIS_URL" in room.log.read_text(), SECONDS_MAX, room.tail)
        with redis.Redis.from_url(with_password(house.store.url, "new")) as client:
            client.config_set("requirepass", "right")
        assert room.is_alive(), room.tail()
