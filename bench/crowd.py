"""What others feel of a crowd: ten thousand who wait for rows that do not come, and six hundred streams that nobody reads.

`rows` measures single posts and reads by key at fixed times: alone, beside the crowd, and when it has gone. The crowd is a
process of its own, `python -m bench.crowd PORT`: it comes one after the other, and whoever has waited for his time, or was turned
away, comes back, until it is ended. So at any moment some give up and some come.
"""

from __future__ import annotations

import asyncio
import os
import socket
import sys
from collections import Counter, deque
from statistics import median, quantiles

import uvloop

from bench import house, orders
from bench.databases import fresh_database
from bench.endtoend import ORDERS_ONLY
from bench.processes import HOST, Process, wait_until
from bench.results import Row
from bench.run import Meter, Run
from bench.wire import BadAnswer, Wire, connect

WAITERS, STREAMS = 10_000, 600
WAIT_SECONDS = 30
NEVER = 10**12
"""A position that no log of a bench reaches."""
AGAIN_SECONDS = 1.0
UNREAD_BYTES = 4_096
PER_SECOND = 200
"""Requests of the others; every second one is a command."""
CONNECTIONS = 64
SECONDS = 15.0
ARRIVE_SECONDS = float(WAIT_SECONDS)
ARRIVE_SECONDS_MAX = 90.0
GONE_SECONDS = 3.0
STORED = 2_000


def rows(run: Run) -> list[Row]:
    """Served and embedded: p99 in each phase, and its ratio."""
    with fresh_database(run.postgres_url) as url, house.served(ORDERS_ONLY, url, run.broker_url, run.folder) as ours:
        found = _rows("served", ours, run)
    with house.embedded(ORDERS_ONLY, run.folder / "crowd", run.folder) as ours:
        return found + _rows("embedded", ours, run)


class Others:
    """Single posts and reads by key, in turn and at fixed times, whatever became of those before. `statuses` of all answers."""

    def __init__(self, port: int, prefix: str) -> None:
        self._port, self._prefix = port, prefix
        self.seconds: list[float] = []
        self.statuses: Counter[int] = Counter()
        self.posted = 0
        self._free: deque[Wire] = deque()
        self._due: deque[tuple[bytes, float]] = deque()

    async def ask(self, seconds: float) -> None:
        wires = await connect(HOST, self._port, CONNECTIONS)
        self._free.extend(wires)
        loop = asyncio.get_running_loop()
        begun, count = loop.time(), int(seconds * PER_SECOND)
        for number in range(count):
            due = begun + number / PER_SECOND
            await asyncio.sleep(max(0.0, due - loop.time()))
            self._due.append((self._request(number), due))
            self._send()
        async with asyncio.timeout(WAIT_SECONDS):
            while len(self.seconds) < count:
                await asyncio.sleep(AGAIN_SECONDS / 10)
        for wire in wires:
            wire.close()

    def _request(self, number: int) -> bytes:
        if number % 2:
            return orders.get(f"/views/orders/{orders.order_id('stored', number % STORED)}")
        self.posted += 1
        return next(orders.single_posts(self._prefix, number, 1))

    def _send(self) -> None:
        while self._due and self._free:
            (request, due), wire = self._due.popleft(), self._free.popleft()

            def answered(status: int, _head: bytes, _body: bytes, due: float = due, wire: Wire = wire) -> None:
                self.seconds.append(asyncio.get_running_loop().time() - due)
                self.statuses[status] += 1
                self._free.append(wire)
                self._send()

            wire.send(request, answered, _failed)


class Crowd:
    """Waits and does not read, over and over."""

    def __init__(self, port: int) -> None:
        self._port = port

    async def come(self) -> None:
        async with asyncio.TaskGroup() as group:
            for number in range(WAITERS):
                group.create_task(self._wait(number))
            for number in range(STREAMS):
                group.create_task(self._do_not_read(number))

    async def _wait(self, number: int) -> None:
        request = orders.get(
            f"/views/orders/{orders.order_id('never', number)}", Consistency_Token=str(NEVER), Prefer=f"wait={WAIT_SECONDS}"
        )
        await asyncio.sleep(ARRIVE_SECONDS * number / WAITERS)
        while True:
            try:
                reader, writer = await asyncio.open_connection(HOST, self._port)
                while True:
                    writer.write(request)
                    head = await reader.readuntil(b"\r\n\r\n")
                    length = int(head.lower().split(b"content-length:")[1].split(b"\r\n")[0])
                    await reader.readexactly(length)
                    if head[9:12] != b"503":
                        await asyncio.sleep(AGAIN_SECONDS)
            except (OSError, asyncio.IncompleteReadError):
                await asyncio.sleep(AGAIN_SECONDS)

    async def _do_not_read(self, number: int) -> None:
        loop = asyncio.get_running_loop()
        await asyncio.sleep(ARRIVE_SECONDS * number / STREAMS)
        while True:
            with socket.socket() as unread:
                unread.setblocking(False)
                unread.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, UNREAD_BYTES)
                try:
                    await loop.sock_connect(unread, (HOST, self._port))
                    await loop.sock_sendall(unread, orders.get("/events?after=0", Accept="text/event-stream"))
                    await asyncio.sleep(WAIT_SECONDS)
                except OSError:
                    await asyncio.sleep(AGAIN_SECONDS)


def _rows(key: str, running: house.Running, run: Run) -> list[Row]:
    meter = Meter(running)
    meter.commands_per_second("stored", STORED, 100)
    seconds = max(3.0, SECONDS * run.scale)
    phases = {"alone": _others(running, meter, "alone", seconds)}
    with Process(f"crowd-{key}", [sys.executable, "-m", "bench.crowd", str(running.port)], {}, run.folder) as crowd:
        wait_until("the crowd is there", lambda: _connections(crowd) >= WAITERS, ARRIVE_SECONDS_MAX, [*running.members, crowd])
        phases["beside it"] = _others(running, meter, "beside", seconds)
        crowd.check()
        memory = ", ".join(f"{room} {process.rss_bytes() / 1e6:.0f} MB" for room, process in running.processes.items())
    uvloop.run(asyncio.sleep(GONE_SECONDS))
    phases["after it"] = _others(running, meter, "after", seconds)
    label = f"a crowd, {key}"
    found = [
        Row(f"crowd-{key}-{name.split()[0]}", f"{label}: others' p99 {name}", "ms", (_p99(others) * 1000,), _said(others))
        for name, others in phases.items()
    ]
    ratio = _p99(phases["beside it"]) / _p99(phases["alone"])
    note = f"{WAITERS} wait, {STREAMS} do not read; {memory}"
    return [*found, Row(f"crowd-{key}-ratio", f"{label}: beside it to alone", "x", (ratio,), note)]


def _others(running: house.Running, meter: Meter, prefix: str, seconds: float) -> Others:
    others = Others(running.port, prefix)
    uvloop.run(others.ask(seconds))
    meter.events += others.statuses[202]
    wait_until("every accepted command is shown", lambda: running.shows(meter.events), ARRIVE_SECONDS_MAX, running.members)
    return others


def _said(others: Others) -> str:
    answers = ", ".join(f"{count} × {status}" for status, count in sorted(others.statuses.items()))
    return f"p50 {1000 * median(others.seconds):.1f} ms; {answers}"


def _p99(others: Others) -> float:
    return quantiles(others.seconds, n=100)[98]


def _connections(process: Process) -> int:
    """Sockets that the process has open."""
    return sum(len(list(_descriptors(pid))) for pid in process.family())


def _descriptors(pid: int) -> list[str]:
    found = []
    for name in os.listdir(f"/proc/{pid}/fd"):
        try:
            found.append(os.readlink(f"/proc/{pid}/fd/{name}"))
        except OSError:
            continue
    return [link for link in found if link.startswith("socket:")]


def _failed(error: BadAnswer) -> None:
    raise RuntimeError(f"one of the others lost its connection: {error}")


if __name__ == "__main__":
    uvloop.run(Crowd(int(sys.argv[1])).come())
