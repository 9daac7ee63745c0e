"""Requests over kept connections of the standard library, from any number of threads: the steps of a call, done by who calls."""

from __future__ import annotations

import http.client
import socket
import ssl
import time
from collections.abc import Generator
from contextlib import suppress
from select import select
from threading import Event, Lock
from typing import Any, NamedTuple

from twofold.client.endpoint import Endpoint
from twofold.client.steps import Ask, Doing, Give, Hear, Heard, Listen, Pause, Step, Steps, T, lost
from twofold.kernel.errors import Misconfigured, Unavailable

IDLE_MAX = 8
IDLE_SECONDS_MAX = 30.0
"""Kept no longer: a gateway closes what is idle after 75 s, a proxy often after 60."""
CONNECT_SECONDS_MAX = 5.0
CHUNK_BYTES = 64 * 1024
"""As much of an event stream as is read at a time."""
FAILURES = (OSError, http.client.HTTPException)


class Connections:
    """To one gateway. `close` ends what is under way in other threads, too."""

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint
        self._tls = ssl.create_default_context() if endpoint.scheme == "https" else None
        self._closed = Event()
        self._lock = Lock()
        self._idle: list[tuple[float, http.client.HTTPConnection]] = []
        self._busy: set[http.client.HTTPConnection] = set()

    def run(self, steps: Steps[T]) -> T:
        """A call that gives nothing on the way, to its end."""
        driven = self.each(steps)
        while True:
            try:
                next(driven)
            except StopIteration as end:
                result: T = end.value
                return result

    def each(self, steps: Steps[T]) -> Generator[Any, None, T]:
        """What a call gives on the way."""
        doing, exchange = Doing(steps), _Exchange(self)
        try:
            while (step := doing.step) is not None:
                if isinstance(step, Give):
                    yield step.value
                    doing.went(None)
                    continue
                try:
                    heard = exchange.do(step)
                except Unavailable as unavailable:
                    doing.failed(unavailable)
                else:
                    doing.went(heard)
            return doing.result
        finally:
            exchange.end()
            doing.close()

    def pause(self, seconds: float) -> None:
        if self._closed.wait(seconds):
            raise lost("the client was closed", self._endpoint.url)

    def ask(self, ask: Ask) -> Heard:
        connection, response, heard = self._exchange(ask, is_stream=False)
        self._keep(connection)
        return heard

    def listen(self, ask: Ask) -> Listening:
        """To be dropped by whoever listens."""
        return Listening(*self._exchange(ask, is_stream=True))

    def _exchange(self, ask: Ask, is_stream: bool) -> tuple[http.client.HTTPConnection, http.client.HTTPResponse, Heard]:
        connection = self._take(ask.timeout_seconds)
        try:
            headers = {name: value.encode() for name, value in ask.headers.items()}
            connection.request(ask.method, self._endpoint.prefix + ask.path, ask.body, headers)
            response = connection.getresponse()
            return connection, response, _heard(response, ask.timeout_seconds, is_stream)
        except FAILURES as error:
            self.drop(connection)
            raise self._lost(error) from error
        except BaseException:
            self.drop(connection)
            raise

    def hear(self, response: http.client.HTTPResponse) -> bytes:
        try:
            return response.read1(CHUNK_BYTES)
        except FAILURES as error:
            raise self._lost(error) from error

    def drop(self, connection: http.client.HTTPConnection) -> None:
        with self._lock:
            self._busy.discard(connection)
        connection.close()

    def close(self) -> None:
        """May be called from any thread, and more than once."""
        self._closed.set()
        with self._lock:
            idle, self._idle = self._idle, []
            busy = list(self._busy)
        for _, connection in idle:
            connection.close()
        for connection in busy:
            if (open_ := connection.sock) is not None:
                with suppress(OSError):
                    open_.shutdown(socket.SHUT_RDWR)  # whoever reads from it closes it

    def _take(self, timeout_seconds: float) -> http.client.HTTPConnection:
        """One that is kept and still open, else a new one, open. Raises Unavailable."""
        while True:
            with self._lock:
                if self._closed.is_set():
                    raise lost("the client was closed", self._endpoint.url)
                kept = self._idle.pop() if self._idle else None
                connection = kept[1] if kept else self._new()
                self._busy.add(connection)
            if kept is None or _is_usable(*kept):
                break
            self.drop(connection)
        try:
            if connection.sock is None:
                connection.timeout = min(timeout_seconds, CONNECT_SECONDS_MAX)
                connection.connect()
            connection.sock.settimeout(timeout_seconds)
        except ssl.SSLError as error:
            self.drop(connection)
            raise Misconfigured(f"{self._endpoint.url}: {error.reason or error}") from error
        except OSError as error:
            self.drop(connection)
            raise lost("nobody listens", f"{self._endpoint.url}: {error}") from error
        return connection

    def _new(self) -> http.client.HTTPConnection:
        endpoint = self._endpoint
        if self._tls is not None:
            return http.client.HTTPSConnection(endpoint.host, endpoint.port, context=self._tls)
        return http.client.HTTPConnection(endpoint.host, endpoint.port)

    def _keep(self, connection: http.client.HTTPConnection) -> None:
        with self._lock:
            self._busy.discard(connection)
            if connection.sock is not None and len(self._idle) < IDLE_MAX and not self._closed.is_set():
                self._idle.append((time.monotonic(), connection))
                return
        connection.close()

    def _lost(self, error: Exception) -> Unavailable:
        if self._closed.is_set():
            return lost("the client was closed", self._endpoint.url)
        reason = "no answer in time" if isinstance(error, TimeoutError) else "connection lost"
        return lost(reason, f"{self._endpoint.url}: {error}".rstrip(": "))


class Listening(NamedTuple):
    """An event stream that is read bit by bit."""

    connection: http.client.HTTPConnection
    response: http.client.HTTPResponse
    begun: Heard


class _Exchange:
    """The steps of one call. Holds the event stream that it listens to, if any."""

    def __init__(self, connections: Connections) -> None:
        self._connections = connections
        self._listening: Listening | None = None

    def do(self, step: Step) -> Any:
        match step:
            case Ask():
                return self._connections.ask(step)
            case Listen():
                self.end()
                self._listening = self._connections.listen(step.ask)
                return self._listening.begun
            case Hear():
                assert self._listening is not None, "Listen comes before Hear"
                return self._connections.hear(self._listening.response)
            case Pause():
                self.end()
                return self._connections.pause(step.seconds)
            case Give():
                raise AssertionError("a value is for whoever iterates")

    def end(self) -> None:
        listening, self._listening = self._listening, None
        if listening is not None:
            self._connections.drop(listening.connection)


def _heard(response: http.client.HTTPResponse, seconds_max: float, is_stream: bool) -> Heard:
    """With its body, unless that is an event stream. Raises TimeoutError for one that comes too slowly."""
    body = bytearray()
    if not (is_stream and response.status == 200):
        deadline = time.monotonic() + seconds_max
        while response.length != 0 and (some := response.read1(CHUNK_BYTES)):
            body += some
            if time.monotonic() > deadline:
                raise TimeoutError("the answer comes too slowly")
        if response.length:
            raise http.client.IncompleteRead(bytes(body), response.length)
        response.close()  # all of it was read: the connection is free for the next request
    return Heard(response.status, response.headers, bytes(body))


def _is_usable(kept_at: float, connection: http.client.HTTPConnection) -> bool:
    """Not too old; and nothing has come on it since, which could only be its end."""
    if connection.sock is None or time.monotonic() - kept_at > IDLE_SECONDS_MAX:
        return False
    try:
        return not select([connection.sock], [], [], 0)[0]
    except ValueError:
        return False  # more files are open than select can name
