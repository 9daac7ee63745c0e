"""Several gateways behind one port: who gets a connection, how its bytes go on, and what ends it. All in this process."""

from __future__ import annotations

import asyncio
import resource
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import msgspec
import pytest
from structlog.testing import capture_logs

from twofold.gateway.proxy import connections, gateways
from twofold.gateway.proxy.connections import End, Proxy
from twofold.gateway.proxy.gateways import Address, Gateways, by_name, is_ready
from twofold.gateway.proxy.serving import addresses, listen
from twofold.kernel.errors import Misconfigured

Talk = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
SECONDS_MAX = 10.0


async def nobody() -> list[Address]:
    raise OSError("nobody knows")


def known(*addresses: Address) -> Callable[[], Awaitable[list[Address]]]:
    async def resolve() -> list[Address]:
        return list(addresses)

    return resolve


@asynccontextmanager
async def gateway(talk: Talk, status: bytes = b"200") -> AsyncIterator[Address]:
    """Answers /readyz with this status, and talks to all others."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        first = await reader.read(5)
        if first == b"GET /":
            writer.write(b"HTTP/1.1 " + status + b" Fine\r\n\r\n")
        elif first:
            writer.write(first)
            await talk(reader, writer)
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[:2]


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(65_536):
        writer.write(data)
        await writer.drain()
    writer.write(b"|end")


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


async def ask(port: int, *parts: bytes) -> bytes:
    """Everything that is answered to these parts, after which nothing more is sent."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    for part in parts:
        writer.write(part)
        await writer.drain()
    writer.write_eof()
    async with asyncio.timeout(SECONDS_MAX):
        said = await reader.read()
    writer.close()
    return said


async def test_whoever_is_ready_and_has_least_to_do_is_asked_first() -> None:
    """Of those, who has waited longest; those that are not ready come last, and are tried all the same."""
    a, b, c = ("a", 1), ("b", 1), ("c", 1)
    found = Gateways(nobody)
    found._ready = {c: False, a: True, b: True}
    assert found.candidates() == [a, b, c]
    found.take(a)
    assert found.candidates() == [b, a, c]
    found.take(b)
    assert found.candidates() == [a, b, c]
    found.take(b)
    found.give(a)
    assert found.candidates() == [a, b, c]
    found.give(b)
    found.give(b)
    assert found.candidates() == [a, b, c], "b had its turn after a"
    found.take(a)
    found.give(a)
    assert found.candidates() == [b, a, c] and not found._open
    found.missed(b)
    found.missed(("gone", 1))
    assert found.candidates() == [a, c, b] and ("gone", 1) not in found._ready


async def test_gateways_are_looked_for_and_asked_whether_they_are_ready(monkeypatch: pytest.MonkeyPatch) -> None:
    """A name that is not answered now takes nobody away; news of them is told once."""
    async with gateway(echo) as good, gateway(echo, b"503") as bad:
        dead = ("127.0.0.1", free_port())
        found = Gateways(known(bad, dead, good, good))
        with capture_logs() as lines:
            await found.look()
            await found.look()
        assert found.candidates() == [good, bad, dead]
        told = [(line["ready"], line["other_count"], line["log_level"]) for line in lines]
        assert told == [([f"{good[0]}:{good[1]}"], 2, "info")]
        found.take(good)
        found.take(("gone", 1))
        for resolve in (nobody, known()):
            found._resolve = resolve
            await found.look()
            assert found.candidates() == [good, bad, dead]
        found._resolve = known(good)
        await found.look()
        assert (found.candidates(), set(found._turn)) == ([good], {good})
        monkeypatch.setattr(gateways, "GATEWAYS_MAX", 1)
        found._resolve = known(bad, good)
        await found.look()
        assert found.candidates() == [bad]


async def test_who_answers_anything_else_or_nothing_is_not_ready(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gateways, "ASK_SECONDS_MAX", 0.2)

    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(SECONDS_MAX)

    async def endless(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"x" * 10_000)

    for talk in (silent, endless):
        server = await asyncio.start_server(talk, "127.0.0.1", 0)
        assert not await is_ready(server.sockets[0].getsockname()[:2])
        server.close()
    assert not await is_ready(("127.0.0.1", free_port()))
    async with gateway(echo) as good:
        assert await is_ready(good)


async def test_names_are_asked_anew_and_one_without_an_address_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    async def told(name: str, port: int, **more: Any) -> list[Any]:
        if name == "none":
            raise socket.gaierror
        return [(0, 0, 0, "", (f"10.0.0.{number}", port)) for number in (1, 2)]

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", told)
    assert list(await by_name([("none", 1), ("two", 8080)])()) == [("10.0.0.1", 8080), ("10.0.0.2", 8080)]


async def test_looking_goes_on_until_it_is_cancelled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gateways, "LOOK_SECONDS", 0.0)
    looks = 0

    async def resolve() -> list[Address]:
        nonlocal looks
        looks += 1
        return []

    looking = asyncio.create_task(Gateways(resolve).look_on())
    async with asyncio.timeout(SECONDS_MAX):
        while looks < 3:
            await asyncio.sleep(0.001)
    looking.cancel()


@pytest.mark.parametrize(
    ("text", "read"),
    [
        ("gateway:8080", [("gateway", 8080)]),
        ("a:1, [::1]:65535", [("a", 1), ("::1", 65_535)]),
        ("a:0", None),
        ("a:65536", None),
        ("a:x", None),
        (":80", None),
        ("a", None),
        ("a:1,", None),
    ],
)
def test_the_names_of_gateways_are_read_or_refused(text: str, read: list[Address] | None) -> None:
    if read is not None:
        assert addresses(text) == read
        return
    with pytest.raises(Misconfigured, match="is no NAME:PORT") as refused:
        addresses(text)
    assert ("nothing" in str(refused.value)) == (text == "a:1,")


async def test_bytes_go_through_both_ways_to_the_last_one() -> None:
    """Also large ones, that somebody has to wait for; and what is sent before a gateway was found."""
    large = b"x" * 3_000_000
    async with gateway(echo) as one, listen(known(one), "127.0.0.1", 0) as port:
        assert await ask(port, b"hello", b" world") == b"hello world|end"
        assert await ask(port, large) == large + b"|end"


async def test_a_gateway_that_has_said_its_last_ends_the_connection() -> None:
    async def short(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b" bye")

    async with gateway(short) as one, listen(known(one), "127.0.0.1", 0) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"hello")
        async with asyncio.timeout(SECONDS_MAX):
            assert await reader.read() == b"hello bye"
        writer.close()


async def test_who_is_cut_cuts_the_other(monkeypatch: pytest.MonkeyPatch) -> None:
    cut = asyncio.Event()

    async def listen_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while await reader.read(1_000):
                pass
        except ConnectionResetError:
            pass
        cut.set()

    async def abort(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(4)
        writer.transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        writer.transport.abort()

    async with gateway(listen_on) as one, listen(known(one), "127.0.0.1", 0) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"hello")
        assert await reader.read(5) == b"hello"
        writer.transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        writer.transport.abort()
        async with asyncio.timeout(SECONDS_MAX):
            await cut.wait()
    async with gateway(abort) as one, listen(known(one), "127.0.0.1", 0) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"hello")
        assert await reader.read(5) == b"hello"
        writer.write(b"more")
        async with asyncio.timeout(SECONDS_MAX):
            with pytest.raises(ConnectionResetError):
                assert await reader.read() == b""
                raise ConnectionResetError  # how it was cut is the system's business
        writer.close()


async def test_one_that_cannot_be_reached_is_passed_over_and_the_others_share() -> None:
    met: list[str] = []

    def named(name: str) -> Talk:
        async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            met.append(name)
            await echo(reader, writer)

        return talk

    dead = ("127.0.0.1", free_port())
    async with gateway(named("a")) as a, gateway(named("b")) as b, listen(known(dead, a, b), "127.0.0.1", 0) as port:
        for _ in range(4):
            assert await ask(port, b"hello") == b"hello|end"
    assert sorted(met) == ["a", "a", "b", "b"]


async def test_where_nobody_can_be_reached_that_is_said_in_http(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "PATIENCE_SECONDS", 0.0)
    monkeypatch.setattr(connections, "RETRY_SECONDS", 0.01)
    async with listen(known(("127.0.0.1", free_port())), "127.0.0.1", 0) as port:
        for parts in ((b"GET / HTTP/1.1\r\n\r\n",), ()):
            head, _, body = (await ask(port, *parts)).partition(b"\r\n\r\n")
            lines = head.decode().split("\r\n")
            assert lines[0] == "HTTP/1.1 503 Service Unavailable"
            fields = dict(line.split(": ") for line in lines[1:])
            assert fields == {
                "Content-Type": "application/problem+json",
                "Content-Length": str(len(body)),
                "Connection": "close",
                "Retry-After": "1",
            }
            problem = msgspec.json.decode(body)
            assert (problem["type"], problem["status"]) == ("/problems/unavailable", 503)


async def test_a_gateway_that_comes_while_somebody_waits_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """As long as it takes to start one again."""
    monkeypatch.setattr(connections, "RETRY_SECONDS", 0.02)
    monkeypatch.setattr(gateways, "LOOK_SECONDS", 0.02)
    there: list[Address] = []

    async def resolve() -> list[Address]:
        return there

    async with listen(resolve, "127.0.0.1", 0) as port:
        asking = asyncio.create_task(ask(port, b"hello"))
        await asyncio.sleep(0.05)
        assert not asking.done()
        async with gateway(echo) as one:
            there.append(one)
            assert await asking == b"hello|end"


async def test_no_more_connections_than_there_is_room_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """The next one is told so, and to come again; room is free when somebody goes."""
    monkeypatch.setattr(connections, "CONNECTIONS_MAX", 2)
    async with gateway(echo) as one, listen(known(one), "127.0.0.1", 0) as port:
        held = [await asyncio.open_connection("127.0.0.1", port) for _ in range(2)]
        for reader, writer in held:
            writer.write(b"hello")
            assert await reader.read(5) == b"hello"
        refused = await ask(port, b"hello")
        assert refused.startswith(b"HTTP/1.1 429 ") and b"\r\nRetry-After: 1\r\n" in refused
        assert b"2 connections are open" in refused
        held[0][1].close()
        async with asyncio.timeout(SECONDS_MAX):
            while (await ask(port, b"hello")) != b"hello|end":
                await asyncio.sleep(0.01)
        held[1][1].close()


def test_no_more_than_the_process_may_open(monkeypatch: pytest.MonkeyPatch) -> None:
    for files_max, most in ((1_128, 500), (1 << 20, connections.CONNECTIONS_MAX)):
        monkeypatch.setattr(resource, "getrlimit", lambda which, files_max=files_max: (files_max, files_max))
        assert Proxy(Gateways(nobody))._connections_max == most


async def test_who_is_there_may_finish_before_the_proxy_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    """For a while; then he is cut off."""
    monkeypatch.setattr(connections, "LOOK_SECONDS", 0.01)
    monkeypatch.setattr(End, "last_seconds_max", 0.1)

    async def slow(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(0.1)
        writer.write(b" bye")

    async with gateway(slow) as one:
        async with listen(known(one), "127.0.0.1", 0) as port:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(b"hello")
            assert await reader.read(5) == b"hello"
        assert await reader.read() == b" bye"
        writer.close()
    monkeypatch.setattr(connections, "STOP_SECONDS_MAX", 0.05)
    async with gateway(echo) as one:
        async with asyncio.timeout(SECONDS_MAX), listen(known(one), "127.0.0.1", 0) as port:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(b"hello")
            assert await reader.read(5) == b"hello"
        with pytest.raises(ConnectionResetError):
            if await reader.read() == b"":
                raise ConnectionResetError
        writer.close()


async def test_a_port_that_cannot_be_had_is_said_in_one_line() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(Misconfigured, match=str(port)):
            async with listen(known(), "127.0.0.1", port):
                pass
