"""Both clients on a socket, whose other end is played: what goes out, what is kept open, and what every ending is called."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import msgspec
import pytest

from twofold.client import AsyncGateway, Gateway, Misconfigured, PageAnswer, Refused, RowAnswer, Unavailable

ROW = b'{"n":1}'
PAGES = (b'{"items":[{"n":1}],"next":"c"}', b'{"items":[],"next":null}')
SECONDS_MAX = 10.0
ID = "019a0000-0000-7000-8000-000000000000"
DECIDED = msgspec.json.encode({"command_id": ID, "status": "succeeded"})

Play = Callable[[socket.socket, bytes], bool | None]
"""Answers one request on a connection; False ends the connection."""


def http(body: bytes, status: str = "200 OK", **headers: str) -> bytes:
    named = {"Content-Length": str(len(body)), "Content-Type": "application/json"} | headers
    lines = [f"HTTP/1.1 {status}", *(f"{name.replace('_', '-')}: {value}" for name, value in named.items())]
    return "\r\n".join([*lines, "", ""]).encode() + body


class Server:
    """Plays one answer for each request, in order, on however many connections; remembers what was asked, on which one."""

    def __init__(self, *plays: Play | bytes) -> None:
        self.asked: list[tuple[int, bytes]] = []
        self._plays = list(plays)
        self._lock = threading.Lock()
        self._listening = socket.create_server(("127.0.0.1", 0))
        self._open: list[socket.socket] = []
        self.url = f"http://127.0.0.1:{self._listening.getsockname()[1]}"
        threading.Thread(target=self._serve, daemon=True).start()

    def close(self) -> None:
        self._listening.close()
        for one in self._open:
            one.close()

    @property
    def paths(self) -> list[str]:
        return [asked.split(b" ", 2)[1].decode() for _, asked in self.asked]

    def _serve(self) -> None:
        for number in range(1_000):
            try:
                connection, _ = self._listening.accept()
            except OSError:
                return
            self._open.append(connection)
            threading.Thread(target=self._talk, args=(number, connection), daemon=True).start()

    def _talk(self, number: int, connection: socket.socket) -> None:
        connection.settimeout(SECONDS_MAX)
        try:
            while asked := _request(connection):
                with self._lock:
                    self.asked.append((number, asked))
                    play = self._plays.pop(0)
                if isinstance(play, bytes):
                    connection.sendall(play)
                elif play(connection, asked) is False:
                    break
        except OSError:
            pass
        connection.close()


def _request(connection: socket.socket) -> bytes:
    said = b""
    while b"\r\n\r\n" not in said:
        if not (more := connection.recv(65_536)):
            return b""
        said += more
    head, _, body = said.partition(b"\r\n\r\n")
    length = next((int(line.split(b":")[1]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:")), 0)
    while len(body) < length:
        body += connection.recv(65_536)
    return head + b"\r\n\r\n" + body


class Awaited:
    """An AsyncGateway as if it blocked, on a loop of its own."""

    def __init__(self, url: str, **more: Any) -> None:
        self._loop = asyncio.new_event_loop()
        self.gateway = AsyncGateway(url, **more)
        self.url = self.gateway.url

    def __getattr__(self, name: str) -> Callable[..., Any]:
        def ask(*given: Any, **more: Any) -> Any:
            async def begin() -> Any:
                begun = getattr(self.gateway, name)(*given, **more)
                return begun if hasattr(begun, "__aiter__") else await begun

            begun = self._loop.run_until_complete(begin())
            return self._each(begun) if hasattr(begun, "__aiter__") else begun

        return ask

    def _each(self, given: Any) -> Iterator[Any]:
        try:
            while True:
                yield self._loop.run_until_complete(anext(given))
        except StopAsyncIteration:
            return
        finally:
            self._loop.run_until_complete(given.aclose())

    def __enter__(self) -> Awaited:
        assert self._loop.run_until_complete(self.gateway.__aenter__()) is self.gateway
        return self

    def __exit__(self, *given: Any) -> None:
        self._loop.run_until_complete(self.gateway.__aexit__(None, None, None))
        self._loop.close()


@pytest.fixture(params=[Gateway, Awaited])
def kind(request: pytest.FixtureRequest) -> Any:
    return request.param


@pytest.fixture
def serve() -> Iterator[Callable[..., Server]]:
    servers: list[Server] = []

    def begin(*plays: Play | bytes) -> Server:
        servers.append(Server(*plays))
        return servers[-1]

    yield begin
    for server in servers:
        server.close()


def test_every_call_asks_and_gives_what_it_says(kind: Any, serve: Any) -> None:
    """On one connection, which is kept, with what the client adds to each."""
    server = serve(
        http(DECIDED, "202 Accepted"),
        http(DECIDED),
        http(DECIDED),
        http(ROW, ETag='"7"', View_Position="9", View_Lag="0.5"),
        http(PAGES[0], View_Position="x"),
        http(PAGES[0]),
        http(PAGES[1], View_Position="3"),
        http(b'{"accepted":[{"index":0,"command_id":"%s"}],"refused":[]}' % ID.encode()),
        http(b'{"any":[1]}'),
        http(b""),
    )
    with kind(server.url + "/api", headers={"X-Ours": "here"}) as gateway:
        assert gateway.url == server.url + "/api"
        assert gateway.send("Count", {"n": 1}, idempotency_key="k", expected_version=3).is_decided
        assert gateway.wait(ID, 2.0).command_id == ID
        assert gateway.outcome(ID).status == "succeeded"
        assert gateway.get("rows", "a/b", after=5, lenient=True) == RowAnswer({"n": 1}, 9, 0.5, '"7"')
        assert gateway.page("rows", {"n": 1}, limit=2) == PageAnswer([{"n": 1}], "c", 0, 0.0)
        assert list(gateway.pages("rows")) == [PageAnswer([{"n": 1}], "c", 0, 0.0), PageAnswer([], None, 3, 0.0)]
        [item] = gateway.bulk([{"type": "Count", "data": {}, "idempotency_key": "i"}])
        assert (item.command_id, item.idempotency_key) == (ID, "i")
        assert gateway.call("POST", "/any", {"a": 1}, headers={"X-More": "m"}) == {"any": [1]}
        assert gateway.call("DELETE", "/any") == {}
    assert server.paths == [
        "/api/commands/Count",
        f"/api/commands/{ID}",
        f"/api/commands/{ID}",
        "/api/views/rows/a%2Fb",
        "/api/views/rows?n=1&limit=2",
        "/api/views/rows",
        "/api/views/rows?cursor=c",
        "/api/commands",
        "/api/any",
        "/api/any",
    ]
    assert {number for number, _ in server.asked} == {0}
    assert all(b"\r\nx-ours: here\r\n" in asked.lower() for _, asked in server.asked)
    first, row, last = server.asked[0][1].lower(), server.asked[3][1].lower(), server.asked[8][1]
    assert b'if-match: "3"' in first and b"idempotency-key: k" in first and first.endswith(b'{"n":1}')
    assert b"consistency-token: 5" in row and b"prefer: handling=lenient" in row
    assert last.endswith(b'{"a":1}') and b"x-more: m" in last.lower()
    assert server.asked[9][1].endswith(b"\r\n\r\n"), "no body"


FACT = b'{"position":%d,"stream":"s","version":1,"type":"T","data":{},"meta":{},"recorded_at":"2026-01-01T00:00:00Z"}'


def events_of(*numbers: int) -> bytes:
    return b"".join(b"id: %d\nevent: event\ndata: %s\n\n" % (number, FACT % number) for number in numbers)


STREAM = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n"


def streamed(*numbers: int) -> Play:
    def play(connection: socket.socket, asked: bytes) -> bool:
        connection.sendall(STREAM)
        for number in numbers:
            connection.sendall(events_of(number))
            time.sleep(0.01)
        return False

    return play


def test_the_log_is_listened_to_bit_by_bit_and_taken_up_where_it_broke(kind: Any, serve: Any) -> None:
    server = serve(streamed(6, 7), streamed(8), http(b"{}", "404 Not Found"))
    with kind(server.url, patience_seconds=5.0) as gateway:
        listening = gateway.events(5)
        assert [next(listening).position for _ in range(3)] == [6, 7, 8]
        with pytest.raises(Refused, match="404"):
            next(listening)
    assert len(server.asked) == 3 and "after=5" in server.paths[0]
    ids = [line for _, asked in server.asked for line in asked.lower().split(b"\r\n") if line.startswith(b"last-event-id")]
    assert [line.split(b":")[1].strip() for line in ids][-2:] == [b"7", b"8"]


def test_who_leaves_a_stream_gives_its_connection_up(kind: Any, serve: Any) -> None:
    ended = threading.Event()

    def play(connection: socket.socket, asked: bytes) -> bool:
        connection.sendall(STREAM + events_of(1))
        try:
            while connection.recv(1_000):
                pass
        except OSError:
            pass
        ended.set()
        return False

    with kind(serve(play).url) as gateway:
        listening = gateway.events(0)
        assert next(listening).position == 1
        listening.close()
        assert ended.wait(SECONDS_MAX)


def test_a_refused_stream_says_why(kind: Any, serve: Any) -> None:
    problem = http(b'{"type":"/problems/no-such-row","title":"No","status":404}', "404 Not Found")
    with kind(serve(problem).url) as gateway, pytest.raises(Refused, match="No"):
        next(gateway.watch("rows", "a"))


def silent(connection: socket.socket, asked: bytes) -> None:
    time.sleep(1.0)


def cut(connection: socket.socket, asked: bytes) -> bool:
    return False


def half(connection: socket.socket, asked: bytes) -> bool:
    connection.sendall(http(b"x" * 100)[:-50])
    return False


def nonsense(connection: socket.socket, asked: bytes) -> bool:
    connection.sendall(b"this is no HTTP\r\n\r\n")
    return False


@pytest.mark.parametrize(
    ("play", "reason"),
    [(silent, "no answer in time"), (cut, "connection lost"), (half, "connection lost"), (nonsense, "connection lost")],
)
def test_every_way_of_not_answering_is_unavailable_and_called_what_it_is(kind: Any, serve: Any, play: Play, reason: str) -> None:
    server = serve(play, play)  # aiohttp asks once more by itself
    with kind(server.url, timeout_seconds=0.2, patience_seconds=0.0) as gateway, pytest.raises(Unavailable) as lost:
        gateway.get("rows", "a")
    assert reason in str(lost.value) and server.url in str(lost.value) and not str(lost.value).endswith((":", " "))
    assert (lost.value.retry_after_seconds, lost.value.neighbour.value) == (0.0, "gateway")


def test_nobody_listens(kind: Any) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{taken.getsockname()[1]}"
        with kind(url, patience_seconds=0.0) as gateway, pytest.raises(Unavailable, match="nobody listens"):
            gateway.get("rows", "a")


def test_who_does_not_speak_tls_is_a_mistake_in_a_setting() -> None:
    """No pause makes it better."""

    def plain(listening: socket.socket) -> None:
        connection, _ = listening.accept()
        with connection:
            connection.sendall(b"this is no TLS at all")

    with socket.create_server(("127.0.0.1", 0)) as listening:
        threading.Thread(target=plain, args=(listening,)).start()
        url = f"https://127.0.0.1:{listening.getsockname()[1]}"
        with Gateway(url, patience_seconds=0.0) as gateway, pytest.raises(Misconfigured, match=url):
            gateway.get("rows", "a")


def test_a_stream_that_is_silent_or_cut_is_taken_up(kind: Any, serve: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("twofold.client.listening.QUIET_SECONDS_MAX", 0.2)

    def quiet(connection: socket.socket, asked: bytes) -> bool:
        connection.sendall(STREAM + events_of(1))
        time.sleep(0.6)
        return False

    server = serve(quiet, streamed(2))
    with kind(server.url) as gateway:
        listening = gateway.events(0)
        assert [next(listening).position for _ in range(2)] == [1, 2]
        listening.close()
