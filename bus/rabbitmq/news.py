"""Rings, progress and outcomes on their way to every process that listens: what sends them, and what hears them.

bell.py, progress.py ──> NewsSender ──> exchange {prefix}.rings ──> NewsListener ──> callbacks, on the bell's thread
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from functools import partial
from itertools import islice
from threading import Lock
from typing import Any

import msgspec
import pika
import structlog

from twofold.bus.listeners import Listeners
from twofold.bus.rabbitmq.connection import AsyncChannel
from twofold.bus.rabbitmq.topology import ADVANCED, NEWS, OUTCOMES, RING, RING_QUEUE_ARGUMENTS, rings_exchange
from twofold.kernel.outcome import Outcome
from twofold.kernel.ports import Stop
from twofold.kernel.rows import Progress

OUTCOMES_KEPT_MAX = 10_000
OUTCOMES_SENT_MAX = 500
TRANSIENT = pika.BasicProperties(delivery_mode=1, content_type="application/json")


class NewsSender:
    """Merges whatever is not sent yet with what comes after it. `ring`, `advanced` and `tell` may be called from any thread.

    Sends on the bell's own loop, over a connection that consumes nothing, since an alarm blocks publishers. Transient, without
    confirms: while the broker is away the latest is kept and the rest is dropped. `is_used` is set, on the loop, when there is
    something to send for the first time: then it is time to connect.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, prefix: str) -> None:
        self._loop = loop
        self._exchange = rings_exchange(prefix)
        self._encoder = msgspec.json.Encoder()
        self._channel: AsyncChannel | None = None
        self.is_used = asyncio.Event()
        self._merging = Lock()
        self._is_woken = False
        self._position = 0
        self._progress: dict[tuple[str, int, int], Progress] = {}
        self._outcomes: deque[Outcome] = deque(maxlen=OUTCOMES_KEPT_MAX)

    def ring(self, position: int) -> None:
        with self._merging:
            self._position = max(self._position, position)
            self._wake()

    def advanced(self, progress: Sequence[Progress]) -> None:
        with self._merging:
            for step in progress:
                self._progress[step.view, step.generation, step.slice] = step
            self._wake()

    def tell(self, outcomes: Sequence[Outcome]) -> None:
        with self._merging:
            self._outcomes.extend(outcomes)
            self._wake()

    async def use(self, channel: AsyncChannel) -> None:
        """The broker is there, again: send what was kept, and from now on at once."""
        await channel.call("exchange_declare", self._exchange, "direct", durable=True)
        self._channel = channel
        self._send()

    def _wake(self) -> None:
        if self._is_woken:
            return
        self._is_woken = True
        try:
            self._loop.call_soon_threadsafe(self._send)
        except RuntimeError:
            return  # the bell was closed: a ring may be lost

    def _send(self) -> None:
        self.is_used.set()
        channel = self._channel
        if channel is None or channel.closed.done() or channel.blocked_since is not None:
            with self._merging:
                self._is_woken = False
            return
        with self._merging:
            self._is_woken = False
            position, self._position = self._position, 0
            progress, self._progress = self._progress, {}
            outcomes, self._outcomes = self._outcomes, deque(maxlen=OUTCOMES_KEPT_MAX)
        # The outcomes first: who has asked for one waits for it, who hears a ring only begins to read.
        waiting = iter(outcomes)
        while some := list(islice(waiting, OUTCOMES_SENT_MAX)):
            self._publish(channel, OUTCOMES, some)
        if position:
            self._publish(channel, RING, position)
        if progress:
            self._publish(channel, ADVANCED, list(progress.values()))

    def _publish(self, channel: AsyncChannel, key: str, news: Any) -> None:
        try:
            channel.pika.basic_publish(self._exchange, key, self._encoder.encode(news), TRANSIENT)
        except pika.exceptions.AMQPError:
            return  # lost in this moment: a ring may be


class NewsListener:
    """One exclusive queue for each kind of news that somebody in this process listens to. The queues are short and drop their
    oldest message, and they go with the connection: what was missed was a hint.

    Callbacks are called on the bell's own thread and must return at once.
    """

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
        declared = await channel.call("queue_declare", "", exclusive=True, auto_delete=True, arguments=RING_QUEUE_ARGUMENTS)
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
