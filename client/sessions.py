"""Requests over aiohttp, on the loop that they are awaited on: the steps of a call, awaited. Imported when first used."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Coroutine
from typing import Any

import aiohttp
from yarl import URL

from twofold.client.endpoint import Endpoint
from twofold.client.steps import Ask, Doing, Give, Hear, Heard, Listen, Pause, Step, Steps, T, lost
from twofold.kernel.errors import Misconfigured, Unavailable

CONNECTIONS_MAX = 256
CONNECT_SECONDS_MAX = 5.0
IDLE_SECONDS_MAX = 30.0
"""As in connections.py."""


class AsyncConnections:
    """To one gateway. `close` ends what is under way, too."""

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint
        self._closed = asyncio.Event()
        connector = aiohttp.TCPConnector(limit=CONNECTIONS_MAX, keepalive_timeout=IDLE_SECONDS_MAX)
        self._session = aiohttp.ClientSession(connector=connector, auto_decompress=False)

    async def run(self, steps: Steps[T]) -> T:
        """A call that gives nothing on the way, to its end."""
        doing, exchange = Doing(steps), _Exchange(self)
        try:
            while (step := doing.step) is not None:
                await exchange.move(doing, step)
            return doing.result
        finally:
            exchange.end()
            doing.close()

    async def each(self, steps: Steps[Any]) -> AsyncGenerator[Any, None]:
        """What a call gives on the way."""
        doing, exchange = Doing(steps), _Exchange(self)
        try:
            while (step := doing.step) is not None:
                if isinstance(step, Give):
                    yield step.value
                    doing.went(None)
                else:
                    await exchange.move(doing, step)
        finally:
            exchange.end()
            doing.close()

    async def pause(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self._closed.wait()
        except TimeoutError:
            return
        raise lost("the client was closed", self._endpoint.url)

    async def ask(self, ask: Ask) -> Heard:
        response = await self._begin(ask, aiohttp.ClientTimeout(ask.timeout_seconds, sock_connect=CONNECT_SECONDS_MAX))
        async with response:
            return _heard(response, await self._unless_lost(response.read()))

    async def listen(self, ask: Ask) -> tuple[aiohttp.ClientResponse, Heard]:
        """The answer, to be closed by whoever listens, and its beginning."""
        timeout = aiohttp.ClientTimeout(sock_connect=CONNECT_SECONDS_MAX, sock_read=ask.timeout_seconds)
        response = await self._begin(ask, timeout)
        if response.status == 200:
            return response, _heard(response, b"")
        return response, _heard(response, await self._unless_lost(response.read()))

    async def hear(self, response: aiohttp.ClientResponse) -> bytes:
        return await self._unless_lost(response.content.readany())

    async def close(self) -> None:
        """May be called more than once."""
        self._closed.set()
        await self._session.close()

    async def _begin(self, ask: Ask, timeout: aiohttp.ClientTimeout) -> aiohttp.ClientResponse:
        if self._closed.is_set():
            raise lost("the client was closed", self._endpoint.url)
        url = URL(self._endpoint.url + ask.path, encoded=True)
        return await self._unless_lost(
            self._session.request(ask.method, url, data=ask.body, headers=ask.headers, timeout=timeout, allow_redirects=False)
        )

    async def _unless_lost(self, answer: Coroutine[Any, Any, T]) -> T:
        try:
            return await answer
        except aiohttp.ClientConnectorCertificateError as error:
            raise Misconfigured(f"{self._endpoint.url}: {error.certificate_error}") from error
        except aiohttp.ClientConnectorError as error:
            raise self._lost("nobody listens", error) from error
        except TimeoutError as error:
            raise self._lost("no answer in time", error) from error
        except (aiohttp.ClientError, OSError) as error:
            raise self._lost("connection lost", error) from error

    def _lost(self, reason: str, error: Exception) -> Unavailable:
        if self._closed.is_set():
            return lost("the client was closed", self._endpoint.url)
        return lost(reason, f"{self._endpoint.url}: {error}".rstrip(": "))


class _Exchange:
    """The steps of one call. Holds the event stream that it listens to, if any."""

    def __init__(self, session: AsyncConnections) -> None:
        self._session = session
        self._listening: aiohttp.ClientResponse | None = None

    async def move(self, doing: Doing[Any], step: Step) -> None:
        try:
            heard = await self._do(step)
        except Unavailable as unavailable:
            doing.failed(unavailable)
        else:
            doing.went(heard)

    async def _do(self, step: Step) -> Any:
        match step:
            case Ask():
                return await self._session.ask(step)
            case Listen():
                self.end()
                self._listening, begun = await self._session.listen(step.ask)
                return begun
            case Hear():
                assert self._listening is not None, "Listen comes before Hear"
                return await self._session.hear(self._listening)
            case Pause():
                self.end()
                return await self._session.pause(step.seconds)
            case Give():
                raise AssertionError("a value is for whoever iterates")

    def end(self) -> None:
        listening, self._listening = self._listening, None
        if listening is not None:
            listening.close()


def _heard(response: aiohttp.ClientResponse, body: bytes) -> Heard:
    return Heard(response.status, response.headers, body)
