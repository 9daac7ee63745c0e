"""Makes calls durable in the queues of their effects: published with confirms, many at a time, by a thread with an event loop."""

from __future__ import annotations

import asyncio
import concurrent.futures
from collections.abc import Collection, Sequence
from threading import Thread
from typing import Any

import pika

from twofold.bus.effects.topology import declare_effects_on, effect_queue, later
from twofold.bus.rabbitmq.connection import AsyncChannel, keep_connected
from twofold.bus.rabbitmq.epochs import connected
from twofold.bus.rabbitmq.publisher import Confirms
from twofold.bus.rabbitmq.topology import parameters
from twofold.kernel.effects import AskedCall, encode_call
from twofold.kernel.errors import Neighbour, Unavailable

CALLS_AT_ONCE_MAX = 500
CONNECT_SECONDS_MAX = 5.0
CONFIRM_SECONDS_MAX = 5.0
CLOSE_SECONDS_MAX = 5.0
PERSISTENT = 2


class RabbitCalls:
    """Port EffectQueue. Connects when first used; then a broker that is away is looked for in the background."""

    def __init__(self, url: str, prefix: str, effects: Collection[str]) -> None:
        self._url = url
        self._parameters = parameters(url, "calls")
        self._prefix = prefix
        self._effects = effects
        self._channel: AsyncChannel | None = None
        self._confirms = Confirms()
        self._loop = asyncio.new_event_loop()
        self._is_connected = asyncio.Event()
        self._connecting: asyncio.Task[None] | None = None
        self._thread = Thread(target=self._loop.run_forever, name="calls", daemon=True)
        self._thread.start()

    def put(self, calls: Sequence[AskedCall], delay_seconds: float = 0.0) -> None:
        for start in range(0, len(calls), CALLS_AT_ONCE_MAX):
            publishing = self._publish(calls[start : start + CALLS_AT_ONCE_MAX], delay_seconds)
            future = asyncio.run_coroutine_threadsafe(publishing, self._loop)
            try:
                future.result(2 * (CONNECT_SECONDS_MAX + CONFIRM_SECONDS_MAX))
            except concurrent.futures.TimeoutError as error:
                future.cancel()
                raise Unavailable(Neighbour.BROKER) from error

    def close(self) -> None:
        if self._thread.is_alive():
            asyncio.run_coroutine_threadsafe(self._end(), self._loop)
            self._thread.join(CLOSE_SECONDS_MAX)

    async def _publish(self, calls: Sequence[AskedCall], delay_seconds: float) -> None:
        channel = await self._connected()
        exchange = later(self._prefix, delay_seconds) if delay_seconds else ""
        expiration = str(int(delay_seconds * 1000)) if delay_seconds else None
        confirmed = []
        try:
            for call in calls:
                tag, durable = self._confirms.expect()
                confirmed.append(durable)
                properties = pika.BasicProperties(
                    delivery_mode=PERSISTENT, content_type="application/json", message_id=str(tag), expiration=expiration
                )
                key = effect_queue(self._prefix, call.effect)
                channel.pika.basic_publish(exchange, key, encode_call(call), properties, mandatory=True)
        except pika.exceptions.AMQPError as error:
            raise Unavailable(Neighbour.BROKER, "connection lost") from error
        ended, left = await asyncio.wait(confirmed, timeout=CONFIRM_SECONDS_MAX)
        failures = [future.exception() for future in ended]
        if left:
            raise Unavailable(Neighbour.BROKER, "confirm timed out")
        for failure in failures:
            if failure is not None:
                raise Unavailable(Neighbour.BROKER, "not confirmed") from failure

    async def _connected(self) -> AsyncChannel:
        if self._connecting is None:
            self._connecting = asyncio.create_task(keep_connected(self._parameters, self._use))
        try:
            async with asyncio.timeout(CONNECT_SECONDS_MAX):
                await self._is_connected.wait()
        except TimeoutError as error:
            raise Unavailable(Neighbour.BROKER, "not connected") from error
        if self._channel is None or not self._channel.is_open:
            raise Unavailable(Neighbour.BROKER, "not connected")
        if self._channel.blocked_since is not None:
            raise Unavailable(Neighbour.BROKER, "blocks publishers", is_overload=True)
        return self._channel

    async def _use(self, channel: AsyncChannel) -> None:
        await asyncio.to_thread(self._declare)
        confirms = Confirms()
        channel.pika.add_on_return_callback(confirms.on_return)
        channel.pika.add_on_return_callback(self._on_return)
        await channel.call("confirm_delivery", confirms.on_confirm)
        self._confirms, self._channel = confirms, channel
        self._is_connected.set()
        channel.closed.add_done_callback(lambda _: self._on_lost(confirms))

    def _declare(self) -> None:
        with connected(self._url, "calls declare") as channel:
            declare_effects_on(channel, self._prefix, self._effects)

    def _on_return(self, channel: Any, *_: Any) -> None:
        """A queue is gone: connecting anew declares it."""
        if channel.is_open:
            channel.close()

    def _on_lost(self, confirms: Confirms) -> None:
        self._is_connected.clear()
        confirms.fail_all()

    async def _end(self) -> None:
        if self._connecting is not None:
            self._connecting.cancel()
            await asyncio.wait({self._connecting}, timeout=CLOSE_SECONDS_MAX)
        self._loop.stop()
