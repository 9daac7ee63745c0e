"""A view is changed, and changed back, while clients write and read what they wrote. Whole processes, real servers."""

from __future__ import annotations

import http.client
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from threading import Event
from typing import Any

import psycopg
import pytest

from tests.chaos.rooms import ROOT, Room, wait_until
from tests.environment import environment_of
from tests.servers.namespace import clean
from tests.servers.postgres import libpq
from tests.servers.server import free_port
from twofold.settings import Settings

SECONDS_MAX = 60.0
EVENTS_BEFORE = 4_000
WRITES_MIN = 15
PAUSE_SECONDS = 0.1
"""Between two writes: a tally counts to a thousand at most."""


class Deployed:
    """Two versions of one domain, on the same servers."""

    def __init__(self, settings: Settings, folder: Path, stack: ExitStack) -> None:
        self.settings, self.folder, self._stack = settings, folder, stack
        self.variables: dict[str, str] = {}
        self.stop = Event()
        self._readers = ThreadPoolExecutor(4)
        stack.callback(self._readers.shutdown)
        stack.callback(self.stop.set)

    def environment(self, version: str) -> dict[str, str]:
        return {**environment_of(self.settings), **self.variables, **({"CHANGED": "1"} if version == "v2" else {})}

    def migrate(self, version: str) -> None:
        environment = {"PATH": "", **self.environment(version)}
        subprocess.run([sys.executable, "-m", "twofold", "migrate"], cwd=ROOT, env=environment, timeout=SECONDS_MAX, check=True)

    def start(self, name: str, version: str, port: int | None = None) -> Room:
        environment = self.environment(version) | {"TWOFOLD_METRICS_PORT": str(free_port())}
        if port is not None:
            environment["TWOFOLD_PORT"] = str(port)
        room = Room(f"{name}-{version}", [name], environment, self.folder, port)
        self._stack.callback(room.stop)
        room.start()
        if port is not None:
            wait_until(f"{room.name} answers", lambda: answers(port), SECONDS_MAX, room.tail)
        return room

    def states(self) -> dict[int, str]:
        with psycopg.connect(libpq(self.settings.database_url)) as connection:
            return dict(connection.execute("SELECT generation, state FROM read.generations ORDER BY generation").fetchall())

    def built(self) -> int:
        """How far the farthest slice of the second generation is."""
        with psycopg.connect(libpq(self.settings.database_url)) as connection:
            found = connection.execute("SELECT max(position) FROM read.checkpoints WHERE generation = 2").fetchone()
        return found[0] if found else 0

    def read_own_writes(self, key: str, write_to: int, read_from: int) -> Future[int]:
        """Count one up, then read the count with the command's token, again and again; how often, once told to stop."""

        def run() -> int:
            count = 0
            while not self.stop.is_set() or count < WRITES_MIN:
                status, body = call(write_to, "POST", "/commands/Count", {"tally_id": key})
                assert status == 202, (status, body)
                count += 1
                time.sleep(PAUSE_SECONDS)
                headers = {"Consistency-Token": body["command_id"], "Prefer": "wait=20"}
                status, row = call(read_from, "GET", f"/views/tallies/{key}", None, headers)
                assert (status, row.get("count")) == (200, count), (key, count, status, row)
            return count

        return self._readers.submit(run)


def call(port: int, method: str, path: str, body: object = None, headers: dict[str, str] | None = None) -> tuple[int, Any]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=SECONDS_MAX)
    given = {"Content-Type": "application/json", **(headers or {})}
    connection.request(method, path, json.dumps(body) if body is not None else None, given)
    answer = connection.getresponse()
    status, text = answer.status, answer.read()
    connection.close()
    return status, json.loads(text)


def answers(port: int) -> bool:
    try:
        return call(port, "GET", "/livez")[0] == 200
    except OSError:
        return False


def is_ready(port: int) -> bool:
    return call(port, "GET", "/readyz")[0] == 200


def readiness(port: int) -> str:
    return str(call(port, "GET", "/readyz")[1].get("detail"))


@pytest.fixture
def deployed(postgres_url: str, broker_url: str, unique: str, tmp_path: Path) -> Iterator[Deployed]:
    settings = Settings(domain="tests.system.changing_domain", database_url=postgres_url, broker_url=broker_url, namespace=unique)
    with ExitStack() as stack:
        stack.callback(clean, broker_url, "", unique)
        yield Deployed(settings, tmp_path, stack)


def test_a_view_is_changed_and_changed_back_under_load_and_nobody_reads_less_than_he_wrote(deployed: Deployed) -> None:
    """Nothing stale, nothing missing, nothing refused: not while rows are built, not when they are swapped, not on the way back,
    and not when the projector that builds them is killed."""
    before, after = free_port(), free_port()
    deployed.migrate("v1")
    deployed.start("workers", "v1")
    deployed.start("gateway", "v1", before)
    wait_until("it is ready", lambda: is_ready(before), SECONDS_MAX)
    folding_before = deployed.start("readmodels", "v1")
    for page in range(EVENTS_BEFORE // 1_000):
        wishes = [{"type": "Count", "data": {"tally_id": f"old-{page}-{number % 200}"}} for number in range(1_000)]
        status, answer = call(before, "POST", "/commands", wishes)
        assert (status, answer["refused"]) == (202, [])
    reading = [deployed.read_own_writes("a", before, before)]

    deployed.migrate("v2")
    deployed.start("gateway", "v2", after)
    wait_until("all it waits for is its rows", lambda: "rows are being built" in readiness(after), SECONDS_MAX)
    assert deployed.states() == {1: "live", 2: "building"}, "it is still being built"
    assert is_ready(before), "nobody else's deploy makes it unready"
    reading += [deployed.read_own_writes("b", after, after), deployed.read_own_writes("c", before, after)]
    folding_after = deployed.start("readmodels", "v2")
    wait_until("it builds", lambda: deployed.built() > 0, SECONDS_MAX, folding_after.tail)
    folding_after.kill()
    folding_after.start()
    wait_until("swapped", lambda: deployed.states() == {1: "retired", 2: "live"}, SECONDS_MAX, folding_after.tail)
    wait_until("its rows are there", lambda: is_ready(after), SECONDS_MAX)
    assert is_ready(before), "its own rows are retired, and folded on"
    wait_until("the new index", lambda: call(after, "GET", "/views/tallies?rating=many")[0] == 200, SECONDS_MAX)
    folding_before.stop()
    reading.append(deployed.read_own_writes("d", after, before))

    folding_before.start()
    wait_until("it changes nothing", folding_before.is_alive, SECONDS_MAX, folding_before.tail)
    assert deployed.states() == {1: "retired", 2: "live"}, "a restart is no deployment"
    deployed.migrate("v1")
    assert is_ready(before) and is_ready(after), "one that was ready stays so"
    wait_until("back", lambda: deployed.states() == {1: "live", 2: "retired"}, SECONDS_MAX, folding_before.tail)
    folding_after.stop()
    deployed.stop.set()
    assert min(future.result(SECONDS_MAX) for future in reading) >= WRITES_MIN
