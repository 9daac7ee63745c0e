"""The private servers that fault tests hurt: they keep what they promised, come back at the same place, and leave nothing."""

from __future__ import annotations

from pathlib import Path

import pika
import psycopg
import pytest
import redis

from bench.__main__ import durability_of
from tests.servers import Servers
from tests.servers.postgres import DurablePostgres, Postgres, libpq
from tests.servers.server import descendants


def test_a_postgres_that_is_killed_and_started_again_still_has_its_rows(servers: Servers) -> None:
    with servers.private_postgres() as server:
        with psycopg.connect(libpq(server.url)) as connection:
            connection.execute("CREATE TABLE kept AS SELECT 7 AS number")
        with psycopg.connect(libpq(server.url)) as cut:
            server.kill()
            with pytest.raises(psycopg.OperationalError):
                cut.execute("SELECT 1")
        server.start()
        with psycopg.connect(libpq(server.url)) as connection:
            assert connection.execute("SELECT number FROM kept").fetchall() == [(7,)]


def test_what_is_measured_is_measured_with_commits_that_the_disk_has(monkeypatch: pytest.MonkeyPatch) -> None:
    """The tests' own server does without: no test is about the loss of a machine."""
    monkeypatch.delenv("TWOFOLD_TEST_POSTGRES_URL", raising=False)
    for kind, fsync in ((Postgres, "off"), (DurablePostgres, "on")):
        servers = Servers(kind)
        try:
            assert f", fsync {fsync}, synchronous_commit on" in durability_of(servers.postgres_url)
        finally:
            servers.close()


def test_a_redis_that_is_killed_and_started_again_still_has_its_keys(servers: Servers) -> None:
    with servers.private_redis() as server:
        redis.Redis.from_url(server.url).set("kept", "7")
        server.kill()
        server.start()
        assert redis.Redis.from_url(server.url).get("kept") == b"7"


def test_a_rabbitmq_keeps_a_confirmed_message_over_a_kill_and_over_a_restart_and_leaves_no_process(servers: Servers) -> None:
    with servers.private_rabbitmq() as server:
        with pika.BlockingConnection(pika.URLParameters(server.url)) as connection:
            channel = connection.channel()
            channel.confirm_delivery()
            channel.queue_declare("kept", durable=True, arguments={"x-queue-type": "quorum"})
            channel.basic_publish("", "kept", b"7", pika.BasicProperties(delivery_mode=2), mandatory=True)
        server.kill()
        server.start()
        server.restart()
        with pika.BlockingConnection(pika.URLParameters(server.url)) as connection:
            assert connection.channel().basic_get("kept", auto_ack=True)[2] == b"7"
        pids = [server.pid, *descendants(server.pid)]
        folder = server.folder
    assert not [pid for pid in pids if is_alive(pid)]
    assert not folder.exists()


def test_every_test_has_an_empty_database_of_its_own(postgres_url: str, unique: str) -> None:
    with psycopg.connect(libpq(postgres_url)) as connection:
        assert connection.execute("SELECT current_database()").fetchone() == (f"twofold_{unique}",)
        assert connection.execute("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'").fetchone() == (0,)


def is_alive(pid: int) -> bool:
    """A process that ended but was not yet reaped by its parent is not alive."""
    stat = Path(f"/proc/{pid}/stat")
    return stat.exists() and stat.read_text().rpartition(")")[2].split()[0] != "Z"
