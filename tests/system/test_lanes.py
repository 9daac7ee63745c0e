"""`twofold lanes`, as it is typed: how many there are, what is refused, and an installation of the release before."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import msgspec
import pika
import psycopg
import pytest

from tests.chaos.rooms import ROOT, Room
from tests.contract.buses import NOW, RabbitBus, until
from tests.named import id_of
from tests.servers.namespace import clean
from tests.servers.postgres import libpq
from tests.servers.server import free_port
from twofold.bus.rabbitmq.topology import lane_depths, queues
from twofold.client import Gateway
from twofold.kernel.envelope import Envelope, encode_batch
from twofold.kernel.lanes import Epoch

SECONDS_MAX = 60.0


def twofold(environment: dict[str, str], *arguments: str) -> tuple[int, str]:
    """Status and everything it said."""
    command = [sys.executable, "-m", "twofold", *arguments]
    done = subprocess.run(
        command, cwd=ROOT, env={"PATH": "", **environment}, timeout=SECONDS_MAX, check=False, capture_output=True
    )
    return done.returncode, (done.stdout + done.stderr).decode()


def test_embedded_lanes_change_while_nothing_runs(tmp_path: Path) -> None:
    """The folder belongs to `up` while it runs: then it is refused in one line, and nothing is changed."""
    environment = {"TWOFOLD_DATA": str(tmp_path / "data"), "TWOFOLD_PORT": str(free_port()), "TWOFOLD_DOMAIN": "examples.counter"}
    status, said = twofold(environment, "lanes", "3")
    assert status == 1 and "twofold migrate" in said
    assert twofold(environment, "migrate")[0] == 0
    assert twofold(environment, "lanes")[1].startswith("2 lanes, epoch 0\n")
    assert twofold(environment, "lanes", "3") == (0, "3 lanes, epoch 0\n")
    status, said = twofold(environment | {"TWOFOLD_LANES": "2"}, "up")
    assert status == 1 and said == ("twofold: TWOFOLD_LANES=2: this log has 3 lanes; unset it, or run `twofold lanes 2`\n")
    room = Room("up", ["up"], environment, tmp_path, int(environment["TWOFOLD_PORT"]))
    room.start()
    try:
        room.wait_ready()
        status, said = twofold(environment, "lanes", "4")
        assert (status, said.count("\n")) == (1, 1) and "stop it" in said
    finally:
        room.stop()
    assert twofold(environment, "lanes")[1].startswith("3 lanes, epoch 0\n")


@pytest.fixture
def served(postgres_url: str, broker_url: str, unique: str) -> Iterator[dict[str, str]]:
    yield {
        "TWOFOLD_DOMAIN": "examples.counter",
        "TWOFOLD_DATABASE_URL": postgres_url,
        "TWOFOLD_BROKER_URL": broker_url,
        "TWOFOLD_NAMESPACE": unique,
        "TWOFOLD_METRICS_PORT": str(free_port()),
    }
    with pika.BlockingConnection(pika.URLParameters(broker_url)) as connection:
        for queue in queues(unique, Epoch(1, 2).lanes):
            connection.channel().queue_delete(queue)
    clean(broker_url, "", unique, 4)


def test_what_waits_in_the_lanes_of_the_release_before_is_decided(
    served: dict[str, str], broker_url: str, postgres_url: str, unique: str, tmp_path: Path
) -> None:
    """It had queues without an exchange; and it may have filled lanes beyond the number that `migrate` was told."""
    bus = RabbitBus(broker_url, unique)
    with psycopg.connect(libpq(postgres_url)) as connection, closing(connection):
        assert twofold(served | {"TWOFOLD_LANES": "3"}, "migrate")[0] == 0
        _declare_as_before(broker_url, unique, 4)
        for lane in range(4):
            bus.put_raw(lane, encode_batch([count(lane)]))
        with connection.transaction():
            connection.execute("INSERT INTO members (room, member, expires_at) VALUES ('gateway', 'of before', 'infinity')")
        status, said = twofold(served, "lanes", "2")
        assert (status, said.count("\n")) == (1, 1) and "upgrade them first" in said
        with connection.transaction():
            connection.execute("DELETE FROM members")
        workers = Room("workers", ["workers"], served, tmp_path)
        workers.start()
        try:
            status, said = twofold(served, "lanes", "2")
            assert status == 0 and said.endswith("2 lanes, epoch 1; the 3 of epoch 0 are drained\n"), said
            decided = _decided(connection, 4)
        finally:
            workers.stop()
    assert decided == {id_of(f"waits {lane}") for lane in range(4)}
    assert lane_depths(broker_url, unique, range(4)) == {"0": 0, "1": 0, "2": 0, "3": 0, "dead": 0}


def test_lanes_are_resized_over_http_and_doctor_and_members_show_how_far_it_is(served: dict[str, str], tmp_path: Path) -> None:
    """The same as `twofold lanes 2`; without workers nothing is drained, and whoever looks sees it wait."""
    port = free_port()
    environment = served | {"TWOFOLD_PORT": str(port), "COLUMNS": "300"}
    gateway = Gateway(f"http://127.0.0.1:{port}", patience_seconds=0.0)
    rooms = [Room(name, [name], environment, tmp_path, port if name == "gateway" else None) for name in ("gateway", "workers")]
    assert twofold(served | {"TWOFOLD_LANES": "3"}, "migrate")[0] == 0
    try:
        rooms[0].start()
        until(lambda: " gateway " in twofold(environment, "members")[1], "the gateway is alive", SECONDS_MAX)
        shown = gateway.call("PUT", "/lanes", {"count": 2})
        assert (shown["epoch"], shown["count"], shown["draining"]) == (1, 2, {"epoch": 0, "left": 3})
        assert set(shown["depths"]) == {"0", "1", "2"} and shown["queue_seconds"] == {"0": 0.0, "1": 0.0}
        assert "2 lanes, epoch 1; of epoch 0 0 of 3 lanes are drained" in twofold(environment, "doctor")[1]
        rooms[1].start()
        until(lambda: "draining" not in gateway.call("GET", "/lanes"), "the old lanes are drained", SECONDS_MAX)
        holds = [[], ["256", "257"]]
        until(lambda: [one["holds"] for one in gateway.call("GET", "/members")] == holds, "the new ones are held", SECONDS_MAX)
        assert "256, 257" in twofold(environment, "members")[1]
    finally:
        for room in rooms:
            room.stop()


def count(number: int) -> Envelope:
    data = msgspec.Raw(msgspec.json.encode({"counter_id": str(number), "by": 1}))
    return Envelope(id_of(f"waits {number}"), "Count", f"counter-{number}", data, "f" * 32, NOW)


def _declare_as_before(broker_url: str, namespace: str, count: int) -> None:
    with pika.BlockingConnection(pika.URLParameters(broker_url)) as connection:
        channel = connection.channel()
        for queue, arguments in queues(namespace, range(count)).items():
            channel.queue_declare(queue, durable=True, arguments=arguments)


def _decided(connection: psycopg.Connection[tuple[str]], count: int) -> set[str]:
    """The commands with an outcome, once there are so many, or after a while."""

    def outcomes() -> set[str]:
        connection.rollback()
        return {command_id for (command_id,) in connection.execute("SELECT command_id::text FROM inbox")}

    until(lambda: len(outcomes()) == count, "every command decided")
    return outcomes()
