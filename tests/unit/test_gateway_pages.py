"""The pages and documents of a gateway, and its socket: from when it listens until it is told to stop."""

from __future__ import annotations

import asyncio
import errno
import os
import signal
import socket
from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import make_mocked_request
from structlog.testing import capture_logs

from tests.unit.test_gateway_requests import JSON, SECONDS_MAX, SHOP, asked
from twofold.bus.description import describe
from twofold.gateway.documents.pages import MEDIA_TYPES, PAGE_HEADERS, Pages
from twofold.gateway.http import server
from twofold.gateway.http.problem import PROBLEM_TYPES, Problem
from twofold.gateway.http.server import Connection, listen, serve, why_deaf
from twofold.kernel.errors import Misconfigured
from twofold.kernel.lanes import Epoch


@pytest.fixture
async def pages() -> AsyncIterator[tuple[Pages, int]]:
    made = Pages(SHOP, list, describe("t", Epoch(0, 2), True), {"title": "T", "version": "1"})
    app = web.Application()
    app.router.add_routes([web.route(route.method, route.path, route.call) for route in made.routes()])
    async with listen(app, "127.0.0.1", 0) as port:
        yield made, port


async def get(port: int, path: str) -> tuple[int, dict[str, str], bytes]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode())
    async with asyncio.timeout(SECONDS_MAX):
        head, _, body = (await reader.read()).partition(b"\r\n\r\n")
    writer.close()
    lines = head.decode().split("\r\n")
    return int(lines[0].split(" ")[1]), dict(line.split(": ", 1) for line in lines[1:]), body


async def test_pages_and_documents_are_served(pages: tuple[Pages, int]) -> None:
    _, port = pages
    status, named, _ = await get(port, "/")
    assert (status, named["Location"]) == (302, "/console")
    for path, kind in (("/docs", "html"), ("/console", "html"), ("/static/page.css", "css"), ("/static/icon.svg", "svg")):
        status, named, body = await get(port, path)
        assert (status, named["Content-Type"], bool(body)) == (200, f"{MEDIA_TYPES[kind]}; charset=utf-8", True)
        assert {name: named[name] for name in PAGE_HEADERS} == PAGE_HEADERS
    for path in ("/openapi.json", "/asyncapi.json"):
        status, named, body = await get(port, path)
        assert (status, named["Content-Type"], body[:1]) == (200, JSON, b"{")
    _, _, listed = await get(port, "/problems")
    assert listed.startswith(b'{"problems":[{"type":"/problems/') and listed.count(b'"title"') == len(PROBLEM_TYPES)
    _, _, one = await get(port, "/problems/overloaded")
    assert one == b'{"type":"/problems/overloaded","status":429,"title":"%s"}' % PROBLEM_TYPES["overloaded"].title.encode()


async def test_a_problem_that_there_is_not_is_not_found(pages: tuple[Pages, int]) -> None:
    with pytest.raises(Problem, match="no such type") as no:
        await pages[0].problem(make_mocked_request("GET", "/x", match_info={"name": "none"}))
    assert no.value.type.name == "not-found"


def test_why_a_socket_cannot_be_had() -> None:
    assert why_deaf("h", 1, OSError(errno.EADDRINUSE, "x")).startswith("TWOFOLD_PORT=1: somebody listens on h:1 already")
    assert why_deaf("h", 1, OSError(errno.EACCES, "denied")) == "TWOFOLD_HOST=h, TWOFOLD_PORT=1: cannot be listened on (denied)"
    assert why_deaf("h", 1, OSError("odd")).endswith("(odd)")


async def test_a_port_that_is_taken_is_said_in_one_line() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(Misconfigured, match="somebody listens"):
        async with listen(web.Application(), "127.0.0.1", taken.getsockname()[1]):
            pass


async def test_it_is_served_until_it_is_told_to_stop(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever keeps a connection is given a while to be told, and no more."""
    monkeypatch.setattr(server, "LAST_SECONDS", 0.1)
    ended: list[str] = []
    app = web.Application()

    async def shutdown(app: web.Application) -> None:
        ended.append("shutdown")

    app.on_shutdown.append(shutdown)
    with socket.create_server(("127.0.0.1", 0)) as one:
        port = one.getsockname()[1]
    ready = asyncio.Event()
    serving = asyncio.create_task(serve(app, "127.0.0.1", port, on_ready=ready.set))
    async with asyncio.timeout(SECONDS_MAX):
        await ready.wait()
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"this is no HTTP\r\n\r\n")
    async with asyncio.timeout(SECONDS_MAX):
        said = await reader.read()
    assert said.startswith(b"HTTP/1.0 400 ") or said.startswith(b"HTTP/1.1 400 ")
    assert b"application/problem+json" in said and b"/problems/malformed" in said
    assert not serving.done()
    os.kill(os.getpid(), signal.SIGTERM)
    async with asyncio.timeout(SECONDS_MAX):
        await serving
    assert ended
    writer.close()


class Begun:
    output_size = 0


def test_what_fails_outside_the_application_is_loud_and_a_client_that_has_gone_is_not() -> None:
    connection = Connection.__new__(Connection)
    said: Any = asked()
    with capture_logs() as lines:
        with pytest.raises(ConnectionError, match="gone"):
            connection.handle_error(said, 500, ConnectionResetError())
        assert lines == []
        said._payload_writer = Begun()
        bug: Any = connection.handle_error(said, 500, ValueError("secret"))
        assert bug.status == 500 and b"secret" not in bug.body and bug.keep_alive is False
        assert [line["event"] for line in lines] == ["bug"]
        bad: Any = connection.handle_error(said, 400, ValueError())
        assert bad.status == 400 and len(lines) == 1
        Begun.output_size = 1
        with pytest.raises(ConnectionError, match="begun"):
            connection.handle_error(said, 500, ValueError())
        Begun.output_size = 0
