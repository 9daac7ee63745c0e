"""One keep-alive connection to the HTTP API that waits and tries again while the other side is away or busy."""

from __future__ import annotations

import http.client
import time
from threading import Event
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import msgspec

from twofold.kernel.errors import Misconfigured, Neighbour, Unavailable

TIMEOUT_SECONDS = 30.0
PATIENCE_SECONDS = 120.0
"""How long one call is tried again before the replay gives up: longer than any restart of a server."""

PAUSE_SECONDS_MIN, PAUSE_SECONDS_MAX = 0.05, 5.0
AGAIN = frozenset({429, 502, 503, 504})
"""Statuses that say "later": nothing was decided, and every call of a replay may be made twice."""


class Answer(NamedTuple):
    """`body` is the decoded JSON, None when it is none."""

    status: int
    body: Any
    retry_after_seconds: float | None


class Api:
    """A context manager; one for each thread. `stop`, once set, ends every waiting with Unavailable."""

    def __init__(self, url: str, stop: Event) -> None:
        self._connection, self._prefix = _connection_to(url)
        self._url = url
        self._stop = stop

    def __enter__(self) -> Api:
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()

    def call(self, method: str, path: str, body: bytes | None = None, headers: dict[str, str] | None = None) -> Answer:
        """The first answer that does not say "later". Raises Unavailable when none came within `PATIENCE_SECONDS`."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        pause_seconds = PAUSE_SECONDS_MIN
        while True:
            failure: Exception | None = None
            after = pause_seconds
            try:
                answer = self._once(method, path, body, headers or {})
            except (OSError, http.client.HTTPException) as error:
                self._connection.close()
                failure = error
            else:
                if answer.status not in AGAIN:
                    return answer
                after = answer.retry_after_seconds or pause_seconds
            if time.monotonic() + after > deadline or self.pause(after):
                raise Unavailable(Neighbour.GATEWAY, detail=self._url) from failure
            pause_seconds = min(2 * pause_seconds, PAUSE_SECONDS_MAX)

    def pause(self, seconds: float) -> bool:
        """Whether the replay was stopped meanwhile."""
        return self._stop.wait(seconds)

    def _once(self, method: str, path: str, body: bytes | None, headers: dict[str, str]) -> Answer:
        self._connection.request(method, self._prefix + path, body, headers)
        response = self._connection.getresponse()
        content = response.read()
        try:
            decoded = msgspec.json.decode(content)
        except (msgspec.DecodeError, UnicodeDecodeError):
            decoded = None
        return Answer(response.status, decoded, _seconds(response.getheader("Retry-After")))


def _connection_to(url: str) -> tuple[http.client.HTTPConnection, str]:
    """A connection that is not opened yet, and the path that stands before every call."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError as error:
        raise Misconfigured(f"--url {url}: {error}") from error
    if parts.scheme not in ("http", "https") or not host:
        raise Misconfigured(f"--url {url}: not an address like http://127.0.0.1:8080")
    connection = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    return connection(host, port, timeout=TIMEOUT_SECONDS), parts.path.rstrip("/")


def _seconds(text: str | None) -> float | None:
    """The other form, a date, is left to the client's own pauses."""
    return min(float(text), PAUSE_SECONDS_MAX) if text and text.isascii() and text.isdigit() else None
