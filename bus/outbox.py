"""The gateway's end of the lanes: commands that arrive together leave together, in order, and are accepted when durable.

Each lane has one publish in flight, so a repeated publish can never overtake or be overtaken:

    put ──> waiting ── gather ──> publish ── durable ──> futures done
                                   │   ^
                                   └───┘ not known to be durable: the same batch again, until ACCEPT_SECONDS_MAX

Who would wait too long for a worker is refused (lane.py). The first command after a pause leaves at once. Under load a batch
leaves with the next tick of the window, or when the last one is durable, whichever is later. When the lanes' epoch is over, what
is not durable goes to the lanes of the next one, in order.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from heapq import merge
from math import inf

import structlog

from twofold.bus.lane import BATCH_COMMANDS_MAX, ENVELOPE_BYTES, Lane, Waiting
from twofold.bus.publishing import EpochIsOver, Publisher
from twofold.kernel.backoff import Backoff
from twofold.kernel.envelope import Envelope, encode_batch
from twofold.kernel.errors import Neighbour, Unavailable
from twofold.kernel.ids import lane_of
from twofold.kernel.lanes import Epoch
from twofold.kernel.outcome import Outcome

PENDING_COMMANDS_MAX = 20_000
PENDING_BYTES_MAX = 64 * 1024 * 1024
ACCEPT_SECONDS_MAX = 10.0
"""How long a command may wait to become durable, from when it was put: then its client is told that it may not be."""
QUEUE_SECONDS_MAX = 30.0
"""How long a command may have to wait for its worker; who would wait longer is refused."""
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


class Outbox:
    """Port CommandQueue, on the event loop that calls `start`."""

    def __init__(self, publisher: Publisher, epoch: Epoch, queue_seconds_max: float = QUEUE_SECONDS_MAX) -> None:
        self._publisher = publisher
        self._queue_seconds_max = queue_seconds_max
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
        lane = self._lane(envelope.stream)
        if self._is_closing:
            accepted.set_exception(Unavailable(Neighbour.LANES, "closing"))
        elif not lane.has_room(size):
            accepted.set_exception(_full())
        elif (refusal := lane.queue.refusal(now, self._queue_seconds_max)) is not None:
            accepted.set_exception(refusal)
        else:
            lane.add(Waiting(envelope, accepted, size, now + ACCEPT_SECONDS_MAX))
        return accepted

    def refusal(self) -> Unavailable | None:
        if self._is_closing:
            return Unavailable(Neighbour.LANES, "closing")
        if not any(lane.has_room() for lane in self._lanes):
            return _full()
        return self._publisher.refusal()

    def decided(self, outcomes: Sequence[Outcome]) -> None:
        """These have outcomes: what was heard, whoever accepted them."""
        now = asyncio.get_running_loop().time()
        for outcome in outcomes:
            self._lane(outcome.stream).queue.decided(outcome.command_id, now)

    def overdue(self, since_seconds: float) -> list[str]:
        """Commands to look up, without which one does not know how long a lane's queue is: they left so long ago."""
        now = asyncio.get_running_loop().time()
        return [command_id for lane in self._lanes for command_id in lane.queue.overdue(now, since_seconds)]

    def queue_seconds(self) -> dict[int, float]:
        """By lane, how long a command put now would wait for its worker, as far as this gateway knows."""
        now = asyncio.get_running_loop().time()
        return {number: lane.queue.seconds(now) for number, lane in enumerate(self._lanes)}

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
            lane.settle(list(lane.waiting), Unavailable(Neighbour.LANES, "closing"))
            lane.waiting.clear()
        await self._publisher.close()

    def _take_lanes(self, epoch: Epoch) -> None:
        self._epoch = epoch
        commands_max, bytes_max = PENDING_COMMANDS_MAX // epoch.lane_count, PENDING_BYTES_MAX // epoch.lane_count
        self._lanes = [Lane(commands_max, bytes_max) for _ in epoch.lanes]

    def _lane(self, stream: str) -> Lane:
        return self._lanes[lane_of(stream, len(self._lanes))]

    def _run_lanes(self) -> None:
        self._tasks = [asyncio.create_task(self._run(*one)) for one in zip(self._epoch.lanes, self._lanes, strict=True)]

    async def _stop_lanes(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _move(self, newest: Epoch) -> None:
        """Nothing is published to the new lanes before what is under way to the old ones is durable, or waits again, in front."""
        await self._stop_lanes()
        waiting = merge(*(lane.waiting for lane in self._lanes), key=lambda one: one.deadline)
        self._take_lanes(newest)
        for one in waiting:
            self._lane(one.envelope.stream).add(one)
        self._run_lanes()

    def _count(self, now: float) -> None:
        """Take the rate of commands, and the window from it."""
        self._counted += 1
        if (elapsed_seconds := now - self._counted_since) >= RATE_SECONDS:
            share = self._counted / elapsed_seconds / COMMANDS_PER_SECOND_AT_MAX
            self._window_seconds = min(WINDOW_SECONDS_MAX, max(WINDOW_SECONDS_MIN, WINDOW_SECONDS_MAX * share))
            self._counted, self._counted_since = 0, now

    async def _run(self, number: int, lane: Lane) -> None:
        loop = asyncio.get_running_loop()
        left_at = 0.0
        while True:
            await lane.arrived.wait()
            gather_seconds = _next_tick(left_at, self._window_seconds) - loop.time()
            if gather_seconds > 0 and len(lane.waiting) < BATCH_COMMANDS_MAX:
                await asyncio.sleep(gather_seconds)
            left_at = loop.time()
            if late := lane.take_late(left_at):
                lane.settle(late, _late())
            batch = lane.take()
            if not batch:
                continue
            if self._queue_seconds_max < inf:
                lane.queue.leaves(batch, left_at)
            try:
                await self._publish(number, batch)
            except Unavailable as error:
                lane.queue.came_back(batch)
                lane.settle(batch, error)
            except (asyncio.CancelledError, EpochIsOver) as end:
                lane.waiting.extendleft(reversed(batch))
                if isinstance(end, EpochIsOver) and (self._moving is None or self._moving.done()):
                    self._moving = asyncio.create_task(self._move(end.newest))
                return
            except Exception as bug:
                structlog.get_logger().error("publishing failed", lane=number, commands=len(batch), error=type(bug).__name__)
                lane.queue.came_back(batch)
                lane.settle(batch, bug)
            else:
                lane.settle(batch, None)

    async def _publish(self, number: int, batch: list[Waiting]) -> None:
        """The same body, again and again, until it is durable or its time is up."""
        body = encode_batch([waiting.envelope for waiting in batch])
        loop = asyncio.get_running_loop()
        deadline = batch[0].deadline
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


def _next_tick(left_at: float, window_seconds: float) -> float:
    """When the lane may leave again: at the clock's next multiple of the window, so that lanes leave together and what
    they carry reaches the worker as one delivery, which is one transaction."""
    return (left_at // window_seconds + 1) * window_seconds


def _full() -> Unavailable:
    return Unavailable(Neighbour.LANES, "too many commands wait", is_overload=True)


def _late() -> Unavailable:
    return Unavailable(Neighbour.LANES, "not durable in time")
