"""The gateway's end of the lanes: commands that arrive together leave together, in order, and are accepted when durable.

Each lane has one publish in flight, so a repeated publish can never overtake or be overtaken:

    put ──> waiting ── gather ──> publish ── durable ──> futures done
                                   │   ^
                                   └───┘ not known to be durable: the same batch again, until ACCEPT_SECONDS_MAX

The first command after a pause leaves at once. Under load a batch leaves with the next tick of the window, or when the last one
is durable, whichever is later. When the lanes' epoch is over, what is not durable goes to the lanes of the next one, in order.
"""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass, field
from heapq import merge
from typing import NamedTuple

import structlog

from twofold.bus.publishing import EpochIsOver, Publisher
from twofold.kernel.backoff import Backoff
from twofold.kernel.envelope import Envelope, encode_batch
from twofold.kernel.errors import Neighbour, Unavailable
from twofold.kernel.ids import lane_of
from twofold.kernel.lanes import Epoch

BATCH_COMMANDS_MAX = 500
BATCH_BYTES_MAX = 1024 * 1024
PENDING_COMMANDS_MAX = 20_000
PENDING_BYTES_MAX = 64 * 1024 * 1024
ENVELOPE_BYTES = 400  # beside its data, about
ACCEPT_SECONDS_MAX = 10.0
"""How long a command may wait to become durable, from when it was put: then its client is told that it may not be."""
RETRY_SECONDS_MIN = 0.05
RETRY_SECONDS_MAX = 0.5
CLOSE_SECONDS_MAX = 5.0
WINDOW_SECONDS_MIN = 0.002
WINDOW_SECONDS_MAX = 0.010
COMMANDS_PER_SECOND_AT_MAX = 500
"""The window follows the rate of commands: this many, or more, gather for as long as may be. A message costs everybody about
the same whatever it carries: at a quarter of full load messages of one command each would use up the machine (decision 8)."""
RATE_SECONDS = 0.05
"""Over how long the rate is taken."""


class _Waiting(NamedTuple):
    envelope: Envelope
    accepted: asyncio.Future[None]
    size: int
    put_at: float


@dataclass(slots=True)
class _Lane:
    waiting: deque[_Waiting] = field(default_factory=deque)
    arrived: asyncio.Event = field(default_factory=asyncio.Event)
    pending_commands: int = 0
    pending_bytes: int = 0
    """What waits or is under way. Every lane has its share of the room: one that is stuck takes none from the others."""

    def add(self, waiting: _Waiting) -> None:
        self.pending_commands += 1
        self.pending_bytes += waiting.size
        self.waiting.append(waiting)
        self.arrived.set()


class Outbox:
    """Port CommandQueue, on the event loop that calls `start`."""

    def __init__(self, publisher: Publisher, epoch: Epoch) -> None:
        self._publisher = publisher
        self._take_lanes(epoch)
        self._tasks: list[asyncio.Task[None]] = []
        self._moving: asyncio.Task[None] | None = None
        self._is_closing = False
        self._window_seconds = WINDOW_SECONDS_MIN
        self._counted = 0
        self._counted_since = 0.0

    async def start(self) -> None:
        await self._publisher.start()
        self._run_lanes()

    def put(self, envelope: Envelope) -> asyncio.Future[None]:
        loop = asyncio.get_running_loop()
        now = loop.time()
        self._count(now)
        accepted: asyncio.Future[None] = loop.create_future()
        size = memoryview(envelope.data).nbytes + ENVELOPE_BYTES
        lane = self._lanes[lane_of(envelope.stream, len(self._lanes))]
        if self._is_closing:
            accepted.set_exception(Unavailable(Neighbour.LANES, "closing"))
        elif not self._has_room(lane, size):
            accepted.set_exception(_full())
        else:
            lane.add(_Waiting(envelope, accepted, size, now))
        return accepted

    def refusal(self) -> Unavailable | None:
        if self._is_closing:
            return Unavailable(Neighbour.LANES, "closing")
        if not any(self._has_room(lane, 0) for lane in self._lanes):
            return _full()
        return self._publisher.refusal()

    async def close(self) -> None:
        """Refuse new commands, give those that wait CLOSE_SECONDS_MAX to become durable, and fail the rest."""
        self._is_closing = True
        loop = asyncio.get_running_loop()
        deadline = loop.time() + CLOSE_SECONDS_MAX
        while any(lane.pending_commands for lane in self._lanes) and loop.time() < deadline:
            await asyncio.sleep(WINDOW_SECONDS_MIN)
        if self._moving is not None:
            self._moving.cancel()
        await self._stop_lanes()
        for lane in self._lanes:
            self._settle(lane, list(lane.waiting), Unavailable(Neighbour.LANES, "closing"))
            lane.waiting.clear()
        await self._publisher.close()

    def _take_lanes(self, epoch: Epoch) -> None:
        self._epoch = epoch
        self._lanes = [_Lane() for _ in epoch.lanes]
        self._lane_commands_max = PENDING_COMMANDS_MAX // epoch.lane_count
        self._lane_bytes_max = PENDING_BYTES_MAX // epoch.lane_count

    def _run_lanes(self) -> None:
        self._tasks = [asyncio.create_task(self._run(*one)) for one in zip(self._epoch.lanes, self._lanes, strict=True)]

    async def _stop_lanes(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _move(self, newest: Epoch) -> None:
        """Nothing is published to the new lanes before what is under way to the old ones is durable, or waits again, in front."""
        await self._stop_lanes()
        waiting = merge(*(lane.waiting for lane in self._lanes), key=lambda one: one.put_at)
        self._take_lanes(newest)
        for one in waiting:
            self._lanes[lane_of(one.envelope.stream, newest.lane_count)].add(one)
        self._run_lanes()

    def _count(self, now: float) -> None:
        """Take the rate of commands, and the window from it."""
        self._counted += 1
        if (elapsed_seconds := now - self._counted_since) >= RATE_SECONDS:
            share = self._counted / elapsed_seconds / COMMANDS_PER_SECOND_AT_MAX
            self._window_seconds = min(WINDOW_SECONDS_MAX, max(WINDOW_SECONDS_MIN, WINDOW_SECONDS_MAX * share))
            self._counted, self._counted_since = 0, now

    def _has_room(self, lane: _Lane, size: int) -> bool:
        return lane.pending_commands < self._lane_commands_max and lane.pending_bytes + size <= self._lane_bytes_max

    async def _run(self, number: int, lane: _Lane) -> None:
        loop = asyncio.get_running_loop()
        left_at = 0.0
        while True:
            await lane.arrived.wait()
            gather_seconds = _next_tick(left_at, self._window_seconds) - loop.time()
            if gather_seconds > 0 and len(lane.waiting) < BATCH_COMMANDS_MAX:
                await asyncio.sleep(gather_seconds)
            left_at = loop.time()
            if lane.waiting[0].put_at + ACCEPT_SECONDS_MAX <= left_at:
                self._settle(lane, _take_late(lane, left_at), _late())
            batch = _take(lane)
            if not batch:
                continue
            try:
                await self._publish(number, batch)
            except Unavailable as error:
                self._settle(lane, batch, error)
            except (asyncio.CancelledError, EpochIsOver) as end:
                lane.waiting.extendleft(reversed(batch))
                if isinstance(end, EpochIsOver) and (self._moving is None or self._moving.done()):
                    self._moving = asyncio.create_task(self._move(end.newest))
                return
            except Exception as bug:
                structlog.get_logger().error("publishing failed", lane=number, commands=len(batch), error=type(bug).__name__)
                self._settle(lane, batch, bug)
            else:
                self._settle(lane, batch, None)

    async def _publish(self, number: int, batch: list[_Waiting]) -> None:
        """The same body, again and again, until it is durable or its time is up."""
        body = encode_batch([waiting.envelope for waiting in batch])
        loop = asyncio.get_running_loop()
        deadline = batch[0].put_at + ACCEPT_SECONDS_MAX
        backoff: Backoff | None = None
        refusal: Unavailable | None = None
        while True:
            try:
                async with asyncio.timeout_at(deadline):
                    return await self._publisher.publish(number, body)
            except (Unavailable, TimeoutError) as error:
                refusal = error if isinstance(error, Unavailable) else refusal
                backoff = backoff or Backoff(RETRY_SECONDS_MIN, RETRY_SECONDS_MAX)
                pause_seconds = backoff.failed()
                if loop.time() + pause_seconds >= deadline:
                    raise (refusal.again() if refusal else _late()) from error
                await asyncio.sleep(pause_seconds)

    def _settle(self, lane: _Lane, batch: list[_Waiting], error: Exception | None) -> None:
        for waiting in batch:
            lane.pending_commands -= 1
            lane.pending_bytes -= waiting.size
            if waiting.accepted.done():
                pass  # whoever asked has gone; the command has not
            elif error is None:
                waiting.accepted.set_result(None)
            else:
                waiting.accepted.set_exception(error.again() if isinstance(error, Unavailable) else error)


def _next_tick(left_at: float, window_seconds: float) -> float:
    """When the lane may leave again: at the clock's next multiple of the window, so that lanes leave together and what
    they carry reaches the worker as one delivery, which is one transaction."""
    return (left_at // window_seconds + 1) * window_seconds


def _full() -> Unavailable:
    return Unavailable(Neighbour.LANES, "too many commands wait", is_overload=True)


def _late() -> Unavailable:
    return Unavailable(Neighbour.LANES, "not durable in time")


def _take_late(lane: _Lane, now: float) -> list[_Waiting]:
    """Those whose time is up before they could leave: what was before them took all of it."""
    late: list[_Waiting] = []
    while lane.waiting and lane.waiting[0].put_at + ACCEPT_SECONDS_MAX <= now:
        late.append(lane.waiting.popleft())
    return late


def _take(lane: _Lane) -> list[_Waiting]:
    """The next batch; empty when nothing waits."""
    batch: list[_Waiting] = []
    size = 0
    while lane.waiting and len(batch) < BATCH_COMMANDS_MAX and (not batch or size + lane.waiting[0].size <= BATCH_BYTES_MAX):
        batch.append(lane.waiting.popleft())
        size += batch[-1].size
    if not lane.waiting:
        lane.arrived.clear()
    return batch
