"""Hears rings and outcomes: one exclusive queue for each kind of news that somebody in this process listens to.

The queues are short and drop their oldest message, and they go with the connection: what was missed was a hint.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Any

import msgspec
import structlog

from twofold.bus.listeners import Listeners
from twofold.bus.rabbitmq.bell_sender import ADVANCED, OUTCOMES, RING
from twofold.bus.rabbitmq.connection import AsyncChannel
from twofold.bus.rabbitmq.topology import rings_exchange
from twofold.kernel.outcome import Outcome
from twofold.kernel.ports import Stop
from twofold.kernel.rows import Progress

QUEUE_MESSAGES_MAX = 1_000
QUEUE_ARGUMENTS = {"x-max-length": QUEUE_MESSAGES_MAX, "x-overflow": "drop-head"}
NEWS: dict[str, Any] = {RING: int, ADVANCED: list[Progress], OUTCOMES: list[Outcome]}


class RingListener:
    """Callbacks are called on the bell's own thread and must return at once."""

    def __init__(self, loop: asyncio.AbstractEventLoop, prefix: str) -> None:
        self._loop = loop
        self._exchange = rings_exchange(prefix)
        self._decoders = {key: msgspec.json.Decoder(news) for key, news in NEWS.items()}
        self._listeners = {key: Listeners() for key in NEWS}
        self._wanted: set[str] = set()
        self.is_used = asyncio.Event()
        self._changed = asyncio.Event()

    def listen(self, key: str, callback: Callable[[Any], None]) -> Stop:
        stop = self._listeners[key].add(callback)
        self._loop.call_soon_threadsafe(self._want, key)
        return stop

    async def use(self, channel: AsyncChannel) -> None:
        """Subscribe to what is wanted, now and whenever something more is, until the channel is lost."""
        await channel.call("exchange_declare", self._exchange, "direct", durable=True)
        subscribed: set[str] = set()
        while channel.is_open:
            self._changed.clear()
            for key in self._wanted - subscribed:
                await self._subscribe(channel, key)
                subscribed.add(key)
            changed = asyncio.create_task(self._changed.wait())
            waited_for: list[asyncio.Future[Any]] = [changed, channel.closed]
            try:
                await asyncio.wait(waited_for, return_when=asyncio.FIRST_COMPLETED)
            finally:
                changed.cancel()

    def _want(self, key: str) -> None:
        self._wanted.add(key)
        self.is_used.set()
        self._changed.set()

    async def _subscribe(self, channel: AsyncChannel, key: str) -> None:
        declared = await channel.call("queue_declare", "", exclusive=True, auto_delete=True, arguments=QUEUE_ARGUMENTS)
        queue = declared.method.queue
        await channel.call("queue_bind", queue, self._exchange, routing_key=key)
        await channel.call("basic_consume", queue, partial(self._on_message, key), auto_ack=True, exclusive=True)

    def _on_message(self, key: str, _channel: Any, _method: Any, _properties: Any, body: bytes) -> None:
        try:
            news = self._decoders[key].decode(body)
        except msgspec.MsgspecError:
            structlog.get_logger().warning("a ring was not understood", key=key, bytes=len(body))
            return
        self._listeners[key].call(news)
