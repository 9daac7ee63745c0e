"""The load generator: a process of its own that gets one `Work` as JSON on stdin and prints one `Load` as JSON on stdout.

Closed loop: each connection sends its next request when the last one was answered. Open loop (bench/paced.py): requests
leave at fixed times, whether or not the earlier ones were answered. Requests are built before the clock starts; the
number of requests and the seconds are bounded, so the process ends by itself.
"""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
from collections import deque
from collections.abc import Iterable
from typing import Literal

import msgspec
import uvloop

from bench import orders, paced
from bench.wire import BadAnswer, Wire, connect

RETRIES_MAX = 50
"""Of one request that was answered 429 or 503."""
RETRY_SECONDS = 0.1


class Work(msgspec.Struct, frozen=True):
    """What to do. `items` is 1 for single posts, else the size of a bulk; `rate` 0 is a closed loop, else commands a second."""

    host: str
    port: int
    prefix: str
    count: int
    connections: int
    items: int = 1
    start: int = 0
    rate: float = 0.0
    follow_every: int = 1
    seconds_max: float = 120.0


class Load(msgspec.Struct):
    """What happened. Times are seconds since the epoch; `answers` counts by status; `latencies` are seconds, unordered.

    `refused` counts the items of bulk posts that were not accepted. `seen_at` (open loop) says, by order number, when an
    answer that shows the order's row had arrived here; `reads` how many seconds each of these reads took; `late_seconds` how long
    a post waited for a free connection at most.
    """

    started_at: float = 0.0
    ended_at: float = 0.0
    answers: dict[int, int] = {}
    refused: int = 0
    retried: int = 0
    latencies: list[float] = []
    seen_at: dict[int, float] = {}
    late_seconds: float = 0.0
    reads: list[float] = []
    error: str = ""

    def count(self, status: int) -> None:
        self.answers[status] = self.answers.get(status, 0) + 1


def run(work: Work) -> Load:
    """Run one load in a process of its own. Raises RuntimeError, saying why, unless every command was accepted."""
    process = subprocess.run(
        [sys.executable, "-m", "bench.load"],
        input=msgspec.json.encode(work),
        capture_output=True,
        timeout=work.seconds_max + 30,
        check=False,
    )
    if process.returncode != 0:
        raise RuntimeError(f"load generator: {process.stderr.decode().strip().splitlines()[-1:]}")
    try:
        load = msgspec.json.decode(process.stdout, type=Load)
    except msgspec.DecodeError as error:
        said = process.stderr.decode()[-500:]
        raise RuntimeError(f"load generator: {len(process.stdout)} bytes, no answer ({error}); it said {said!r}") from error
    if load.error or load.refused or set(load.answers) - {202}:
        raise RuntimeError(
            f"load {work.prefix}: answers {dict(load.answers)}, {load.refused} items refused, {load.error or 'no error'}"
        )
    return load


class Closed:
    """A closed loop over some connections, until the requests are used up."""

    def __init__(self, requests: Iterable[bytes], kind: Literal["single", "bulk"]) -> None:
        self.load = Load()
        self._requests = deque(requests)
        self._open = len(self._requests)
        self._kind = kind
        self._done = asyncio.get_running_loop().create_future()

    async def over(self, wires: list[Wire], seconds_max: float) -> Load:
        self.load.started_at = time.time()
        for wire in wires:
            self._next(wire)
        try:
            await asyncio.wait_for(self._done, seconds_max)
        except (TimeoutError, BadAnswer) as error:
            self.load.error = f"{type(error).__name__}: {error}; {self._open} requests open"
        self.load.ended_at = time.time()
        return self.load

    def _next(self, wire: Wire) -> None:
        if self._requests:
            self._send(wire, self._requests.popleft(), time.perf_counter(), 0)

    def _send(self, wire: Wire, request: bytes, sent: float, retries: int) -> None:
        def answered(status: int, _head: bytes, body: bytes) -> None:
            if status in (429, 503) and retries < RETRIES_MAX:
                self.load.retried += 1
                asyncio.get_running_loop().call_later(RETRY_SECONDS, self._send, wire, request, sent, retries + 1)
                return
            self.load.count(status)
            self.load.latencies.append(time.perf_counter() - sent)
            if self._kind == "bulk" and b'"refused":[]' not in body:
                self.load.refused += len(msgspec.json.decode(body).get("refused", [None]))
            self._open -= 1
            if self._open == 0 and not self._done.done():
                self._done.set_result(None)
            self._next(wire)

        wire.send(request, answered, self._failed)

    def _failed(self, error: BadAnswer) -> None:
        if not self._done.done():
            self._done.set_exception(error)


async def perform(work: Work) -> Load:
    wires = await connect(work.host, work.port, work.connections)
    try:
        if work.rate:
            posts = orders.single_posts(work.prefix, work.start, work.count)
            watchers = await connect(work.host, work.port, work.connections)
            return await paced.Paced(Load(), work.prefix, work.start, list(posts), watchers).over(
                wires, work.rate, work.follow_every, work.seconds_max
            )
        if work.items > 1:
            return await Closed(orders.bulk_posts(work.prefix, work.count, work.items), "bulk").over(wires, work.seconds_max)
        return await Closed(orders.single_posts(work.prefix, work.start, work.count), "single").over(wires, work.seconds_max)
    finally:
        for wire in wires:
            wire.close()


def main() -> None:
    work = msgspec.json.decode(sys.stdin.buffer.read(), type=Work)
    load = uvloop.run(perform(work))
    sys.stdout.buffer.write(msgspec.json.encode(load))
    sys.stdout.buffer.flush()


if __name__ == "__main__":
    main()
