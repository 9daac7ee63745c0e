"""An AMQP connection with one channel on the running event loop: pika's callbacks as awaitables.

pika's asyncio connection recovers nothing by itself: a channel that is closed stays closed, `keep_connected` opens another.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pika
import structlog
from pika.adapters.asyncio_connection import AsyncioConnection

from twofold.bus.rabbitmq.topology import OPEN_SECONDS_MAX, unavailable
from twofold.kernel.backoff import Backoff
from twofold.kernel.errors import Neighbour, Unavailable, WrongPassword

CALL_SECONDS_MAX = 15.0
"""Declaring a quorum queue elects a leader, which takes its time while a broker starts."""
CLOSE_SECONDS_MAX = 2.0
RECONNECT_SECONDS_MIN = 0.1
RECONNECT_SECONDS_MAX = 2.0


class AsyncChannel:
    """`closed` is done, with the reason, when the connection or the channel is; `blocked_since` is set during an alarm."""

    def __init__(self, connection: Any, closed: asyncio.Future[BaseException]) -> None:
        self._connection = connection
        self._loop = asyncio.get_running_loop()
        self.closed = closed
        self.blocked_since: float | None = None
        self.pika: Any = None
        connection.add_on_connection_blocked_callback(self._on_blocked)
        connection.add_on_connection_unblocked_callback(self._on_unblocked)

    @classmethod
    async def open(cls, parameters: pika.URLParameters) -> AsyncChannel:
        """Raises Unavailable."""
        loop = asyncio.get_running_loop()
        opened: asyncio.Future[Any] = loop.create_future()
        closed: asyncio.Future[BaseException] = loop.create_future()
        AsyncioConnection(
            parameters,
            on_open_callback=lambda connection: _resolve(opened, connection),
            on_open_error_callback=lambda _, error: _resolve(closed, error),
            on_close_callback=lambda _, error: _resolve(closed, error),
            custom_ioloop=loop,
        )
        channel = cls(await _first(opened, closed, OPEN_SECONDS_MAX), closed)
        opened = loop.create_future()
        try:
            channel.pika = channel._connection.channel(on_open_callback=lambda found: _resolve(opened, found))
            channel.pika.add_on_close_callback(lambda _, error: _resolve(closed, error))
            await _first(opened, closed, CALL_SECONDS_MAX)
        except BaseException:
            await channel.close()
            raise
        return channel

    async def call(self, method: str, *args: Any, **kwargs: Any) -> Any:
        """One of the channel's synchronous methods, and the broker's answer. Raises Unavailable when it refuses or goes away."""
        answered: asyncio.Future[Any] = self._loop.create_future()
        try:
            getattr(self.pika, method)(*args, callback=lambda frame: _resolve(answered, frame), **kwargs)
        except pika.exceptions.AMQPError as error:
            raise Unavailable(Neighbour.BROKER, "refused a call") from error
        return await _first(answered, self.closed, CALL_SECONDS_MAX)

    @property
    def is_open(self) -> bool:
        return not self.closed.done()

    async def close(self) -> None:
        if self._connection.is_open:
            self._connection.close()
        if not self._connection.is_closed:
            await asyncio.wait({self.closed}, timeout=CLOSE_SECONDS_MAX)

    def _on_blocked(self, *_: Any) -> None:
        self.blocked_since = self._loop.time()

    def _on_unblocked(self, *_: Any) -> None:
        self.blocked_since = None


async def keep_connected(parameters: pika.URLParameters, use: Callable[[AsyncChannel], Awaitable[None]]) -> None:
    """For ever: open a channel, let `use` set it up, wait until it is lost, pause, and again. Cancel to end."""
    log = structlog.get_logger()
    backoff = Backoff(RECONNECT_SECONDS_MIN, RECONNECT_SECONDS_MAX)
    told = ""
    while True:
        try:
            channel = await AsyncChannel.open(parameters)
            try:
                await use(channel)
                backoff.succeeded()
                told = ""
                raise Unavailable(Neighbour.BROKER, "connection lost") from await channel.closed
            finally:
                await channel.close()
        except Unavailable as error:
            if str(error) != told and (not told or isinstance(error, WrongPassword)):
                reason = str(error) if isinstance(error, WrongPassword) else repr(error.__cause__)
                log.warning("broker lost", host=parameters.host, port=parameters.port, reason=reason)
                told = str(error)
        except Exception as bug:
            # Loud, but not the end: nobody awaits this task, and without it the process would never be connected again.
            log.error("connecting failed", error=repr(bug))
        await asyncio.sleep(backoff.failed())


def _resolve(future: asyncio.Future[Any], value: Any) -> None:
    if not future.done():
        future.set_result(value)


async def _first(answered: asyncio.Future[Any], closed: asyncio.Future[BaseException], seconds_max: float) -> Any:
    await asyncio.wait({answered, closed}, timeout=seconds_max, return_when=asyncio.FIRST_COMPLETED)
    if answered.done():
        return answered.result()
    if not closed.done():
        raise Unavailable(Neighbour.BROKER)
    raise unavailable(closed.result()) from closed.result()
