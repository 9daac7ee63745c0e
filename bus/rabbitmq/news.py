"""Rings, progress and outcomes on their way to every process that listens: what sends them, and what hears them.

bell.py, progress.py ──> NewsSender ──> exchange {prefix}.rings ──> NewsListener ──> callbacks, on the bell's thread

A message costs about the same whatever is in it. So what a worker tells after a commit is one, and each process has one queue, in
which it gets that once, whether it listens to rings, to outcomes, or to both.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from itertools import islice
from threading import Lock
from typing import Any

import msgspec
import pika
import structlog

from twofold.bus.listeners import Listeners
from twofold.bus.rabbitmq.connection import AsyncChannel
from twofold.bus.rabbitmq.topology import (
    ADVANCED,
    APPENDED,
    NEWS,
    OUTCOMES,
    RING,
    RING_QUEUE_ARGUMENTS,
    News,
    rings_exchange,
)
from twofold.kernel.outcome import Outcome
from twofold.kernel.ports import Stop
from twofold.kernel.rows import Progress

OUTCOMES_KEPT_MAX = 10_000
OUTCOMES_SENT_MAX = 500
RING_SECONDS = 0.001
"""How long a ring waits for the outcomes that it can travel with: a worker tells them next."""
TRANSIENT = pika.BasicProperties(delivery_mode=1, content_type="application/json")


class _Rung(msgspec.Struct):
    """What those make of `News` who do not listen to outcomes: what those are is not even decoded."""

    position: int = 0


_RUNG = msgspec.json.Decoder(_Rung)


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
        self._is_woken = self._is_due = False
        self._position = 0
        self._progress: dict[tuple[str, int, int], Progress] = {}
        self._outcomes: deque[Outcome] = deque(maxlen=OUTCOMES_KEPT_MAX)

    def ring(self, position: int) -> None:
        with self._merging:
            self._position = max(self._position, position)
            if not self._is_woken and not self._is_due:
                self._is_due = True
                self._call(self._loop.call_later, RING_SECONDS, self.send)

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
        self.send()

    def _wake(self) -> None:
        if self._is_woken:
            return
        self._is_woken = True
        self._call(self.send)

    def _call(self, call: Callable[..., Any], *arguments: Any) -> None:
        try:
            self._loop.call_soon_threadsafe(call, *arguments)
        except RuntimeError:
            return  # the bell was closed: a ring may be lost

    def send(self) -> None:
        """What there is, now. On the loop."""
        self.is_used.set()
        channel = self._channel
        if channel is None or channel.closed.done() or channel.blocked_since is not None:
            with self._merging:
                self._is_woken = self._is_due = False
            return
        with self._merging:
            self._is_woken = self._is_due = False
            position, self._position = self._position, 0
            progress, self._progress = self._progress, {}
            outcomes, self._outcomes = self._outcomes, deque(maxlen=OUTCOMES_KEPT_MAX)
        waiting = iter(outcomes)
        while (some := list(islice(waiting, OUTCOMES_SENT_MAX))) or position:
            self._publish(channel, APPENDED, News(position, some))
            position = 0
        if progress:
            self._publish(channel, ADVANCED, list(progress.values()))

    def _publish(self, channel: AsyncChannel, key: str, news: Any) -> None:
        try:
            channel.pika.basic_publish(self._exchange, key, self._encoder.encode(news), TRANSIENT)
        except pika.exceptions.AMQPError:
            return  # lost in this moment: a ring may be


class NewsListener:
    """One exclusive queue for all news that somebody in this process listens to. It is short and drops its oldest message, and it
    goes with the connection: what was missed was a hint.

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
        declared = await channel.call("queue_declare", "", exclusive=True, auto_delete=True, arguments=RING_QUEUE_ARGUMENTS)
        queue = declared.method.queue
        await channel.call("basic_consume", queue, self._on_message, auto_ack=True, exclusive=True)
        bound: set[str] = set()
        while channel.is_open:
            self._changed.clear()
            for key in self._wanted - bound:
                await channel.call("queue_bind", queue, self._exchange, routing_key=key)
                bound.add(key)
            changed = asyncio.create_task(self._changed.wait())
            waited_for: list[asyncio.Future[Any]] = [changed, channel.closed]
            try:
                await asyncio.wait(waited_for, return_when=asyncio.FIRST_COMPLETED)
            finally:
                changed.cancel()

    def _want(self, key: str) -> None:
        self._wanted |= {key} if key == ADVANCED else {key, APPENDED}
        self.is_used.set()
        self._changed.set()

    def _on_message(self, _channel: Any, method: Any, _properties: Any, body: bytes) -> None:
        key = method.routing_key
        is_rung = key == APPENDED and OUTCOMES not in self._wanted
        try:
            news: Any = (_RUNG if is_rung else self._decoders[key]).decode(body)
        except msgspec.MsgspecError:
            structlog.get_logger().warning("a ring was not understood", key=key, bytes=len(body))
            return
        if key != APPENDED:
            self._listeners[key].call(news)
            return
        # The outcomes first: who has asked for one waits for it, who hears a ring only begins to read.
        if not is_rung and news.outcomes:
            self._listeners[OUTCOMES].call(news.outcomes)
        if news.position:
            self._listeners[RING].call(news.position)
