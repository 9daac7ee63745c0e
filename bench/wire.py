"""The cheapest HTTP/1.1 client that is still one: a socket, whole requests in, (status, head, body) out.

Both cores are shared with everything that is being measured, so an answer is cut out of the stream by its status
line and Content-Length alone. Used by the load generator; nothing else in the house should use it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import cast

Answered = Callable[[int, bytes, bytes], None]
"""Told (status, head, body) once for every answer, on the event loop."""

_END_OF_HEAD = b"\r\n\r\n"
_LENGTH = b"content-length:"


class BadAnswer(Exception):
    """The server closed the connection in mid-work, or answered something that is not HTTP/1.1 with a Content-Length."""


class Wire(asyncio.Protocol):
    """One keep-alive connection with at most one request under way."""

    def __init__(self) -> None:
        self.lost: BadAnswer | None = None
        self._transport: asyncio.Transport | None = None
        self._answered: Answered | None = None
        self._failed: Callable[[BadAnswer], None] | None = None
        self._buffer = b""

    def send(self, request: bytes, answered: Answered, failed: Callable[[BadAnswer], None]) -> None:
        """Write one request. Exactly one of the two is called, later."""
        assert self._answered is None, "one request at a time"
        self._answered, self._failed = answered, failed
        if self._transport is None or self.lost is not None:
            self._fail(self.lost or BadAnswer("not connected"))
        else:
            self._transport.write(request)

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost = BadAnswer(f"connection lost: {exc}")
        self._fail(self.lost)

    def data_received(self, data: bytes) -> None:
        self._buffer = self._buffer + data if self._buffer else data
        end = self._buffer.find(_END_OF_HEAD)
        if end < 0:
            return
        head = self._buffer[:end]
        lower = head.lower()
        at = lower.find(_LENGTH)
        if at < 0:
            self._fail(BadAnswer(f"no Content-Length: {head[:200]!r}"))
            return
        length = int(lower[at + len(_LENGTH) :].split(b"\r\n", 1)[0])
        whole = end + len(_END_OF_HEAD) + length
        if len(self._buffer) < whole:
            return
        body, self._buffer = self._buffer[end + len(_END_OF_HEAD) : whole], self._buffer[whole:]
        answered, self._answered, self._failed = self._answered, None, None
        if answered is not None:
            answered(int(head[9:12]), head, body)

    def _fail(self, error: BadAnswer) -> None:
        failed, self._answered, self._failed = self._failed, None, None
        if failed is not None:
            failed(error)


async def connect(host: str, port: int, count: int) -> list[Wire]:
    """Open `count` connections. Raises OSError when nobody listens."""
    loop = asyncio.get_running_loop()
    pairs = await asyncio.gather(*(loop.create_connection(Wire, host, port) for _ in range(count)))
    return [wire for _, wire in pairs]
