"""Sends rings and outcomes to every process that listens. Whatever is not sent yet is merged with what comes after it.

Called from any thread; sent on the bell's own loop, over a connection that consumes nothing, since an alarm blocks
publishers. Transient, without confirms: while the broker is away the latest is kept and the rest is dropped.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence
from itertools import islice
from threading import Lock
from typing import Any

import msgspec
import pika

from twofold.bus.rabbitmq.connection import AsyncChannel
from twofold.bus.rabbitmq.topology import rings_exchange
from twofold.kernel.outcome import Outcome
from twofold.kernel.rows import Progress

RING, ADVANCED, OUTCOMES = "ring", "advanced", "outcomes"
"""Routing keys, on the broker: a JSON integer; a JSON array of Progress; a JSON array of Outcome."""
OUTCOMES_KEPT_MAX = 10_000
OUTCOMES_SENT_MAX = 500
TRANSIENT = pika.BasicProperties(delivery_mode=1, content_type="application/json")


class RingSender:
    """`is_used` is set, on the loop, when there is something to send for the first time: then it is time to connect."""

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
        if channel is None or not channel.is_open or channel.blocked_since is not None:
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
