"""Commands that no client sends: put into the lanes from threads that fold, perform or watch the clock."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from concurrent.futures import TimeoutError as TooLate
from threading import Thread
from typing import Protocol

from twofold.kernel.envelope import Envelope
from twofold.kernel.errors import Neighbour, Unavailable
from twofold.kernel.ports import CommandQueue

SEND_SECONDS_MAX = 30.0
"""Longer than an outbox takes to say that something is not durable."""
SENT_TOGETHER_MAX = 5_000
"""Fewer than an outbox has room for, whichever lane they are for."""


class Startable(CommandQueue, Protocol):
    """A queue that lives on the event loop it is started on."""

    async def start(self) -> None: ...

    async def close(self) -> None: ...


class Sender:
    """An event loop in a thread of its own, and a queue on it. `send` may be called from any thread."""

    def __init__(self, queue: Startable) -> None:
        self._queue = queue
        self._loop = asyncio.new_event_loop()
        self._thread = Thread(target=self._loop.run_forever, name="sender", daemon=True)

    def __enter__(self) -> Sender:
        self._thread.start()
        self._within(self._queue.start)
        return self

    def __exit__(self, *_: object) -> None:
        try:
            self._within(self._queue.close)
        finally:
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join(SEND_SECONDS_MAX)

    def send(self, envelopes: Sequence[Envelope]) -> None:
        """Return when all of these are durable, in this order within each stream. Raises Unavailable when one may not be: send
        all of them again."""
        for first in range(0, len(envelopes), SENT_TOGETHER_MAX):
            part = envelopes[first : first + SENT_TOGETHER_MAX]
            self._within(lambda part=part: self._put(part))  # type: ignore[misc]

    async def _put(self, envelopes: Sequence[Envelope]) -> None:
        done = await asyncio.gather(*[self._queue.put(envelope) for envelope in envelopes], return_exceptions=True)
        for error in done:
            if isinstance(error, BaseException):
                raise error

    def _within(self, work: Callable[[], object]) -> None:
        running: Future[object] = asyncio.run_coroutine_threadsafe(work(), self._loop)  # type: ignore[arg-type]
        try:
            running.result(SEND_SECONDS_MAX)
        except TooLate as error:
            running.cancel()
            raise Unavailable(Neighbour.LANES, "not durable in time") from error
