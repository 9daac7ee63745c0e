"""Blocking ports on a few threads, so that the event loop never waits; what waits together is read together.

    many requests ── load(key) ──> waiting ── one call for all of them, at most two such calls at a time ──> answers

A read that has begun takes no more keys: whoever asks after it began may have seen a newer write than it shows.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from itertools import islice
from typing import Any, Generic, TypeVar

from twofold.kernel.errors import Neighbour, Unavailable

THREADS = 8
PENDING_MAX = 2_000
"""Calls waiting for a thread; more than that means that the database does not keep up, and is answered with 503."""
READ_SECONDS_MAX = 15.0
IN_FLIGHT_MAX = 2
"""Calls of one kind at a time: one on the wire while the other gathers its answer."""
BATCH_KEYS_MAX = 500

T = TypeVar("T")
K = TypeVar("K")
V = TypeVar("V")


class Threads:
    """A bounded pool for blocking calls."""

    def __init__(self, threads: int = THREADS) -> None:
        self.count = threads
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="gateway-read")
        self._pending = 0

    async def run(self, call: Callable[[], T]) -> T:
        """What the call returns or raises. Raises Unavailable when too many wait already, or it takes too long."""
        if self._pending >= PENDING_MAX:
            raise Unavailable(Neighbour.GATEWAY, "too many reads wait", is_overload=True)
        self._pending += 1
        future = asyncio.get_running_loop().run_in_executor(self._pool, call)
        future.add_done_callback(self._finished)
        try:
            async with asyncio.timeout(READ_SECONDS_MAX):
                return await future
        except TimeoutError as error:
            raise Unavailable(Neighbour.GATEWAY, "a read took too long") from error
        finally:
            del future  # it holds the error, whose traceback holds this frame

    def close(self) -> None:
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _finished(self, future: asyncio.Future[T]) -> None:
        self._pending -= 1
        if not future.cancelled():
            future.exception()


class BatchLoader(Generic[K, V]):
    """Look-ups by key. `read` is blocking, is called on a thread with distinct keys, and may leave out what it does not find."""

    def __init__(
        self,
        threads: Threads,
        read: Callable[[list[K]], Mapping[K, V]],
        keys_max: int = BATCH_KEYS_MAX,
        pending_max: int = PENDING_MAX,
        is_apart: bool = False,
    ) -> None:
        """`is_apart`: each key in a call of its own, as many at a time as there are threads: for what takes long, or fails, for
        one key and not for another."""
        self._threads = threads
        self._read = read
        self._keys_max = 1 if is_apart else keys_max
        self._in_flight_max = threads.count if is_apart else IN_FLIGHT_MAX
        self._pending_max = pending_max
        self._waiting: dict[K, list[asyncio.Future[V | None]]] = {}
        self._in_flight: set[asyncio.Task[None]] = set()
        self._is_scheduled = False

    async def load(self, key: K) -> V | None:
        """What there is under this key, read after this call; None when nothing is."""
        if len(self._waiting) >= self._pending_max and key not in self._waiting:
            raise Unavailable(Neighbour.GATEWAY, "too many reads wait", is_overload=True)
        loop = asyncio.get_running_loop()
        future: asyncio.Future[V | None] = loop.create_future()
        self._waiting.setdefault(key, []).append(future)
        if not self._is_scheduled and len(self._in_flight) < self._in_flight_max:
            self._is_scheduled = True
            loop.call_soon(self._start_batch)
        try:
            return await future
        finally:
            del future  # as above

    def _start_batch(self) -> None:
        """One turn of the loop after the first has come, so that all who came in the same turn are in one batch."""
        self._is_scheduled = False
        keys = list(islice(self._waiting, self._keys_max))
        batch = {key: self._waiting.pop(key) for key in keys}
        task = asyncio.get_running_loop().create_task(self._load_batch(batch))
        self._in_flight.add(task)
        task.add_done_callback(self._end_batch)
        if self._waiting and len(self._in_flight) < self._in_flight_max:
            self._is_scheduled = True
            task.get_loop().call_soon(self._start_batch)

    def _end_batch(self, task: asyncio.Task[None]) -> None:
        self._in_flight.discard(task)
        if self._waiting and not self._is_scheduled:
            self._is_scheduled = True
            task.get_loop().call_soon(self._start_batch)

    async def _load_batch(self, batch: dict[K, list[asyncio.Future[V | None]]]) -> None:
        try:
            found = await self._threads.run(lambda: self._read(list(batch)))
        except BaseException as error:
            for future in (future for futures in batch.values() for future in futures if not future.done()):
                if isinstance(error, Exception):
                    future.set_exception(error.again() if isinstance(error, Unavailable) else error)
                else:
                    future.cancel()
            if not isinstance(error, Exception):
                raise
            return
        for key, futures in batch.items():
            for future in futures:
                if not future.done():
                    future.set_result(found.get(key))


def on_loop(loop: asyncio.AbstractEventLoop, hear: Callable[[T], None]) -> Callable[[T], None]:
    """What another thread calls to be heard on the loop; news that come while the loop closes are nobody's."""

    def pass_on(news: T) -> None:
        with suppress(RuntimeError):
            loop.call_soon_threadsafe(hear, news)

    return pass_on


def tell_bug(task: asyncio.Task[Any]) -> None:
    """When a task is done that nobody may be waiting for. A neighbour that is away is told to whoever asks; bugs stay loud."""
    if not task.cancelled():
        error = task.exception()
        if error is not None and not isinstance(error, Unavailable):
            task.get_loop().call_exception_handler({"message": task.get_name(), "exception": error, "task": task})
