"""A TCP proxy on 127.0.0.1 that cuts connections: all at once, or each in the very moment that makes a commit's fate unknown.

worker ──> proxy ──> PostgreSQL        the append is sent on; when its answer comes, that is dropped and both ends are cut:
       <─X─      <──                   committed, and the worker cannot know
"""

from __future__ import annotations

import asyncio
import contextlib
import struct
import threading
from collections.abc import Callable

CHUNK_BYTES = 65_536
CLOSE_SECONDS_MAX = 5.0
SSL_REQUEST, GSS_REQUEST = 80877103, 80877104
Watch = Callable[[bytes], bool]
"""Told every chunk on its way to the server; True: cut this connection when the server answers."""


class Proxy:
    """Runs its own event loop in a thread. `watch` makes one watcher for each connection, None: nothing is watched."""

    def __init__(self, host: str, port: int, watch: Callable[[], Watch] | None = None) -> None:
        self._target = (host, port)
        self._watch = watch
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="proxy", daemon=True)
        self._writers: set[asyncio.StreamWriter] = set()
        self._is_refusing = False
        self.cut_count = 0
        self.port = 0

    def __enter__(self) -> Proxy:
        self._thread.start()
        asyncio.run_coroutine_threadsafe(self._listen(), self._loop).result(CLOSE_SECONDS_MAX)
        return self

    def __exit__(self, *_: object) -> None:
        asyncio.run_coroutine_threadsafe(self._close(), self._loop).result(CLOSE_SECONDS_MAX)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(CLOSE_SECONDS_MAX)
        self._loop.close()

    def refuse(self, is_refusing: bool) -> None:
        """From now on every new connection is cut at once; or not any more."""
        self._is_refusing = is_refusing

    def cut_all(self) -> None:
        """Cut every connection now."""
        self._loop.call_soon_threadsafe(self._cut_all)

    async def _listen(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            if self._is_refusing:
                raise ConnectionRefusedError
            server_reader, server_writer = await asyncio.open_connection(*self._target)
        except OSError:
            writer.transport.abort()
            return
        ends = {writer, server_writer}
        self._writers |= ends
        is_doomed = asyncio.Event()
        watch = self._watch() if self._watch else None
        try:
            async with asyncio.TaskGroup() as flows:
                flows.create_task(self._forward(reader, server_writer, watch, is_doomed))
                flows.create_task(self._answer(server_reader, writer, is_doomed))
        except* (OSError, EOFError):
            pass
        finally:
            self._writers -= ends
            for end in ends:
                end.transport.abort()

    async def _forward(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, watch: Watch | None, is_doomed: asyncio.Event
    ) -> None:
        while chunk := await reader.read(CHUNK_BYTES):
            if watch is not None and watch(chunk):
                is_doomed.set()
            writer.write(chunk)
            await writer.drain()
        raise EOFError

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, is_doomed: asyncio.Event) -> None:
        while chunk := await reader.read(CHUNK_BYTES):
            if is_doomed.is_set():
                self.cut_count += 1
                raise EOFError
            writer.write(chunk)
            await writer.drain()
        raise EOFError

    def _cut_all(self) -> None:
        self.cut_count += len(self._writers) // 2
        for writer in list(self._writers):
            writer.transport.abort()

    async def _close(self) -> None:
        self._server.close()
        self._cut_all()
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(CLOSE_SECONDS_MAX / 2):
                await asyncio.gather(*tasks, return_exceptions=True)


class AppendWatch:
    """Reads what a client says to PostgreSQL and calls `on_append` when it sends an append; cuts when that answers True.

    Frontend messages are a type byte and a length, but for the first ones, which have no type byte. A statement is named
    once by Parse ('P') and run by name ever after (Bind, 'B'). One chunk may hold several messages, or a part of one.
    """

    MARK = b"INSERT INTO events"

    def __init__(self, on_append: Callable[[], bool]) -> None:
        self._on_append = on_append
        self._buffer = b""
        self._has_started = False
        self._appends: set[bytes] = set()

    def __call__(self, chunk: bytes) -> bool:
        self._buffer += chunk
        is_append = False
        while (message := self._next()) is not None:
            is_append |= self._is_append(message)
        return is_append and self._on_append()

    def _next(self) -> bytes | None:
        """The next whole message, with its type byte (a zero byte before start-up is over)."""
        offset = 1 if self._has_started else 0
        if len(self._buffer) < offset + 4:
            return None
        length = struct.unpack_from("!I", self._buffer, offset)[0] + offset
        if len(self._buffer) < length:
            return None
        message, self._buffer = self._buffer[:length], self._buffer[length:]
        if not self._has_started:
            self._has_started = struct.unpack_from("!I", message, 4)[0] not in (SSL_REQUEST, GSS_REQUEST)
            return b"\0" + message
        return message

    def _is_append(self, message: bytes) -> bool:
        kind, body = message[:1], message[5:]
        if kind == b"Q":
            return self.MARK in body
        if kind == b"P":
            name, _, query = body.partition(b"\0")
            (self._appends.add if self.MARK in query else self._appends.discard)(name)
            return False
        if kind == b"B":
            _portal, _, rest = body.partition(b"\0")
            return rest.partition(b"\0")[0] in self._appends
        return False
