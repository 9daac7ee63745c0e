"""Speaks HTTP to OpenSearch or Elasticsearch: the standard library's client, each connection used by one thread at a time.

Every wait has an end. A connection that was closed while it was idle is replaced, once, without a word: whatever we ask for may
be asked for twice, since documents are written by their versions.
"""

from __future__ import annotations

import http.client
import ssl
from base64 import b64encode
from collections.abc import Iterable
from threading import Lock
from typing import Any
from urllib.parse import unquote, urlsplit

import msgspec

from twofold.kernel.errors import Misconfigured, Neighbour, Unavailable, WrongPassword

CONNECT_SECONDS = 2.0
ANSWER_SECONDS = 15.0
IDLE_MAX = 16
"""Connections kept for the next question."""
REASON_CHARS_MAX = 300

VARIABLE = "TWOFOLD_SEARCH_URL"
BROKEN = (http.client.HTTPException, OSError)


class NotThere(Exception):
    """There is no such index."""


class SearchClient:
    """Thread-safe. Nothing is opened yet. Raises Misconfigured."""

    def __init__(self, url: str) -> None:
        try:
            parts = urlsplit(url)
            self._host, self._port = parts.hostname or "", parts.port
            if parts.scheme not in ("http", "https") or not self._host:
                raise ValueError
        except ValueError as error:
            raise Misconfigured(f"{VARIABLE}: is not the URL of a server; write https://user:password@host:9200") from error
        self._tls = ssl.create_default_context() if parts.scheme == "https" else None
        self._path = parts.path.rstrip("/")
        self._headers = {"Content-Type": "application/json", "Accept": "application/json"}
        if parts.username is not None:
            known = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
            self._headers["Authorization"] = f"Basic {b64encode(known.encode()).decode()}"
        self._idle: list[http.client.HTTPConnection] = []
        self._lock = Lock()

    def ask(self, method: str, path: str, body: Any = None) -> Any:
        """What it answers, from JSON. Raises NotThere, Unavailable and WrongPassword."""
        return self._call(method, path, None if body is None else msgspec.json.encode(body))

    def send(self, path: str, lines: Iterable[Any]) -> Any:
        """Many at once, a line each; the same."""
        return self._call("POST", path, b"".join(line + b"\n" for line in map(msgspec.json.encode, lines)))

    def close(self) -> None:
        with self._lock:
            idle, self._idle = self._idle, []
        for connection in idle:
            connection.close()

    def _call(self, method: str, path: str, body: bytes | None) -> Any:
        with self._lock:
            connection = self._idle.pop() if self._idle else None
        if connection is not None:
            try:
                return self._answer(connection, method, path, body)
            except TimeoutError as error:
                raise Unavailable(Neighbour.SEARCH, "no answer") from error
            except BROKEN:
                self.close()  # the others were broken by the same restart
        try:
            return self._answer(self._connected(), method, path, body)
        except TimeoutError as error:
            raise Unavailable(Neighbour.SEARCH, "no answer") from error
        except BROKEN as error:
            raise Unavailable(Neighbour.SEARCH, "no connection", detail=str(error)) from error

    def _connected(self) -> http.client.HTTPConnection:
        if self._tls is None:
            connection = http.client.HTTPConnection(self._host, self._port, timeout=CONNECT_SECONDS)
        else:
            connection = http.client.HTTPSConnection(self._host, self._port, timeout=CONNECT_SECONDS, context=self._tls)
        connection.connect()
        connection.sock.settimeout(ANSWER_SECONDS)
        return connection

    def _answer(self, connection: http.client.HTTPConnection, method: str, path: str, body: bytes | None) -> Any:
        try:
            connection.request(method, self._path + path, body, self._headers)
            response = connection.getresponse()
            data = response.read()
        except BaseException:
            connection.close()
            raise
        with self._lock:
            is_kept = not response.will_close and len(self._idle) < IDLE_MAX
            if is_kept:
                self._idle.append(connection)
        if not is_kept:
            connection.close()
        if response.status >= 300:
            raise _refusal(response.status, data)
        return msgspec.json.decode(data) if data else {}


def _refusal(status: int, data: bytes) -> Exception:
    if status in (401, 403):
        return WrongPassword(Neighbour.SEARCH, VARIABLE)
    if status == 404:
        return NotThere(data[:REASON_CHARS_MAX].decode(errors="replace"))
    reasons = {429: "too many requests", 413: "too large"}
    reason = reasons.get(status, "server error" if status >= 500 else "refused")
    detail = f"{status} {data[:REASON_CHARS_MAX].decode(errors='replace')}"
    return Unavailable(Neighbour.SEARCH, reason, detail=detail, is_overload=status == 429)
