"""The open loop: posts at fixed times, and for every so many of them one read that waits until the row is visible.

Visibility is measured from outside: the 202's command id goes back as `Consistency-Token` with `Prefer: wait`, and the moment
the 200 with the row has arrived is written down. It includes HTTP both ways and a watcher's own waiting for a free
connection, so it is an upper bound of what the house calls visibility (append → visible).
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from typing import TYPE_CHECKING

from bench import orders
from bench.wire import BadAnswer, Wire

if TYPE_CHECKING:
    from bench.load import Load

WAIT_SECONDS = 10
_COMMAND_ID = b'"command_id":"'
_UUID_LENGTH = 36


class Paced:
    """Posts over one pool of connections, watches over another."""

    def __init__(self, load: Load, prefix: str, start: int, posts: list[bytes], watchers: list[Wire]) -> None:
        self.load = load
        self._prefix = prefix
        self._start = start
        self._posts = posts
        self._idle: deque[Wire] = deque()
        self._idle_watchers = deque(watchers)
        self._due: deque[tuple[int, float]] = deque()
        self._to_watch: deque[tuple[int, bytes]] = deque()
        self._open = 0
        self._done = asyncio.get_running_loop().create_future()

    async def over(self, wires: list[Wire], rate: float, follow_every: int, seconds_max: float) -> Load:
        """Run. `load.late_seconds` is the longest a post had to wait for a free connection: large = this is no open loop."""
        self._idle.extend(wires)
        self._follow_every = follow_every
        self._open = len(self._posts) + len(range(0, len(self._posts), follow_every))
        self.load.started_at = time.time()
        begin = time.perf_counter()
        for place in range(len(self._posts)):
            due = begin + place / rate
            pause = due - time.perf_counter()
            if pause > 0:
                await asyncio.sleep(pause)
            self._due.append((place, due))
            self._post_what_is_due()
            if self._done.done():
                break
        try:
            await asyncio.wait_for(self._done, seconds_max)
        except (TimeoutError, BadAnswer) as error:
            self.load.error = f"{type(error).__name__}: {error}; {self._open} requests open"
        self.load.ended_at = time.time()
        return self.load

    def _post_what_is_due(self) -> None:
        while self._due and self._idle:
            place, due = self._due.popleft()
            self.load.late_seconds = max(self.load.late_seconds, time.perf_counter() - due)
            self._post(self._idle.popleft(), place, due)

    def _post(self, wire: Wire, place: int, due: float) -> None:
        def answered(status: int, _head: bytes, body: bytes) -> None:
            self.load.count(status)
            self.load.latencies.append(time.perf_counter() - due)
            if place % self._follow_every == 0:
                at = body.find(_COMMAND_ID) + len(_COMMAND_ID)
                self._to_watch.append((self._start + place, body[at : at + _UUID_LENGTH]))
                self._watch()
            self._idle.append(wire)
            self._post_what_is_due()
            self._settle()

        wire.send(self._posts[place], answered, self._failed)

    def _watch(self) -> None:
        while self._to_watch and self._idle_watchers:
            number, command_id = self._to_watch.popleft()
            self._look(self._idle_watchers.popleft(), number, command_id)

    def _look(self, wire: Wire, number: int, command_id: bytes) -> None:
        begun = time.perf_counter()

        def answered(status: int, _head: bytes, body: bytes) -> None:
            self.load.seen_at[number] = time.time()
            self.load.reads.append(time.perf_counter() - begun)
            if status != 200:
                self._failed(BadAnswer(f"row {number} with its token: {status} {body[:200]!r}"))
            self._idle_watchers.append(wire)
            self._watch()
            self._settle()

        path = f"/views/orders/{orders.order_id(self._prefix, number)}"
        wire.send(orders.get(path, Consistency_Token=command_id.decode(), Prefer=f"wait={WAIT_SECONDS}"), answered, self._failed)

    def _settle(self) -> None:
        self._open -= 1
        if self._open == 0 and not self._done.done():
            self._done.set_result(None)

    def _failed(self, error: BadAnswer) -> None:
        if not self._done.done():
            self._done.set_exception(error)
