"""Makes batches durable in the embedded lane table. What the lanes publish in the same moment is put in one transaction.

Batches come from the Outbox on the event loop; the table's blocking `put` runs in one thread of its own.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from twofold.bus.outbox import QUEUE_SECONDS_MAX, Outbox
from twofold.kernel.errors import Unavailable
from twofold.kernel.lanes import Epoch, LaneTable


def command_queue(
    lane_table: LaneTable, lanes: int, on_put: Callable[[], None], queue_seconds_max: float = QUEUE_SECONDS_MAX
) -> Outbox:
    """The gateway's end; `on_put` is called when something was put: EmbeddedBroker.wake."""
    return Outbox(LanePublisher(lane_table, on_put), Epoch(0, lanes), queue_seconds_max)


class LanePublisher:
    """A Publisher over a LaneTable. `on_put` is called after every commit, to wake the consumer in the same process."""

    def __init__(self, lane_table: LaneTable, on_put: Callable[[], None]) -> None:
        self._lane_table = lane_table
        self._on_put = on_put
        self._gathered: list[tuple[int, bytes, asyncio.Future[None]]] = []
        self._putting: asyncio.Task[None] | None = None
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="lane-publisher")

    async def start(self) -> None:
        pass

    async def publish(self, lane: int, body: bytes) -> None:
        durable: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._gathered.append((lane, body, durable))
        if self._putting is None:
            self._putting = asyncio.create_task(self._put_gathered())
        await durable

    def refusal(self) -> Unavailable | None:
        return None

    async def close(self) -> None:
        if self._putting is not None:
            await self._putting
        self._thread.shutdown()

    async def _put_gathered(self) -> None:
        """Until nothing is left: at most one batch of each lane at a time, so this is bounded by the number of lanes."""
        while self._gathered:
            gathered, self._gathered = self._gathered, []
            batches = [(lane, body) for lane, body, _ in gathered]
            error: Exception | None = None
            try:
                await asyncio.get_running_loop().run_in_executor(self._thread, self._lane_table.put, batches)
                self._on_put()
            except Exception as failure:
                error = failure
            for _, _, durable in gathered:
                if durable.done():
                    continue
                if error is None:
                    durable.set_result(None)
                else:
                    durable.set_exception(error.again() if isinstance(error, Unavailable) else error)
        self._putting = None
