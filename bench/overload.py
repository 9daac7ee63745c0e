"""Twice what the system decides, for minutes, in an open loop: what is accepted is decided in bounded time, and none is lost.

First the capacity is measured, in a closed loop. Then bulk posts leave at fixed times, whether or not the earlier ones were
answered; who is refused does not come again. Afterwards every accepted command must be in the log, and the queue gone.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from datetime import datetime
from statistics import median, quantiles
from typing import Any

import msgspec
import uvloop

from bench import house, orders
from bench.databases import fresh_database
from bench.endtoend import ORDERS_ONLY
from bench.processes import HOST, fetch, wait_until
from bench.results import Row
from bench.run import Meter, Run
from bench.wire import BadAnswer, Wire, connect

SECONDS = 300.0
FACTOR = 2.0
CAPACITY_COMMANDS, CAPACITY_ITEMS = 40_000, 200
ITEMS = 20
CONNECTIONS = 512
TICK_SECONDS = 0.02
SAMPLE_EVERY = 25
"""Posts, of whose first accepted command the time until it was decided is asked for afterwards."""
LOOK_SECONDS = 2.0
REST_SECONDS_MAX = 180.0
NORMAL_QUEUE_SECONDS = 1.0


def rows(run: Run) -> list[Row]:
    """Served and embedded, five rows each."""
    with fresh_database(run.postgres_url) as url, house.served(ORDERS_ONLY, url, run.broker_url, run.folder) as ours:
        found = _rows("served", ours, run)
    with house.embedded(ORDERS_ONLY, run.folder / "overload", run.folder) as ours:
        return found + _rows("embedded", ours, run)


class Offered:
    """Bulk posts at a rate. `accepted` and `refused` count commands; `sampled` are ids; `unsent` found no free connection."""

    def __init__(self, port: int, per_second: float, seconds: float) -> None:
        self._port, self._per_second, self._seconds = port, per_second, seconds
        self.accepted = self.refused = self.unsent = 0
        self.sampled: list[str] = []
        self.memory: list[dict[str, int]] = []
        self._answers = 0
        self._free: deque[Wire] = deque()

    async def offer(self, running: house.Running) -> None:
        self._free.extend(await connect(HOST, self._port, CONNECTIONS))
        wires, loop = list(self._free), asyncio.get_running_loop()
        begun, posts, looked_at = loop.time(), 0, 0.0
        while (at := loop.time() - begun) < self._seconds:
            due = int(at * self._per_second / ITEMS)
            for number in range(posts, due):
                self._post(number)
            posts = due
            if at - looked_at >= LOOK_SECONDS:
                looked_at = at
                self.memory.append({room: process.rss_bytes() for room, process in running.processes.items()})
            await asyncio.sleep(TICK_SECONDS)
        async with asyncio.timeout(REST_SECONDS_MAX):
            while len(self._free) < len(wires):
                await asyncio.sleep(TICK_SECONDS)
        for wire in wires:
            wire.close()

    def _post(self, number: int) -> None:
        if not self._free:
            self.unsent += ITEMS
            return
        wire = self._free.popleft()
        batch = [{"type": "PlaceOrder", "data": orders.place_order("over", number * ITEMS + item)} for item in range(ITEMS)]

        def answered(status: int, _head: bytes, body: bytes) -> None:
            self._free.append(wire)
            accepted: list[Any] = msgspec.json.decode(body)["accepted"] if status == 202 else []
            self.accepted += len(accepted)
            self.refused += ITEMS - len(accepted)
            self._answers += 1
            if accepted and self._answers % SAMPLE_EVERY == 0:
                self.sampled.append(accepted[0]["command_id"])

        wire.send(orders.post("/commands", msgspec.json.encode(batch)), answered, _failed)


def _rows(key: str, running: house.Running, run: Run) -> list[Row]:
    seconds = max(10.0, SECONDS * run.scale)
    meter = Meter(running)
    capacity = meter.commands_per_second("capacity", CAPACITY_COMMANDS, CAPACITY_ITEMS)
    offered = Offered(running.port, FACTOR * capacity, seconds)
    uvloop.run(offered.offer(running))
    ended = time.time()
    normal = wait_until("the queue is gone", lambda: _queue_seconds(running) < NORMAL_QUEUE_SECONDS, REST_SECONDS_MAX)
    events = meter.events + offered.accepted
    wait_until("every accepted command is shown", lambda: running.shows(events), REST_SECONDS_MAX, running.members)
    waited = [_decided_after(running.port, command_id) for command_id in offered.sampled]
    cut = quantiles(waited, n=100)
    quarter = max(1, len(offered.memory) // 4)
    growth = max(
        median(one[room] for one in offered.memory[-quarter:])
        / median(one[room] for one in offered.memory[quarter : 2 * quarter])
        for room in running.processes
    )
    said = f"{FACTOR:g} x {capacity:.0f} commands/s for {seconds:.0f} s; {offered.unsent} not sent for want of a connection"
    label = f"overload, {key}"
    return [
        Row(f"overload-{key}-accepted", f"{label}: accepted", "commands/s", (offered.accepted / seconds,), said),
        Row(f"overload-{key}-refused", f"{label}: refused", "commands/s", (offered.refused / seconds,), "429"),
        Row(f"overload-{key}-p50", f"{label}: accepted → decided, p50", "s", (cut[49],), f"{len(waited)} followed"),
        Row(f"overload-{key}-p99", f"{label}: accepted → decided, p99", "s", (cut[98],), "limit TWOFOLD_QUEUE_SECONDS"),
        Row(f"overload-{key}-normal", f"{label}: until the queue is gone", "s", (normal - ended,), "0 of the accepted lost"),
        Row(f"overload-{key}-memory", f"{label}: last quarter's memory to the second's", "x", (growth,), _memory(offered)),
    ]


def _queue_seconds(running: house.Running) -> float:
    return float(max(fetch(running.port, "/lanes")["queue_seconds"].values()))


def _decided_after(port: int, command_id: str) -> float:
    status = fetch(port, f"/commands/{command_id}")
    decided, accepted = (msgspec.convert(status[name], datetime).timestamp() for name in ("decided_at", "accepted_at"))
    return float(decided - accepted)


def _memory(offered: Offered) -> str:
    return ", ".join(f"{room} {max(one[room] for one in offered.memory) / 1e6:.0f} MB" for room in offered.memory[-1])


def _failed(error: BadAnswer) -> None:
    raise RuntimeError(f"a connection was lost under overload: {error}")
