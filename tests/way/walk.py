"""Sends commands through the served system, one at a time, and finds what each of them passed.

What a walk shows is what *every* one of COMMANDS commands passed: what happened to run beside one of them is left out.
"""

from __future__ import annotations

import http.client
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import psycopg

from tests.chaos.rooms import Room
from tests.guards.house import ROOT
from tests.servers.postgres import libpq
from tests.servers.server import free_port
from tests.way.traced import TRACE, Call

WARM_COMMANDS = 5
"""Sent before: what is done once, the first time, is not on the way."""
COMMANDS = 9
QUIET_SECONDS = 0.4
AFTER_NANOSECONDS = 100_000_000
"""How long after its answer a command is still being put away: acknowledged, told."""
WAIT_SECONDS = 30


class Visit(NamedTuple):
    """One file on the way: the functions that ran, in order, and the rooms they were called from."""

    file: str
    functions: tuple[str, ...]
    callers: frozenset[str]


class Leg(NamedTuple):
    """A part of the way, within one process."""

    room: str
    what: str
    visits: tuple[Visit, ...]


def walk(postgres_url: str, broker_url: str, namespace: str, folder: Path) -> list[Leg]:
    """The legs of the way, in order. `postgres_url` is an empty database; the broker keeps nothing of `namespace` but queues."""
    settings = {
        "TWOFOLD_DOMAIN": "examples.counter",
        "TWOFOLD_DATABASE_URL": postgres_url,
        "TWOFOLD_BROKER_URL": broker_url,
        "TWOFOLD_NAMESPACE": namespace,
        "TWOFOLD_SLICES": "1",
    }
    traces = {room: folder / f"{room}.json" for room in ("gateway", "workers", "readmodels")}
    environment = Room("migrate", [], settings, folder).environment
    subprocess.run([sys.executable, "-m", "twofold", "migrate"], cwd=ROOT, env=environment, timeout=WAIT_SECONDS, check=True)
    with ExitStack() as stack:
        rooms = {}
        for name, trace in traces.items():
            own = {"TWOFOLD_METRICS_PORT": str(free_port()), TRACE: str(trace)}
            port = free_port() if name == "gateway" else None
            if port is not None:
                own["TWOFOLD_PORT"] = str(port)
            rooms[name] = Room(name, [name], settings | own, folder, port, ("tests.way.traced",))
            stack.callback(rooms[name].stop)
            rooms[name].start()
        for room in rooms.values():
            room.wait_ready()
        _wait_for_members(postgres_url)
        port = rooms["gateway"].port
        assert port is not None
        windows = [_send(port) for _ in range(WARM_COMMANDS + COMMANDS)][WARM_COMMANDS:]
        time.sleep(QUIET_SECONDS)  # stopping is not on the way
    calls = {name: msgspec.json.decode(trace.read_bytes(), type=list[Call]) for name, trace in traces.items()}
    accepting = [(sent, accepted) for sent, accepted, _ in windows]
    answering = [(accepted, answered) for _, accepted, answered in windows]
    whole = [(sent, answered + AFTER_NANOSECONDS) for sent, _, answered in windows]
    return [
        Leg("gateway", "accepts it", visits(calls["gateway"], accepting)),
        Leg("workers", "decide it", visits(calls["workers"], whole)),
        Leg("readmodels", "fold it", visits(calls["readmodels"], whole)),
        Leg("gateway", "answers the read", visits(calls["gateway"], answering)),
    ]


def visits(calls: Sequence[Call], windows: Sequence[tuple[int, int]]) -> tuple[Visit, ...]:
    """What ran in every one of these windows, by file, in the order in which it first ran in most of them."""
    orders = [_order([one for one in calls if begin <= one[0] <= end]) for begin, end in windows]
    always = set.intersection(*(set(order) for order in orders))
    rank = {name: statistics.median(order[name] for order in orders) for name in always}
    functions: dict[str, list[str]] = {}
    for file, function in sorted(always, key=lambda name: rank[name]):
        functions.setdefault(file, []).append(function)
    callers: dict[str, set[str]] = {}
    for at, file, function, room in calls:
        if room and (file, function) in always and any(begin <= at <= end for begin, end in windows):
            callers.setdefault(file, set()).add(room)
    return tuple(Visit(file, tuple(names), frozenset(callers.get(file, ()))) for file, names in functions.items())


def files_of(legs: Iterable[Leg]) -> Mapping[str, frozenset[str]]:
    """Every file on the way, with the rooms it is called from."""
    found: dict[str, frozenset[str]] = {}
    for leg in legs:
        for visit in leg.visits:
            found[visit.file] = found.get(visit.file, frozenset()) | visit.callers
    return found


def _order(calls: Iterable[Call]) -> dict[tuple[str, str], int]:
    order: dict[tuple[str, str], int] = {}
    for _, file, function, _ in calls:
        order.setdefault((file, function), len(order))
    return order


def _send(port: int) -> tuple[int, int, int]:
    """One command and the read of what it wrote: when it was sent, accepted and answered, by the machine's monotonic clock."""
    time.sleep(QUIET_SECONDS)
    sent = time.monotonic_ns()
    accepted = _call(port, "POST", "/commands/Count", {"Content-Type": "application/json"}, json.dumps({"counter_id": "way"}))
    at = time.monotonic_ns()
    _call(port, "GET", "/views/counters/way", {"Consistency-Token": accepted["command_id"], "Prefer": f"wait={WAIT_SECONDS}"})
    return sent, at, time.monotonic_ns()


def _call(port: int, method: str, path: str, headers: Mapping[str, str], body: str | None = None) -> Any:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=2 * WAIT_SECONDS)
    try:
        connection.request(method, path, body, dict(headers))
        answer = connection.getresponse()
        text = answer.read()
    finally:
        connection.close()
    assert answer.status in (200, 202), text
    return json.loads(text)


def _wait_for_members(postgres_url: str) -> None:
    """Until every room has taken its leases."""
    deadline = time.monotonic() + WAIT_SECONDS
    with psycopg.connect(libpq(postgres_url), autocommit=True) as connection:
        while connection.execute("SELECT count(*) FROM leases WHERE owner IS NOT NULL").fetchone() != (3,):
            assert time.monotonic() < deadline, "lanes and slices are not held"
            time.sleep(0.1)
