"""What two gateways promise together. Whole processes, real servers."""

from __future__ import annotations

import http.client
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.chaos.rooms import ROOT, Room
from tests.environment import environment_of
from tests.servers.namespace import clean
from tests.servers.server import free_port
from twofold.settings import Settings

SECONDS_MAX = 30.0
POSTS = 10


class Gateways:
    """Two of them, and a worker that begins when it is told to."""

    def __init__(self, settings: Settings, folder: Path) -> None:
        ports = [free_port(), free_port()]
        self.rooms = [
            Room(f"gateway-{number}", ["gateway"], environment_of(settings) | {"TWOFOLD_PORT": str(port)}, folder, port)
            for number, port in enumerate(ports)
        ]
        self.worker = Room("workers", ["workers"], environment_of(settings), folder)

    def count(self, gateway: int, counter: str, by: int, key: str) -> tuple[int, dict[str, Any]]:
        """Post a command that waits for its outcome."""
        port = self.rooms[gateway].port
        connection = http.client.HTTPConnection("127.0.0.1", port or 0, timeout=SECONDS_MAX)
        headers = {"Content-Type": "application/json", "Idempotency-Key": key, "Prefer": "wait=20"}
        connection.request("POST", "/commands/Count", json.dumps({"counter_id": counter, "by": by}), headers)
        answer = connection.getresponse()
        status, body = answer.status, json.loads(answer.read())
        connection.close()
        return status, body


@pytest.fixture
def gateways(postgres_url: str, broker_url: str, unique: str, tmp_path: Path) -> Iterator[Gateways]:
    settings = Settings(
        domain="examples.counter", database_url=postgres_url, broker_url=broker_url, namespace=unique, metrics_port=free_port()
    )
    environment = {"PATH": "", **environment_of(settings)}
    subprocess.run([sys.executable, "-m", "twofold", "migrate"], cwd=ROOT, env=environment, timeout=SECONDS_MAX, check=True)
    with ExitStack() as stack:
        stack.callback(clean, broker_url, "", unique)
        pair = Gateways(settings, tmp_path)
        for room in (*pair.rooms, pair.worker):
            stack.callback(room.stop)
        for room in (*pair.rooms, pair.worker):
            room.start()
        for room in pair.rooms:
            room.wait_ready()
        assert pair.worker.stop()
        yield pair


def test_two_bodies_under_one_key_are_told_apart_wherever_they_came_in(gateways: Gateways) -> None:
    """Both are accepted before either is decided: one has the outcome, the other must not be given it as its own."""
    with ThreadPoolExecutor(2 * POSTS) as pool:
        pairs = [
            [pool.submit(gateways.count, gateway, f"c{number}", by, f"K{number}") for gateway, by in ((0, 1), (1, 100))]
            for number in range(POSTS)
        ]
        time.sleep(1.0)
        gateways.worker.start()
        answers = [[posted.result() for posted in pair] for pair in pairs]
    for pair in answers:
        assert sorted(status for status, _ in pair) == [200, 422], pair
        [refused] = [body for status, body in pair if status == 422]
        assert refused["type"] == "/problems/key-reused"
