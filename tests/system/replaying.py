"""What the replay tests share: the replay as its users start it, the views as a client reads them, and a served house."""

from __future__ import annotations

import http.client
import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

from tests.chaos.rooms import ROOT, Room, wait_until
from tests.servers.namespace import clean
from tests.servers.server import free_port
from twofold.kernel.domain import load_domain

VIEWS = load_domain("twofold.shop").views
GATEWAYS = WORKERS = PROJECTORS = 2
LANES = SLICES = 4
PAGE_ROWS = 1_000
REPLAY_SECONDS_MAX = 120.0
MIGRATE_SECONDS_MAX = 60.0
SETTLE_SECONDS_MAX = 60.0


def replay_command(path: Path, port: int, *arguments: str) -> list[str]:
    return [sys.executable, "-m", "twofold.shop.online_retail", str(path), "--url", f"http://127.0.0.1:{port}", *arguments]


def replay(path: Path, port: int, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        replay_command(path, port, *arguments), cwd=ROOT, capture_output=True, text=True, timeout=REPLAY_SECONDS_MAX, check=False
    )


def call(port: int, method: str, path: str, body: object = None) -> tuple[int, Any]:
    """Status and decoded JSON."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        headers = {"Content-Type": "application/json", "Prefer": "wait=10"}
        connection.request(method, path, None if body is None else json.dumps(body), headers)
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read())
    finally:
        connection.close()


def head_of(port: int) -> int:
    """The last position, read from the log itself: /lag may be half a second old."""
    head = 0
    while events := call(port, "GET", f"/events?after={head}&limit={PAGE_ROWS}")[1]["events"]:
        head = events[-1]["position"]
    return head


def wait_caught_up(port: int, head: int) -> None:
    """Until every view has this position, by the gateway's own account."""

    def is_caught_up() -> bool:
        views = call(port, "GET", "/lag")[1]["views"]
        return set(views) == set(VIEWS) and all(view["position"] == head for view in views.values())

    wait_until(f"every view is at {head}", is_caught_up, SETTLE_SECONDS_MAX, lambda: str(call(port, "GET", "/lag")))


def tables(port: int) -> dict[str, dict[str, Any]]:
    """Every row of every view, page by page."""
    return {name: {row[view.key]: row for row in _rows(port, name)} for name, view in VIEWS.items() if view.is_stored}


def _rows(port: int, view: str) -> Iterator[dict[str, Any]]:
    cursor = ""
    while True:
        status, page = call(port, "GET", f"/views/{view}?limit={PAGE_ROWS}{cursor}")
        assert status == 200, page
        yield from page["items"]
        if page["next"] is None:
            return
        cursor = "&cursor=" + quote(page["next"], safe="")


@contextmanager
def served(postgres_url: str, broker_url: str, redis_url: str, namespace: str, folder: Path) -> Iterator[list[int]]:
    """Two gateways, two workers, two projectors, four slices a view. The gateways' ports; leaves broker and Redis clean."""
    settings = {
        "TWOFOLD_DATABASE_URL": postgres_url,
        "TWOFOLD_BROKER_URL": broker_url,
        "TWOFOLD_REDIS_URL": redis_url,
        "TWOFOLD_NAMESPACE": namespace,
        "TWOFOLD_LANES": str(LANES),
        "TWOFOLD_SLICES": str(SLICES),
    }
    with ExitStack() as stack:
        stack.callback(clean, broker_url, redis_url, namespace, LANES)
        subprocess.run(
            [sys.executable, "-m", "twofold", "migrate"],
            cwd=ROOT,
            env=Room("migrate", [], settings, folder).environment,
            timeout=MIGRATE_SECONDS_MAX,
            check=True,
        )
        rooms = [_room("gateway", number, settings, folder, free_port()) for number in range(GATEWAYS)]
        rooms += [_room("workers", number, settings, folder) for number in range(WORKERS)]
        rooms += [_room("readmodels", number, settings, folder) for number in range(PROJECTORS)]
        rooms.append(_room("processes", 0, settings, folder))
        for room in rooms:
            stack.callback(room.stop)
            room.start()
        for room in rooms:
            room.wait_ready()
        yield [room.port for room in rooms if room.port is not None]


def _room(room: str, number: int, settings: dict[str, str], folder: Path, port: int | None = None) -> Room:
    own = {"TWOFOLD_METRICS_PORT": str(free_port())} | ({"TWOFOLD_PORT": str(port)} if port else {})
    return Room(f"{room}-{number}", [room], settings | own, folder, port)
