"""Rings and outcomes between processes, through RabbitMQ. One thread with an event loop, which connects when first needed.

What a worker tells after its commit is here, what a projector tells after its own in progress.py; news.py sends and hears both.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from threading import Thread

from twofold.bus.listeners import stop_all
from twofold.bus.rabbitmq.connection import keep_connected
from twofold.bus.rabbitmq.news import NewsListener, NewsSender
from twofold.bus.rabbitmq.progress import RabbitProgress
from twofold.bus.rabbitmq.topology import ADVANCED, OUTCOMES, RING, parameters
from twofold.kernel.outcome import Outcome
from twofold.kernel.ports import Stop
from twofold.kernel.rows import Progress

CLOSE_SECONDS_MAX = 5.0


class RabbitBell:
    """The ports `bell` and `outcomes` of one process. Raises Misconfigured for what is not an AMQP URL; a broker that is away
    is waited for in the background."""

    def __init__(self, url: str, prefix: str) -> None:
        self._sending = parameters(url, "rings out")
        self._listening = parameters(url, "rings in")
        self._loop = asyncio.new_event_loop()
        self._sender = NewsSender(self._loop, prefix)
        self._listener = NewsListener(self._loop, prefix)
        self.bell = RabbitRings(self._sender, self._listener)
        self.outcomes = RabbitOutcomes(self._sender, self._listener)
        self._tasks: list[asyncio.Task[None]] = []
        self._thread = Thread(target=self._run, name="bell", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Send what is left, if the broker is there, and disconnect."""
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._cancel)
            self._thread.join(CLOSE_SECONDS_MAX)

    def _run(self) -> None:
        self._tasks = [
            self._loop.create_task(_when_used(self._sender.is_used, partial(keep_connected, self._sending, self._sender.use))),
            self._loop.create_task(
                _when_used(self._listener.is_used, partial(keep_connected, self._listening, self._listener.use))
            ),
        ]
        self._loop.run_until_complete(asyncio.gather(*self._tasks, return_exceptions=True))
        self._loop.close()

    def _cancel(self) -> None:
        if self._sender.is_used.is_set():
            self._sender.send()
        for task in self._tasks:
            task.cancel()


class RabbitRings:
    """Port Bell."""

    def __init__(self, sender: NewsSender, listener: NewsListener) -> None:
        self._sender = sender
        self._listener = listener
        self.advanced = RabbitProgress(sender).advanced

    def ring(self, position: int) -> None:
        self._sender.ring(position)

    def listen(
        self, on_ring: Callable[[int], None] | None = None, on_advanced: Callable[[Sequence[Progress]], None] | None = None
    ) -> Stop:
        stops = []
        if on_ring is not None:
            stops.append(self._listener.listen(RING, on_ring))
        if on_advanced is not None:
            stops.append(self._listener.listen(ADVANCED, on_advanced))
        return partial(stop_all, stops)


class RabbitOutcomes:
    """Port Outcomes."""

    def __init__(self, sender: NewsSender, listener: NewsListener) -> None:
        self._sender = sender
        self._listener = listener

    def tell(self, outcomes: Sequence[Outcome]) -> None:
        self._sender.tell(outcomes)

    def listen(self, on_outcomes: Callable[[Sequence[Outcome]], None]) -> Stop:
        return self._listener.listen(OUTCOMES, on_outcomes)


async def _when_used(is_used: asyncio.Event, connect: Callable[[], Awaitable[None]]) -> None:
    await is_used.wait()
    await connect()
