"""Server-sent events: a bounded number of open streams, heartbeats, and an end when the gateway shuts down."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from aiohttp import web

from twofold.gateway.http.headers import LAST_EVENT_ID
from twofold.gateway.http.operation import EVENT_STREAM
from twofold.kernel.errors import Neighbour, Unavailable

STREAMS_MAX = 512
HEARTBEAT_SECONDS = 10.0
WRITE_SECONDS_MAX = 10.0
"""A reader that takes nothing for so long is cut off; it may come back with Last-Event-ID."""
RETRY_MILLISECONDS = 1_000

SENT_BYTES_MAX = 32 * 1024
"""Of a stream, written and not read yet, that the system keeps for us (it keeps twice as much): who does not read is found out
by WRITE_SECONDS_MAX, and not after megabytes each."""

HEADERS = {"Content-Type": EVENT_STREAM, "Cache-Control": "no-store", "X-Accel-Buffering": "no"}


class EventStream:
    """One open stream. `is_open` turns false when the gateway closes; a reader that is gone ends the writing."""

    def __init__(self, response: web.StreamResponse, last_event_id: str | None) -> None:
        self.response = response
        self._sent_at = asyncio.get_running_loop().time()
        self.last_event_id = last_event_id
        self.is_open = True

    async def send(self, event_id: str, event: str, data: bytes) -> None:
        """`data` is JSON without line breaks."""
        self.last_event_id = event_id
        await self.write(framed(event_id, event, data))

    async def beat(self) -> None:
        """A comment, when nothing was sent for a while: it keeps proxies from closing, and finds out who is gone."""
        if asyncio.get_running_loop().time() - self._sent_at >= HEARTBEAT_SECONDS:
            await self.write(b": still here\n\n")

    async def begin(self) -> None:
        """To be sent first: how soon to come back after a cut."""
        await self.write(f"retry: {RETRY_MILLISECONDS}\n\n".encode())

    async def write(self, text: bytes) -> None:
        """One or more events, framed."""
        async with asyncio.timeout(WRITE_SECONDS_MAX):
            await self.response.write(text)
        self._sent_at = asyncio.get_running_loop().time()


def framed(event_id: str, event: str, data: bytes) -> bytes:
    """One event as it is written. `data` is JSON without line breaks."""
    return f"id: {event_id}\nevent: {event}\ndata: ".encode() + data + b"\n\n"


class OpenEventStreams:
    """All open streams of this gateway."""

    def __init__(self) -> None:
        self._open: set[EventStream] = set()
        self._is_closing = False

    @asynccontextmanager
    async def open(self, request: web.Request) -> AsyncIterator[EventStream]:
        """Raises Unavailable when too many are open, ConnectionError when the client has gone already.

        Inside, a cut connection and a lost neighbour end the stream in silence: the answer has begun, and the client comes
        back by itself. The caller returns `stream.response`.
        """
        if len(self._open) >= STREAMS_MAX or self._is_closing:
            raise Unavailable(Neighbour.GATEWAY, "too many event streams are open", retry_after_seconds=5.0, is_overload=True)
        response = web.StreamResponse(headers=HEADERS)
        stream = EventStream(response, request.headers.get(LAST_EVENT_ID.name))
        self._open.add(stream)
        try:
            await response.prepare(request)
            _keep_little(request)
        except BaseException:
            self._open.discard(stream)
            raise
        try:
            yield stream
        except (ConnectionError, TimeoutError, Unavailable):
            if request.transport is not None:
                request.transport.close()
        finally:
            self._open.discard(stream)

    def close(self) -> None:
        self._is_closing = True
        for stream in self._open:
            stream.is_open = False


def _keep_little(request: web.Request) -> None:
    if request.transport is not None and (connection := request.transport.get_extra_info("socket")) is not None:
        with suppress(OSError):  # whoever asked has gone
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SENT_BYTES_MAX)
