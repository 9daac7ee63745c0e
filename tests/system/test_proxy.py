"""What the proxy promises of connections, with gateways that are a few lines each, so that every byte can be seen."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from functools import wraps
from typing import Any

import pytest
import uvloop

import twofold.gateway.proxy.connections
from tests.guards.house import ROOT
from twofold.gateway.proxy.gateways import Address
from twofold.gateway.proxy.serving import addresses, listen
from twofold.kernel.errors import Misconfigured

Talk = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
SECONDS_MAX = 10.0
READY = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
BUSY = READY.replace(b"200 OK", b"503 Service Unavailable")
MANY_BYTES = 32 * 1024 * 1024


class Backend:
    """Answers /readyz as it is told to, and talks to everybody else as the test says."""

    def __init__(self, talk: Talk) -> None:
        self.is_ready = True
        self.came = 0
        self._talk = talk
        self._server: asyncio.Server | None = None
        self.port = 0

    @property
    def address(self) -> Address:
        return "127.0.0.1", self.port

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._meet, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        if self._server is not None:
            self._server.close()

    async def _meet(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            line = await reader.readline()
            if b"/readyz" in line:
                writer.write(READY if self.is_ready else BUSY)
            elif line:
                self.came += 1
                await self._talk(reader, writer)
            writer.close()


@asynccontextmanager
async def behind(*talks: Talk) -> AsyncIterator[tuple[int, list[Backend], list[Address]]]:
    """The proxy's port, what is behind it, and the addresses that its name has, for the test to change."""
    async with AsyncExitStack() as stack:
        backends = [Backend(talk) for talk in talks]
        for backend in backends:
            await backend.start()
            stack.push_async_callback(backend.stop)
        named = [backend.address for backend in backends]

        async def resolve() -> list[Address]:
            return list(named)

        port = await stack.enter_async_context(listen(resolve, "127.0.0.1", 0))
        yield port, backends, named


async def say(port: int, line: bytes = b"x\n") -> bytes:
    """Everything that is answered to a line."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(line)
    answer = await reader.read()
    writer.close()
    return answer


def name(text: str) -> Talk:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(text.encode())

    return talk


def on_its_loop(test: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
    """The loop that the proxy runs on, whose transports are not quite those of asyncio."""

    @wraps(test)
    def run(*arguments: Any, **named: Any) -> None:
        uvloop.run(test(*arguments, **named))

    return run


async def until(claim: Callable[[], bool]) -> None:
    async with asyncio.timeout(SECONDS_MAX):
        while not claim():
            await asyncio.sleep(0.02)


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(twofold.gateway.proxy.connections, "PATIENCE_SECONDS", 1.0)
    monkeypatch.setattr(twofold.gateway.proxy.connections, "STOP_SECONDS_MAX", 1.0)


@on_its_loop
async def test_connections_are_spread_and_go_to_the_one_with_the_fewest() -> None:
    async def hold(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"held\n")
        await reader.read()

    async with behind(hold, name("b"), name("c")) as (port, (a, _, _), _):
        held = []
        while not a.came:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(b"x\n")
            await reader.read(1)
            held.append(writer)
        assert sorted([await say(port) for _ in range(6)]) == [b"b"] * 3 + [b"c"] * 3
        for writer in held:
            writer.close()


@on_its_loop
async def test_who_is_not_reached_is_passed_over_and_found_when_back() -> None:
    async with behind(name("a"), name("b")) as (port, (a, b), _):
        await a.stop()
        assert [await say(port) for _ in range(4)] == [b"b"] * 4
        await a.start()
        deadline = time.monotonic() + SECONDS_MAX
        while await say(port) != b"a":
            assert time.monotonic() < deadline


@on_its_loop
async def test_the_name_is_asked_again_who_comes_is_found_and_who_is_not_ready_gets_nobody() -> None:
    async with behind(name("a"), name("b")) as (port, (a, b), named):
        named.remove(b.address)
        deadline = time.monotonic() + SECONDS_MAX
        while {await say(port) for _ in range(4)} != {b"a"}:
            assert time.monotonic() < deadline
        named.append(b.address)
        a.is_ready = False
        while {await say(port) for _ in range(4)} != {b"b"}:
            assert time.monotonic() < deadline


@on_its_loop
async def test_who_is_not_ready_is_better_than_nobody() -> None:
    """Its own 503 says what is missing."""
    async with behind(name("a")) as (port, (a,), named):
        a.is_ready = False
        named.clear()
        await asyncio.sleep(1.2)
        assert await say(port) == b"a"


@on_its_loop
async def test_with_nobody_there_the_answer_is_a_problem_in_bounded_time() -> None:
    async with behind(name("a")) as (port, (a,), _):
        await a.stop()
        start = time.monotonic()
        head, _, body = (await say(port, b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")).partition(b"\r\n\r\n")
        assert time.monotonic() - start < 5
        assert head.startswith(b"HTTP/1.1 503 ") and b"Retry-After: 1" in head and b"application/problem+json" in head
        assert json.loads(body)["type"] == "/problems/unavailable"


@on_its_loop
async def test_beyond_the_limit_of_connections_it_is_429(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(twofold.gateway.proxy.connections, "CONNECTIONS_MAX", 2)
    async with behind(name("a")) as (port, _, _):
        held = [await asyncio.open_connection("127.0.0.1", port) for _ in range(2)]
        await asyncio.sleep(0.1)
        assert (await say(port)).startswith(b"HTTP/1.1 429 ")
        for _, writer in held:
            writer.close()
        await asyncio.sleep(0.1)
        assert await say(port) == b"a"


@on_its_loop
async def test_bytes_flow_both_ways_as_they_come_and_all_of_them() -> None:
    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"first\n")
        while data := await reader.read(65_536):
            writer.write(data)
            await writer.drain()

    async with behind(echo) as (port, _, _), asyncio.timeout(60):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"x\n")
        assert await reader.readline() == b"first\n", "what is said is not held back"
        sent = bytes(range(256)) * (MANY_BYTES // 256)

        async def send() -> None:
            for start in range(0, len(sent), 65_536):
                writer.write(sent[start : start + 65_536])
                await writer.drain()
            writer.write_eof()

        sending = asyncio.create_task(send())
        assert await reader.read() == sent
        await sending


@on_its_loop
async def test_who_does_not_read_holds_up_his_gateway_and_fills_nobody() -> None:
    written = 0

    async def pour(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal written
        while True:
            writer.write(b"x" * 65_536)
            await writer.drain()
            written += 65_536

    async with behind(pour) as (port, _, _):
        _, writer = await asyncio.open_connection("127.0.0.1", port, limit=1024)
        writer.write(b"x\n")
        await asyncio.sleep(1.0)
        at_rest = written
        await asyncio.sleep(0.5)
        assert written == at_rest < MANY_BYTES
        writer.transport.abort()


@on_its_loop
async def test_when_one_side_is_cut_so_is_the_other() -> None:
    ends: list[str] = []

    async def wait(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            ends.append(repr(await reader.read()))
        except ConnectionError:
            ends.append("cut")

    async def cut(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"half")
        await writer.drain()
        await asyncio.sleep(0.1)
        writer.transport.abort()

    async with behind(wait) as (port, (a,), _):
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"x\n")
        await until(lambda: a.came == 1)
        writer.close()
        await until(lambda: bool(ends))
    async with behind(cut) as (port, _, _):
        with suppress(ConnectionError):
            assert await say(port) == b"half"


@on_its_loop
async def test_who_sends_no_more_still_gets_the_answer() -> None:
    async def answer_at_end(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        told = await reader.read()
        await asyncio.sleep(0.2)
        writer.write(told)

    async with behind(answer_at_end) as (port, _, _):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"line\nmore")
        writer.write_eof()
        assert await reader.read() == b"more"
        writer.close()


def test_a_process_takes_all_the_files_it_may_open_and_promises_no_more() -> None:
    """Beyond them nobody could be told anything."""
    few = "import resource as r; r.setrlimit(r.RLIMIT_NOFILE, (256, 512)); "
    more = "import twofold.interpreter, twofold.gateway.proxy.connections as c; twofold.interpreter.take_all_files(); "
    said = "print(r.getrlimit(r.RLIMIT_NOFILE), c.Proxy(None)._connections_max)"
    command = [sys.executable, "-c", few + more + said]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout == "(512, 512) 192\n"


def test_addresses_are_names_with_ports() -> None:
    assert addresses("gateway:8080, [::1]:81") == [("gateway", 8080), ("::1", 81)]
    for wrong in ("", "gateway", "gateway:", ":80", "a:80,", "a:0", "a:99999"):
        with pytest.raises(Misconfigured):
            addresses(wrong)
