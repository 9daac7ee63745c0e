"""Several gateways behind the proxy, as clients see them: one address, whatever HTTP does, and one that is killed is not missed.

Whole processes, real servers.
"""

from __future__ import annotations

import http.client
import json
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.chaos.rooms import ROOT, Room, wait_until
from tests.environment import environment_of
from tests.servers.namespace import clean
from tests.servers.server import free_port
from twofold.settings import Settings

SECONDS_MAX = 30.0
REQUESTS = 60
NAME = "orders.example"
BULK_BYTES_MAX = 4 * 1024 * 1024


class Site:
    """Two gateways, a worker and a projector; and the proxy, which is all that clients know of."""

    def __init__(self, settings: Settings, folder: Path) -> None:
        environment = environment_of(settings)
        ports = [free_port(), free_port()]
        self.gateways = [
            Room(f"gateway-{number}", ["gateway"], environment | {"TWOFOLD_PORT": str(port)}, folder, port)
            for number, port in enumerate(ports)
        ]
        others = [Room(room, [room], environment, folder) for room in ("workers", "readmodels")]
        self.port = free_port()
        behind = ",".join(f"127.0.0.1:{port}" for port in ports)
        self.proxy = Room("proxy", ["proxy", behind], {"TWOFOLD_PORT": str(self.port)}, folder, self.port)
        self.rooms = [*others, *self.gateways, self.proxy]

    def call(self, method: str, path: str, body: Any = None, **headers: str) -> tuple[int, dict[str, Any]]:
        """One request on a connection of its own. Raises OSError or HTTPException when it is not answered."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=SECONDS_MAX)
        try:
            named = {name.replace("_", "-"): value for name, value in headers.items()}
            text = body if body is None or isinstance(body, str) else json.dumps(body)
            connection.request(method, path, text, {"Content-Type": "application/json", **named})
            answer = connection.getresponse()
            return answer.status, json.loads(answer.read())
        finally:
            connection.close()

    def count(self, counter: str, by: int = 1, **headers: str) -> tuple[int, dict[str, Any]]:
        return self.call("POST", "/commands/Count", {"counter_id": counter, "by": by}, **headers)


@pytest.fixture(scope="module")
def site(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    servers, unique = request.getfixturevalue("servers"), "t" + uuid.uuid4().hex[:12]
    with ExitStack() as stack:
        settings = Settings(
            domain="examples.counter",
            database_url=stack.enter_context(servers.database(f"twofold_{unique}")),
            broker_url=servers.broker_url,
            namespace=unique,
            metrics_port=free_port(),
            allowed_hosts=NAME,
        )
        environment = {"PATH": "", **environment_of(settings)}
        subprocess.run([sys.executable, "-m", "twofold", "migrate"], cwd=ROOT, env=environment, timeout=SECONDS_MAX, check=True)
        stack.callback(clean, settings.broker_url, "", unique)
        site = Site(settings, tmp_path_factory.mktemp("site"))
        for room in reversed(site.rooms):
            stack.callback(room.stop)
        for room in site.rooms:
            room.start()
        for room in (*site.gateways, site.proxy):
            room.wait_ready()
        yield site


def test_a_large_body_a_long_poll_and_a_token_go_through(site: Site) -> None:
    """The token is told to one gateway and asked of another as often as not."""
    items = [{"type": "Count", "data": {"counter_id": f"bulk-{number}"}} for number in range(1_000)]
    status, accepted = site.call("POST", "/commands", json.dumps(items).ljust(BULK_BYTES_MAX))
    assert status == 202 and len(accepted["accepted"]) == len(items)
    status, decided = site.count("polled", Prefer="wait=20")
    assert (status, decided["status"]) == (200, "succeeded")
    for _ in range(6):
        status, row = site.call("GET", "/views/counters/polled", Consistency_Token=decided["command_id"], Prefer="wait=20")
        assert (status, row["count"]) == (200, 1)


def test_a_long_poll_is_held_until_there_is_something_to_say(site: Site) -> None:
    start = time.monotonic()
    status, problem = site.call("GET", "/views/counters/polled", Consistency_Token="1000000", Prefer="wait=3")
    assert status == 503 and problem["type"] == "/problems/view-behind"
    assert 2.5 < time.monotonic() - start < 10


def test_an_event_stream_flows_as_it_comes(site: Site) -> None:
    site.count("watched", Prefer="wait=20")
    stream = http.client.HTTPConnection("127.0.0.1", site.port, timeout=SECONDS_MAX)
    stream.request("GET", "/views/counters/watched", headers={"Accept": "text/event-stream"})
    answer = stream.getresponse()
    seen: list[int] = []

    def read() -> None:
        while (not seen or seen[-1] < 4) and (line := answer.readline()):
            if (
                line.startswith(b"data: ") and (count := json.loads(line[6:]).get("count")) is not None
            ):  # gone, before it is there
                seen.append(count)

    reading = threading.Thread(target=read)
    reading.start()
    wait_until("the row now", lambda: bool(seen), SECONDS_MAX)
    for _ in range(3):
        before = len(seen)
        site.count("watched", Prefer="wait=20")
        wait_until("its change", lambda before=before: len(seen) > before, SECONDS_MAX)  # type: ignore[misc]
    reading.join(SECONDS_MAX)
    assert seen == sorted(seen) and seen[-1] == 4
    stream.close()


def test_host_names_are_judged_by_the_gateways(site: Site) -> None:
    assert site.call("GET", "/lag", Host=NAME)[0] == 200
    status, problem = site.call("GET", "/lag", Host="evil.example")
    assert (status, problem["type"]) == (421, "/problems/unknown-host")


def test_a_gateway_that_is_killed_costs_what_it_was_doing_and_nothing_more(site: Site) -> None:
    """Whoever comes after that is served by the other, at once; and by both when it is back."""
    dead, alive = site.gateways
    dead.kill()
    answers = [site.count("killed", Idempotency_Key=f"K{number}")[0] for number in range(REQUESTS)]
    assert answers == [202] * REQUESTS
    dead.start()
    dead.wait_ready()
    wait_until("both are asked", lambda: site.count("killed")[0] == 202 and _accepted(dead) > 0, SECONDS_MAX)
    alive.kill()
    assert site.count("killed", Prefer="wait=20")[0] == 200
    alive.start()
    alive.wait_ready()


def test_a_proxy_that_stops_ends_in_time(site: Site) -> None:
    kept = http.client.HTTPConnection("127.0.0.1", site.port, timeout=SECONDS_MAX)
    kept.request("GET", "/lag")
    kept.getresponse().read()
    assert site.proxy.stop(), "a client that keeps its connection is not waited for without end"
    kept.close()
    site.proxy.start()
    site.proxy.wait_ready()


def _accepted(room: Room) -> int:
    """How many commands this gateway itself has accepted since it started."""
    connection = http.client.HTTPConnection("127.0.0.1", room.port or 0, timeout=SECONDS_MAX)
    try:
        connection.request("GET", "/metrics")
        text = connection.getresponse().read().decode()
    finally:
        connection.close()
    return sum(int(float(line.split()[-1])) for line in text.splitlines() if line.startswith("twofold_commands_accepted_total{"))
